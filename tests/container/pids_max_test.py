"""Preemption in place of code that was not written for it, in a cgroup that has room for one more thread.

    PLIMSOLL_TEST_SECONDS=60 .bazel/bin/tests/container/pids_max_test      a minute a kind, and the figures
"""

import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import guardian  # noqa: E402

PROGRAM = sys.argv[1]
LONG = "PLIMSOLL_TEST_SECONDS" in os.environ


def make_group():
    """A new cgroup with a pids.max, and one of its own alone; OSError where we may make none."""
    why = OSError("no pids controller is mounted")
    for mount, controllers in guardian.cgroup_mounts().items():
        if controllers and "pids" not in controllers:
            continue
        group = os.path.join(mount, "plimsoll-pids-%d" % os.getpid())
        try:
            os.mkdir(group)
        except OSError as error:
            why = error
            continue
        if os.access(os.path.join(group, "pids.max"), os.W_OK):
            return group
        os.rmdir(group)
        why = OSError("%s has no pids.max" % group)
    raise why


class PidsMaxTest(unittest.TestCase):

    def setUp(self):
        try:
            self.group = make_group()
        except OSError as why:
            self.skipTest(str(why))
        self.addCleanup(self.remove)

    def remove(self):
        with open(os.path.join(self.group, "cgroup.procs")) as left:
            for pid in left.read().split():
                os.kill(int(pid), signal.SIGKILL)
        os.rmdir(self.group)

    def test_hostile_code_is_preempted_and_unharmed(self):
        procs = os.path.join(self.group, "cgroup.procs")
        limit = os.path.join(self.group, "pids.max")
        listed = subprocess.run([PROGRAM, "--gtest_list_tests"], capture_output=True, text=True,
                                check=True).stdout.splitlines()
        kinds = [line.split()[0] for line in listed if line.startswith("  IsPreemptedAndUnharmed/")]
        self.assertGreater(len(kinds), 0, listed)
        for kind in kinds:
            with self.subTest(kind=kind):
                with open(limit, "w") as f:
                    f.write("max")
                done = subprocess.run(
                    ["sh", "-c", "echo $$ > \"$0\"; exec \"$@\"", procs, PROGRAM,
                     "--gtest_filter=*" + kind],
                    env=dict(os.environ, PLIMSOLL_TEST_PIDS_MAX=limit, GTEST_OUTPUT=""),
                    capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                figures = [line for line in done.stdout.splitlines() if " P=" in line]
                if not any("SKIPPED" in line for line in done.stdout.splitlines()):
                    self.assertEqual(len(figures), 2 if LONG else 1, done.stdout)
                    self.assertIn("pids.max", figures[0])
                for line in figures:
                    print("  " + line)
