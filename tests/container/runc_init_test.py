"""plimsoll-init, and the library beneath it, as PID 1 of a real container."""

import json
import os
import sys
import unittest

import scratch_container
from scratch_container import ScratchContainer

INIT, ORPHAN_MAKER, PROBE = sys.argv[1:4]


class RuncInitTest(unittest.TestCase):

    def setUp(self):
        try:
            scratch_container.check_static(INIT)
            scratch_container.check_available()
        except scratch_container.Unavailable as why:
            self.skipTest(str(why))

    def box(self, **options):
        return ScratchContainer(
            {"plimsoll-init": INIT, "orphan_maker": ORPHAN_MAKER, "probe": PROBE}, **options)

    def test_reaps_a_thousand_orphans(self):
        for uid in (0, 65532):
            with self.subTest(uid=uid), self.box(uid=uid) as box:
                done = box.run(["/plimsoll-init", "-w", "--", "/orphan_maker", "1000"])
                print("  " + done.stdout.strip(), "uid", uid)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout, "1000 orphans made, 0 left\n")
                self.assertEqual(done.stderr.count("reaped orphan"), 1000)

    def test_own_children_stay_waitable_while_a_thousand_orphans_are_reaped(self):
        with self.box() as box:
            done = box.run(["/probe", "own-children", "1000"])
        self.assertEqual(done.returncode, 0, done.stderr)
        print("  " + done.stdout.strip())
        self.assertEqual(json.loads(done.stdout),
                         {"pid": 1, "reaped": 1001, "own_waitable": 20, "blind": False})

    def test_forwards_sigterm_and_exits_as_the_program_does(self):
        for signal_name, code in (("TERM", 42), ("INT", 130), ("KILL", 137)):
            with self.subTest(signal=signal_name), self.box() as box:
                with box.start(["/plimsoll-init", "--", "/probe", "serve"]) as process:
                    self.assertEqual(process.stdout.readline(), '{"ready": true}\n')
                    box.kill(signal_name)
                    process.communicate(timeout=30)
                print("  %s -> %d" % (signal_name, process.returncode))
                self.assertEqual(process.returncode, code)

    def test_passes_exit_codes_on(self):
        table = [
            (["/plimsoll-init", "--", "/probe", "exit", "0"], 0),
            (["/plimsoll-init", "--", "/probe", "exit", "7"], 7),
            (["/plimsoll-init", "-e", "7", "--", "/probe", "exit", "7"], 0),
            (["/plimsoll-init", "--", "/no/such"], 127),
            (["/plimsoll-init", "--", "/proc"], 126),
            (["/plimsoll-init", "-x"], 1),
            # Without it: a PID 1 of ours that signals itself.
            (["/probe", "end", "TERM"], 143),
            (["/probe", "end", "INT"], 130),
            (["/probe", "end", "abort"], 134),
        ]
        for args, code in table:
            with self.subTest(args=args), self.box() as box:
                done = box.run(args)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)

    def test_leaves_nothing_behind_even_when_its_program_goes_on(self):
        with self.box() as box:
            with box.start(["/plimsoll-init", "--", "/probe", "serve"]) as process:
                process.stdout.readline()
                name, folder = box.name, box.folder
                box.remove()
                process.communicate(timeout=30)
        self.assertFalse(os.path.exists(folder))
        for mount in scratch_container.cgroup_folders():
            self.assertFalse(os.path.exists(os.path.join(mount, name)), mount)


if __name__ == "__main__":
    unittest.main()
