#!/usr/bin/env python3
"""Runs the tests in one configuration or in all, and closes with the count of test cases.

See tools/test, which calls this. A GoogleTest case counts as one; a test program without cases,
such as a shell test, counts as one; so does each check of tools/lint/run. What was skipped is
named. The last line is "N passed, N failed"; the exit status is 0 where nothing failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

# What each configuration runs. A sanitizer is asked about our own code, not about Python tools; the
# static one about programs that ship, since a library's test has no more to say when linked so. The
# clang one is asked about what asan-ubsan, which is clang's too, cannot be: a malloc of our own, and
# what layering_check has to say of the tools.
CODE = ["//alloc/...", "//container/...", "//examples/...", "//runtime/...", "//tests/..."]
CONFIGURATIONS = {
    "default": ["//..."],
    "nolibcgroup": ["//container/...", "//tools/plimsoll/..."],
    "static": ["//container/...", "//examples/...", "//tests/...", "//tools/image/..."],
    "clang": ["//alloc/...", "//tests/conformance/...", "//tools/bench/...", "//tools/plimsoll/..."],
    "asan-ubsan": CODE,
    "tsan": CODE,
}
# What keeps a test out of a configuration, such as the tag "no-tsan"; its target says why.
LEFT_OUT = {
    "clang": ["no-clang"],
    "asan-ubsan": ["no-sanitizer", "no-asan", "no-ubsan", "no-clang"],
    "tsan": ["no-sanitizer", "no-tsan"],
}


class Tally:
    """Cases that passed and failed, and the names of what failed or was skipped."""

    def __init__(self):
        self.passed = self.failed = 0
        self.skipped = []
        self.broken = []

    def add(self, other, prefix=""):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += [prefix + name for name in other.skipped]
        self.broken += [prefix + name for name in other.broken]

    def fail(self, why):
        self.failed += 1
        self.broken.append(why)

    def __str__(self):
        return "%d passed, %d failed" % (self.passed, self.failed)


def count_cases(path, label):
    """Counts the cases of one test.xml."""
    tally = Tally()
    for case in ElementTree.parse(path).iter("testcase"):
        name = "%s.%s" % (case.get("classname", ""), case.get("name", ""))
        if case.find("failure") is not None or case.find("error") is not None:
            tally.fail("FAILED  %s  %s" % (label, name.lstrip(".")))
        elif (
            case.find("skipped") is not None
            or case.get("result") in ("skipped", "suppressed")
            or case.get("status") == "notrun"
        ):
            tally.skipped.append("%s  %s" % (label, name.lstrip(".")))
        else:
            tally.passed += 1
    return tally


def read_xml(result, label):
    """The cases of a test result, or None where it left no readable report."""
    for output in result.get("testActionOutput", []):
        uri = urllib.parse.urlparse(output.get("uri", ""))
        if output.get("name") == "test.xml" and uri.scheme == "file":
            try:
                return count_cases(urllib.parse.unquote(uri.path), label)
            except (OSError, ElementTree.ParseError):
                return None
    return None


def tally_events(lines):
    """Adds up the last attempt of every shard of every run of every test."""
    results, unbuilt, incompatible = {}, set(), set()
    for line in lines:
        event = json.loads(line)
        ident = event.get("id", {})
        if "testResult" in event:
            key = ident["testResult"]
            attempt = key.get("attempt", 1)
            key = (key["label"], key.get("run", 1), key.get("shard", 1))
            if key not in results or results[key][0] <= attempt:
                results[key] = (attempt, event["testResult"])
        elif "aborted" in event and "targetCompleted" in ident:
            # target_compatible_with said no: a skip, not a failure to build.
            if event["aborted"].get("reason") == "SKIPPED":
                incompatible.add(ident["targetCompleted"]["label"])
            else:
                unbuilt.add(ident["targetCompleted"]["label"])
        elif "testSummary" in event:
            status = event["testSummary"].get("overallStatus", "NO_STATUS")
            if status in ("NO_STATUS", "FAILED_TO_BUILD"):
                unbuilt.add(ident["testSummary"]["label"])
        elif "targetCompleted" in ident and not event.get("completed", {}).get("success"):
            unbuilt.add(ident["targetCompleted"]["label"])

    tally = Tally()
    for key in sorted(results):
        label, result = key[0], results[key][1]
        status = result.get("status")
        ok = status in ("PASSED", "FLAKY")
        found = read_xml(result, label)
        if found is None:  # no report: the program itself is the case
            found = Tally()
            if ok:
                found.passed = 1
            else:
                found.fail("%s  %s" % (status, label))
        elif not ok and found.failed == 0:  # crashed, or ran out of time
            found.fail("%s  %s" % (status, label))
        tally.add(found)
    ran = {key[0] for key in results}
    for label in sorted(unbuilt - ran - incompatible):
        tally.fail("NOT BUILT OR NOT RUN  %s" % label)
    for label in sorted(incompatible):
        if label.endswith("_test"):  # a skipped library or image is no test that was skipped
            tally.skipped.append("%s  cannot be built in this configuration" % label)
    return tally


def run_bazel(arguments):
    """Runs `bazel test` with `arguments` and counts what it did."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "events.json")
        command = ["bazel", "test", "--keep_going", "--build_event_json_file=" + log]
        status = subprocess.call(command + arguments, stdin=subprocess.DEVNULL, cwd=ROOT)
        tally = Tally()
        if os.path.exists(log):
            with open(log) as events:
                tally = tally_events(events)
    # 4: there was no test to run, which is nobody's failure.
    if status not in (0, 4) and tally.failed == 0:
        tally.fail("bazel test %s ended with status %d" % (" ".join(arguments), status))
    return tally


def run_lines(command, name):
    """Runs a step that prints "PASS what", "FAIL what" or "SKIP what: why", one line a check."""
    tally = Tally()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            word, _, what = line.rstrip("\n").partition(" ")
            if word == "PASS":
                tally.passed += 1
            elif word == "FAIL":
                tally.fail("FAILED  %s  %s" % (name, what))
            elif word == "SKIP":
                tally.skipped.append("%s  %s" % (name, what))
    if process.returncode != 0 and tally.failed == 0:
        tally.fail("%s ended with status %d" % (name, process.returncode))
    return tally


def arguments_of(configuration, extra):
    """The bazel arguments of one configuration of --all."""
    arguments = list(extra)
    if configuration != "default":
        arguments.append("--config=" + configuration)
    if configuration in LEFT_OUT:
        tags = ",".join("-" + tag for tag in LEFT_OUT[configuration])
        arguments.append("--test_tag_filters=" + tags)
    if configuration in ("asan-ubsan", "tsan"):
        arguments.append("--build_tests_only")
    return arguments + ["--"] + CONFIGURATIONS[configuration]


def main():
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--all", action="store_true")
    options, extra = parser.parse_known_args()

    total, lines = Tally(), []

    def step(name, run):
        started = time.monotonic()
        print("==== %s" % name, flush=True)
        tally = run()
        total.add(tally, "%-10s " % name)
        lines.append("%-11s %s, %d skipped  (%d s)" % (
            name, tally, len(tally.skipped), time.monotonic() - started))

    if options.all:
        if any(not e.startswith("-") for e in extra):
            parser.error("--all runs everything; name targets without it")
        for configuration in CONFIGURATIONS:
            step(configuration, lambda c=configuration: run_bazel(arguments_of(c, extra)))
        step("workspace", lambda: run_lines(["tests/workspace/run"], "tests/workspace"))
        step("lint", lambda: run_lines(["tools/lint/run"], "tools/lint/run"))
    elif any(not e.startswith("-") for e in extra):
        step("default", lambda: run_bazel(extra))
    else:
        step("default", lambda: run_bazel(extra + ["//..."]))
        step("workspace", lambda: run_lines(["tests/workspace/run"], "tests/workspace"))

    sys.stderr.flush()
    print("====")
    for name in total.skipped:
        print("skipped  %s" % name)
    if total.skipped:
        print("%d skipped" % len(total.skipped))
    for line in lines:
        print(line)
    for name in total.broken:
        print(name)
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
