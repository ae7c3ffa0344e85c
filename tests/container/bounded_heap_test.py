"""A collected heap that has little room in its container, in a real one on cgroup v1.

bounded_heap_test allocates 2 GiB in it, bounded_heap_long_test 100.
"""

import json
import os
import sys
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import bundle  # noqa: E402
import container  # noqa: E402

PROGRAM, GIB = sys.argv[1], int(sys.argv[2])
MIB = 1 << 20
LIMIT = 64 * MIB
LIVE_MIB = 51  # 80 % of it


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

    def test_lives_with_four_fifths_of_its_limit_live(self):
        with container.Container(self.image, "box", ["/bounded_heap", str(LIVE_MIB), str(GIB)],
                                 private_network=True, memory=LIMIT) as running:
            done = running.communicate(timeout=60 * max(GIB, 5))
            group = container.v1_mounts()["memory"] + running.cgroup

            def read(name):
                with open(os.path.join(group, name)) as file:
                    return file.read()

            killed = dict(line.split() for line in read("memory.oom_control").splitlines())
            print("  limit %d MiB, peak %.1f MiB, oom_kill %s, exit %d: %s" % (
                LIMIT // MIB, int(read("memory.max_usage_in_bytes")) / MIB, killed["oom_kill"],
                done.returncode, done.stdout.strip()))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(killed["oom_kill"], "0")
        end = json.loads(done.stdout)
        self.assertGreaterEqual(end["allocated"], GIB << 30)
        self.assertGreaterEqual(end["cycles"], 10 * GIB)
        self.assertGreaterEqual(end["live"], LIVE_MIB * MIB * 95 // 100)


if __name__ == "__main__":
    unittest.main()
