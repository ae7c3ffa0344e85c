"""A collected heap that has little room in its container, in a real one on cgroup v1.

bounded_heap_test allocates 1 GiB in each case, bounded_heap_long_test 100.
"""

import errno
import json
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import bundle  # noqa: E402
import container  # noqa: E402

PROGRAM, GIB, GIB_LOWERED = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MIB = 1 << 20
LIMIT = 64 * MIB
LIVE_MIB = 51  # 80 % of it


class Group:
    """The memory cgroup of a container, v1."""

    def __init__(self, running):
        self.folder = container.v1_mounts()["memory"] + running.cgroup

    def read(self, name):
        with open(os.path.join(self.folder, name)) as file:
            return file.read()

    def number(self, name):
        return int(self.read(name))

    def write(self, name, value):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(str(value))

    def oom_kills(self):
        return int(dict(line.split() for line in self.read("memory.oom_control").splitlines())[
            "oom_kill"])

    def lower(self, target):
        """As one who wants the program to live does: a sixteenth at a time, which the runtime's
        margin allows for; until the kernel takes it, which it does not while more is used; and not
        before the runtime has looked, once a second, and acted. Fails after a minute."""
        late = time.monotonic() + 60
        limit = self.number("memory.limit_in_bytes")
        while limit > target:
            wanted = max(target, limit - limit // 16)
            try:
                self.write("memory.limit_in_bytes", wanted)
                limit = self.number("memory.limit_in_bytes")
                time.sleep(2)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > late:
                    raise
                time.sleep(0.1)


class BoundedHeapTest(unittest.TestCase):

    def setUp(self):
        try:
            container.check_static(PROGRAM)
            container.check_available()
            if "memory" not in container.v1_mounts():
                raise container.ContainerError("the memory controller is not on cgroup v1 here")
        except container.ContainerError as why:
            self.skipTest(str(why))
        self.image = bundle.Programs({"bounded_heap": PROGRAM})
        self.addCleanup(self.image.remove)

    def run_in(self, limit, *arguments, environment=()):
        return container.Container(self.image, "box", ["/bounded_heap", *map(str, arguments)],
                                   environment=environment, private_network=True, memory=limit)

    def end(self, running, gib):
        """What it said at its end, once it has ended as it should; and what it said on stderr."""
        done = running.communicate(timeout=60 * max(gib, 5))
        group = Group(running)
        print("  limit %.1f MiB, peak %.1f MiB, oom_kill %d, exit %d: %s" % (
            group.number("memory.limit_in_bytes") / MIB,
            group.number("memory.max_usage_in_bytes") / MIB, group.oom_kills(), done.returncode,
            done.stdout.strip()))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(group.oom_kills(), 0)
        said = json.loads(done.stdout)
        self.assertGreaterEqual(said["allocated"], gib << 30)
        self.assertGreaterEqual(said["live"], LIVE_MIB * MIB * 95 // 100)
        return said, done.stderr

    def test_lives_with_four_fifths_of_its_limit_live(self):
        with self.run_in(LIMIT, LIVE_MIB, GIB << 10) as running:
            said, _ = self.end(running, GIB)
        self.assertGreaterEqual(said["cycles"], 10 * GIB)

    def test_its_limit_is_lowered_until_four_fifths_of_it_are_live(self):
        with self.run_in(96 * MIB, LIVE_MIB, GIB_LOWERED << 10, "signal") as running:
            self.assertEqual(running.stdout.readline(), "grown\n")
            began = time.monotonic()
            Group(running).lower(LIMIT)
            print("  lowered in %.1f s" % (time.monotonic() - began))
            running.kill(signal.SIGUSR1)
            said, _ = self.end(running, GIB_LOWERED)
        self.assertGreaterEqual(said["cycles"], 10 * GIB_LOWERED)
        self.assertLess(said["spans"], LIMIT)

    def test_limit_below_what_is_live_is_refused_or_told(self):
        with self.run_in(96 * MIB, LIVE_MIB, 512, "signal",
                         environment=["GOMEMLIMIT=40MiB"]) as running:
            self.assertEqual(running.stdout.readline(), "grown\n")
            with self.assertRaises(OSError) as refused:
                Group(running).write("memory.limit_in_bytes", 40 * MIB)
            self.assertEqual(refused.exception.errno, errno.EBUSY)
            # The runtime looks once a second; until then the program goes on.
            before = []
            while "MiB live" not in "".join(before[-1:]):
                before.append(running.stderr.readline())
                self.assertNotEqual(before[-1], "", before)
            running.kill(signal.SIGUSR1)
            said, after = self.end(running, 0)
        self.assertGreater(said["critical"], 0)
        stderr = "".join(before) + after
        told = [line for line in stderr.splitlines() if "MiB live" in line]
        self.assertEqual(len(told), 1, stderr)
        self.assertRegex(told[0], r"^plimsoll: memory: the collected heap has 5\d MiB live, and the "
                         r"limit leaves it [123]\d MiB: 40 MiB, GOMEMLIMIT in the environment; ")


if __name__ == "__main__":
    unittest.main()
