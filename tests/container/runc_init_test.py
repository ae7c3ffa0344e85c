"""plimsoll-init, and the library beneath it, as PID 1 of a real container."""

import json
import os
import signal
import sys
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import bundle  # noqa: E402
import container  # noqa: E402
import guardian  # noqa: E402

INIT, ORPHAN_MAKER, PROBE = sys.argv[1:4]


class RuncInitTest(unittest.TestCase):

    def setUp(self):
        try:
            container.check_static(INIT)
            container.check_available()
        except container.ContainerError as why:
            self.skipTest(str(why))
        self.image = bundle.Programs(
            {"plimsoll-init": INIT, "orphan_maker": ORPHAN_MAKER, "probe": PROBE})
        self.addCleanup(self.image.remove)

    def box(self, arguments, **options):
        return container.Container(self.image, "box", arguments, private_network=True,
                                   cgroupns=True, **options)

    def test_reaps_a_thousand_orphans(self):
        for uid in (0, 65532):
            with self.subTest(uid=uid), self.box(
                    ["/plimsoll-init", "-w", "--", "/orphan_maker", "1000"], uid=uid) as box:
                done = box.communicate()
                print("  " + done.stdout.strip(), "uid", uid)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout, "1000 orphans made, 0 left\n")
                self.assertEqual(done.stderr.count("reaped orphan"), 1000)

    def test_own_children_stay_waitable_while_a_thousand_orphans_are_reaped(self):
        with self.box(["/probe", "own-children", "1000"]) as box:
            done = box.communicate()
        self.assertEqual(done.returncode, 0, done.stderr)
        print("  " + done.stdout.strip())
        self.assertEqual(json.loads(done.stdout),
                         {"pid": 1, "reaped": 1001, "own_waitable": 20, "blind": False})

    def test_forwards_sigterm_and_exits_as_the_program_does(self):
        for number, code in ((signal.SIGTERM, 42), (signal.SIGINT, 130),
                             (signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(signal=number), self.box(
                    ["/plimsoll-init", "--", "/probe", "serve"]) as box:
                self.assertEqual(box.stdout.readline(), '{"ready": true}\n')
                box.kill(number)
                done = box.communicate(timeout=30)
                print("  %s -> %d" % (number.name, done.returncode))
                self.assertEqual(done.returncode, code)

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
            with self.subTest(args=args), self.box(args) as box:
                done = box.communicate()
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)

    def test_leaves_nothing_behind_even_when_its_program_goes_on(self):
        with self.box(["/plimsoll-init", "--", "/probe", "serve"]) as box:
            self.assertEqual(box.stdout.readline(), '{"ready": true}\n')
        for mount in guardian.cgroup_mounts():
            self.assertFalse(os.path.exists(os.path.join(mount, box.name)), mount)


if __name__ == "__main__":
    unittest.main()
