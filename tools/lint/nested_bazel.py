"""Asks Bazel about this workspace from within one of its tests.

A test runs while the outer server holds its own output base, so this one has another, below .bazel/
in the source tree: kept from run to run, since making it takes longer than the question.
"""

import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def run(name, *arguments):
    """Runs `bazel ARGUMENTS` with the output base called `name`; returns the finished process.

    No server stays behind.
    """
    state = os.path.join(ROOT, ".bazel", "nested")
    try:
        os.makedirs(state, exist_ok=True)
    except OSError:  # the tree is read-only
        state = os.environ.get("TEST_TMPDIR") or tempfile.gettempdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "RUNFILES"))}
    environment["HOME"] = environment.get("HOME", state)
    # Bazel's tests run with a path of their own, which lacks /usr/sbin and the like: enough here.
    return subprocess.run(
        ["bazel", "--batch", "--output_user_root=" + state,
         "--output_base=" + os.path.join(state, name), *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, check=False)
