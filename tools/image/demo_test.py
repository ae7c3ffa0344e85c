"""What tools/demo does with its arguments, and what it makes of what a service says."""

import io
import subprocess
import sys
import threading
import unittest
from unittest import mock

import demo

DEMO = sys.argv[1]


class ArgumentsTest(unittest.TestCase):
    """These end before anything is installed or built."""

    def test_nonsense_is_refused_with_the_flag_and_the_text(self):
        table = [
            (["--cpus", "abc"], '--cpus "abc"'),
            (["--cpus", ""], '--cpus ""'),
            (["--cpus", "-1"], '--cpus "-1"'),
            (["--cpus", "1e3"], '--cpus "1e3"'),
            (["--cpus", "0"], '--cpus "0" is less than'),
            (["--cpus=0.009"], '--cpus "0.009" is less than'),
            (["--cpus", "1.5", "--memory", "5x"], '--memory "5x"'),
            (["--memory", "128 MiB"], '--memory "128 MiB"'),
            (["--memory", "99999999999999999999"], '--memory "99999999999999999999"'),
            (["--memory", "1MiB"], '--memory "1MiB" is less than'),
            (["--memory", "999999999999GiB"], '--memory "999999999999GiB" is more than'),
            (["--memory"], "--memory needs a value"),
            (["--cpu", "1"], '"--cpu" is not an option'),
        ]
        for arguments, text in table:
            with self.subTest(arguments):
                done = subprocess.run([DEMO] + arguments, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(text, done.stderr)
                self.assertIn("--help", done.stderr)

    def test_help_names_every_option_and_exit_status(self):
        done = subprocess.run([DEMO, "--help"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0)
        for text in ("--cpus X", "--memory Y", "1.5 unless", "128MiB unless", "Exit status: 0",
                     "1  something", "2  an argument", "3  no container"):
            self.assertIn(text, done.stdout)


def service(*streams, status=0):
    return demo.Service([io.StringIO(s) for s in streams], kill=None, wait=lambda: status)


@mock.patch("builtins.print")
class ServiceTest(unittest.TestCase):

    def test_the_port_is_the_one_it_says_it_listens_on(self, unused):
        for said, port in [
            ("plimsoll: P = 2\nplimsoll: listening on 0.0.0.0:8080\n", 8080),
            ("plimsoll: listening on [::]:41000\n", 41000),
        ]:
            with self.subTest(said):
                self.assertEqual(service("", said).listening(), port)

    def test_an_early_end_is_told_with_its_exit_code(self, unused):
        with self.assertRaisesRegex(demo.DemoError, "before it listened, with exit code 7"):
            service("fatal error: no\n", "", status=7).listening()

    def test_silence_is_told(self, unused):
        release = threading.Event()
        self.addCleanup(release.set)

        def says_nothing():
            release.wait()
            yield from ()

        with mock.patch.object(demo, "_PATIENCE_S", 0.01):
            with self.assertRaisesRegex(demo.DemoError, "did not listen within"):
                demo.Service([says_nothing()], None, None).listening()

    def test_cgroup_paths_come_from_the_trees(self, unused):
        limits = {"procs": 2, "trees": [
            {"path": "/a/b", "controllers": "cpu"}, {"path": "/a/b", "controllers": "memory"},
            {"path": "/", "controllers": "pids"}]}
        self.assertEqual(demo.cgroup_paths(limits), {"/a/b": ["cpu", "memory"], "/": ["pids"]})
        self.assertEqual(demo.cgroup_paths({}), {})
