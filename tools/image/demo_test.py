"""What tools/demo does with its arguments, and what it makes of what a service says."""

import errno
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

import container
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
            (["--cpus", "\x1b[31m1"], "--cpus $'\\E[31m1'"),
            (["--memory=1\x07"], "--memory $'1\\a'"),
            (["--\x9bcpu"], "$'--\\302\\233cpu' is not an option"),
            (["\n"], "$'\\n' is not an option"),
        ]
        for arguments, text in table:
            with self.subTest(arguments):
                done = subprocess.run([DEMO] + arguments, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(text, done.stderr)
                self.assertIn("--help", done.stderr)
                self.assertTrue(done.stderr.removesuffix("\n").isprintable(), done.stderr)

    def test_help_names_every_option_and_exit_status(self):
        done = subprocess.run([DEMO, "--help"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0)
        for text in ("--cpus X", "--memory Y", "1.5 unless", "128MiB unless", "Exit status: 0",
                     "1  something", "2  an argument", "3  no container"):
            self.assertIn(text, done.stdout)


class EndingTest(unittest.TestCase):
    """How main() ends, and what its last line says."""

    def end(self, **mocks):
        arguments = ["demo", "--image=i", "--program=p", "--quota-us=1", "--memory=1"]
        handlers = {number: signal.getsignal(number) for number in demo._ENDINGS}
        with mock.patch.multiple(demo, **mocks), mock.patch.object(sys, "argv", arguments), \
                mock.patch.object(os, "dup2") as closed, \
                mock.patch.object(sys, "stderr", io.StringIO()) as stderr:
            try:
                return demo.main(), stderr.getvalue(), closed.called
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def test_an_error_of_the_system_is_one_line_and_exit_code_1(self):
        for error, line in [
            (OSError(errno.ENOSPC, "No space left on device"),
             "tools/demo: [Errno 28] No space left on device\n"),
            (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x\x1b[2J"),
             "tools/demo: [Errno 2] No such file or directory: '/x\\x1b[2J'\n"),
        ]:
            with self.subTest(line):
                # What waits in stdout's buffer would raise it again at the interpreter's end.
                self.assertEqual(self.end(in_container=mock.Mock(side_effect=error)),
                                 (1, line, True))

    def test_without_a_container_the_service_runs_as_a_process_and_the_exit_code_is_3(self):
        process = mock.Mock()
        with mock.patch("builtins.print") as said:
            code, err, _ = self.end(
                in_container=mock.Mock(side_effect=container.ContainerError("not root")),
                as_process=process)
        self.assertEqual((code, err, process.call_count), (3, "", 1))
        self.assertIn("can be made here (not root)", said.call_args[0][0])

    def test_the_process_is_given_nothing_that_a_shell_exports_for_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program")
            with open(program, "w") as file:
                file.write("#!/bin/sh\nenv\n")
            os.chmod(program, 0o755)
            said = []
            exported = {"HOST": "build-host", "GOMAXPROCS": "7", "GOMEMLIMIT": "1", "GOGC": "1",
                        "PLIMSOLL_LOG": "off", "PORT": "1", "KEPT": "yes"}
            with mock.patch.dict(os.environ, exported), \
                    mock.patch.object(demo, "tell", lambda service: service.silent()), \
                    mock.patch("builtins.print", lambda line, **_: said.append(line)):
                demo.as_process(mock.Mock(program=program))
        given = {line.removeprefix("service | ") for line in said}
        self.assertLessEqual({"KEPT=yes", "PORT=0"}, given)
        names = {line.partition("=")[0] for line in given}
        self.assertEqual(names & {"HOST", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "PLIMSOLL_LOG"}, set())


class OutputTest(unittest.TestCase):

    def test_a_reader_that_has_gone_ends_it_without_a_traceback(self):
        program = """
import io, sys
import demo
def tell(options):
    service = demo.Service([io.StringIO("said\\n" * 5)], None, None)
    service.silent()
    while True:
        print("told", flush=True)
demo.in_container = tell
sys.argv[1:] = ["--image=i", "--program=p", "--quota-us=1", "--memory=1"]
sys.exit(demo.main())
"""
        with subprocess.Popen([sys.executable, "-B", "-c", program], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True,
                              env=dict(os.environ, PYTHONPATH="tools/image")) as process:
            process.stdout.readline()
            process.stdout.close()
            said = process.stderr.read()
            self.assertEqual(process.wait(), 141)
        self.assertEqual(said, "tools/demo: nobody reads this any more; container and cgroups are "
                         "removed\n")


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
