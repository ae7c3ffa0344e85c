"""Our programs on a real cgroup v2, in a virtual machine that boots for it; needs no privilege.

The kernel is Debian's for clouds (tests/container/bring_kernel unpacks it), the machine QEMU's
without KVM, the root an initramfs with our static programs. Emulation is slow, so this asserts what
was found and never how fast, but for the one promise in wall time: a resize is seen within 1.5 s.
"""

import glob
import io
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import container  # noqa: E402
import guardian  # noqa: E402

PLIMSOLL, PROBE, INIT, WALL_CLOCK = sys.argv[1:5]
MIB = 1 << 20
LIMIT_S = 600  # took 25 to 52 s at a load of 17 to 38 on two CPUs; niced, booting alone took 80


def find_kernel():
    """PLIMSOLL_VM_KERNEL, or what bring_kernel unpacked, or the machine's own; else None."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    for pattern in (os.environ.get("PLIMSOLL_VM_KERNEL", ""),
                    home + "/.cache/plimsoll/vmlinuz-*", "/boot/vmlinuz-*"):
        for path in sorted(glob.glob(pattern), reverse=True):
            if os.access(path, os.R_OK):
                return path
    return None


def cpio(entries):
    """An initramfs in the "newc" format: entries are (name, mode, data, (major, minor))."""
    out = io.BytesIO()

    def pad():
        out.write(b"\0" * (-out.tell() % 4))

    for number, (name, mode, data, device) in enumerate(
            entries + [("TRAILER!!!", 0, b"", (0, 0))], start=1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1],
                  len(name) + 1, 0]
        out.write(b"070701" + "".join("%08X" % field for field in fields).encode())
        out.write(name.encode() + b"\0")
        pad()
        out.write(data)
        pad()
    return out.getvalue()


def boot(kernel):
    """What the machine wrote to its console."""
    entries = [(name, 0o040755, b"", (0, 0)) for name in ("dev", "proc", "sys")]
    entries.append(("dev/console", 0o020600, b"", (5, 1)))
    for name, path in (("init", INIT), ("plimsoll", PLIMSOLL), ("probe", PROBE),
                       ("wall_clock", WALL_CLOCK)):
        with open(path, "rb") as program:
            entries.append((name, 0o100755, program.read(), (0, 0)))
    # In memory: there is no file that a killed test could leave behind.
    with os.fdopen(os.memfd_create("initrd"), "wb") as initrd:
        initrd.write(cpio(entries))
        initrd.flush()
        machine = subprocess.run(
            ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "4",
             "-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-serial", "stdio", "-kernel", kernel, "-initrd", "/proc/self/fd/%d" % initrd.fileno(),
             "-append", "console=ttyS0 quiet loglevel=3 panic=-1 tsc=reliable mitigations=off "
             "random.trust_cpu=on nokaslr cgroup_no_v1=all psi=1 rdinit=/init"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[initrd.fileno()], timeout=LIMIT_S,
            preexec_fn=guardian.die_with_parent, check=False)
    return machine.stdout.decode(errors="replace").replace("\r", "")


class V2VmTest(unittest.TestCase):

    console = None  # of the one boot that all cases share

    def setUp(self):
        try:
            container.check_static(INIT)
        except container.ContainerError as why:
            self.skipTest(str(why))
        if os.uname().machine != "x86_64":
            self.skipTest("the machine is an x86-64, and this is not")
        if not shutil.which("qemu-system-x86_64"):
            self.skipTest("qemu-system-x86 is not installed (tools/bring_tools.sh --all)")
        kernel = find_kernel()
        if not kernel:
            self.skipTest("no kernel to boot (tests/container/bring_kernel)")
        if V2VmTest.console is None:
            V2VmTest.console = ""  # a boot that fails is not tried again
            self.boot(kernel)
        self.assertTrue(self.console, "the machine did not boot; the first case says why")

    def boot(self, kernel):
        start = time.monotonic()
        try:
            V2VmTest.console = boot(kernel)
        except subprocess.TimeoutExpired as error:
            self.fail("the machine did not end in %d s; its console:\n%s" % (
                LIMIT_S, (error.stdout or b"").decode(errors="replace")))
        print("%s: %.1f s from start to power-off" % (
            os.path.basename(kernel), time.monotonic() - start))
        print("\n".join("  " + line for line in self.console.splitlines()
                        if not line.startswith((" ", "{\n"))))

    def scene(self, name, code=0):
        match = re.search(r"@@ begin %s\n(.*?)@@ end %s (\d+) at \d+ ms\n" % (name, name),
                          self.console, re.S)
        self.assertTrue(match, "no scene %s on the console:\n%s" % (name, self.console))
        self.assertEqual(int(match[2]), code, match[1])
        return match[1]

    def lines(self, name, code=0):
        return [json.loads(line) for line in self.scene(name, code).splitlines()]

    def test_machine_is_set_up_and_ends(self):
        self.assertNotIn("@@ trouble", self.console)
        self.assertIn("@@ done", self.console)

    def test_step_of_the_wall_clock_moves_no_timer(self):
        said = self.scene("wall-clock")
        self.assertRegex(said, r"\[  PASSED  \] [1-9]\d* tests?\.")
        self.assertNotIn("[  SKIPPED ]", said)

    def test_tighter_ancestor_and_high_are_found_on_the_machines_own_tree(self):
        found = json.loads(self.scene("host"))
        self.assertEqual(found["cpu_version"], "v2")
        self.assertEqual(found["quota"], [3, 2])
        self.assertEqual(found["quota_at"], "/sys/fs/cgroup/kubepods")
        self.assertEqual(found["affinity"], 4)
        self.assertEqual(found["procs"], 2)
        self.assertEqual(found["memory_max"], 128 * MIB)
        self.assertEqual(found["memory_max_at"], "/sys/fs/cgroup/kubepods/pod/box")
        self.assertEqual(found["memory_high"], 96 * MIB)
        self.assertEqual(found["memory_high_at"], "/sys/fs/cgroup/kubepods/pod")
        self.assertEqual(found["pids_max"], 64)
        self.assertEqual(found["diagnostics"], [])

    def test_own_namespace_over_the_machines_mount_cannot_name_its_own_directory(self):
        found = json.loads(self.scene("foreign-mount"))
        self.assertEqual(found["quota"], None)
        self.assertIn("own-path-unknown", found["diagnostics"])

    def test_container_sees_its_own_level_and_no_more(self):
        found = json.loads(self.scene("container"))
        self.assertEqual(found["quota"], [5, 2])
        self.assertEqual(found["quota_at"], "/sys/fs/cgroup")
        self.assertEqual(found["procs"], 3)
        self.assertEqual(found["memory_max"], 128 * MIB)
        self.assertEqual(found["memory_high"], None)
        self.assertEqual(found["pids_max"], 64)

    def test_resize_of_an_ancestor_is_seen_within_a_second_and_a_half(self):
        resized, ready, seen = self.lines("resize", code=137)  # ended by the scene at the last line
        self.assertEqual(ready["quota"], 1.5)
        self.assertEqual((seen["quota_before"], seen["quota"]), (1.5, 0.5))
        self.assertEqual(seen["procs"], 2)
        self.assertLess(seen["at_ms"] - resized["resized_at_ms"], 1500 + seen["late_ms"])

    def test_memory_event_wakes_through_a_read_only_mount(self):
        (events,) = self.lines("events")
        self.assertTrue(events["event_fd"])
        self.assertTrue(events["woke"])
        self.assertGreater(events["high"], 0)
        self.assertEqual(events["oom_kill"], 0)
        self.assertLess(events["at_mib"], 64)

    def test_pids_max_is_what_the_kernel_holds_us_to(self):
        (tasks,) = self.lines("tasks")
        self.assertEqual(tasks, {"pids_max": 64, "threads": 64, "error": "EAGAIN"})

    def test_pressure_names_the_ancestor_that_throttles(self):
        readings = self.lines("throttled")
        self.assertEqual({r["verdict"] for r in readings}, {"throttled"})
        self.assertEqual({r["level"] for r in readings}, {"/sys/fs/cgroup/kubepods"})
        self.assertTrue(all(r["cpu_full_ms"] > 0 for r in readings), "cpu.pressure did not rise")

    def test_pressure_finds_a_quota_out_of_sight(self):
        readings = self.lines("hidden")
        self.assertEqual({r["throttled"] for r in readings}, {0})
        # In the first interval the threads are still coming to life.
        self.assertEqual({r["verdict"] for r in readings[1:]}, {"hidden-quota"})


if __name__ == "__main__":
    unittest.main()
