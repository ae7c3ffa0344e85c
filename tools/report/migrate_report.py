#!/usr/bin/env python3
"""Adds up what the tests of a run with --config=migrate told: how many parks changed threads.

    bazel test --config=migrate -k //runtime/... //tests/conformance/...
    tools/report/migrate_report.py .bazel/testlogs

Each test whose main() is one of tests/testing writes a line into its log (migrations.h). The exit
status is 0 where at least 99 in 100 of all parks ended on another thread, and somebody parked.
"""

import os
import re
import sys

LINE = re.compile(r"^migrate=always: (\d+) parks, (\d+) of them stayed on their thread$", re.M)
WANTED = 0.99


def counts_in(log):
    """(parks, stayed), summed over the processes that told of themselves; None: none did."""
    found = [(int(parks), int(stayed)) for parks, stayed in LINE.findall(log)]
    if not found:
        return None
    return sum(parks for parks, _ in found), sum(stayed for _, stayed in found)


def logs_under(top):
    """(test, text) of each test.log below `top`, by name. Shards and runs are tests of their own."""
    # The links' own target is followed, links within are not.
    for folder, _, files in sorted(os.walk(os.path.realpath(top))):
        if "test.log" in files:
            with open(os.path.join(folder, "test.log"), encoding="utf-8", errors="replace") as f:
                yield os.path.relpath(folder, os.path.realpath(top)), f.read()


def report(logs):
    """(lines to print, whether it is enough)."""
    lines = []
    all_parks = all_stayed = tests = 0
    for test, log in logs:
        counts = counts_in(log)
        if counts is None:
            continue
        parks, stayed = counts
        tests += 1
        all_parks += parks
        all_stayed += stayed
        lines.append("%10d parks  %7d stayed  %7.3f %% moved  %s" %
                     (parks, stayed, 100.0 * (parks - stayed) / parks, test))
    if all_parks == 0:
        return ["no test told of a park in migrate=always"], False
    moved = (all_parks - all_stayed) / all_parks
    lines.append("%10d parks  %7d stayed  %7.3f %% moved  in %d tests" %
                 (all_parks, all_stayed, 100.0 * moved, tests))
    return lines, moved >= WANTED


def main():
    if any(arg in ("-h", "--help") for arg in sys.argv[1:]):
        print(__doc__)
        return 0
    lines, enough = report(logs_under(sys.argv[1] if len(sys.argv) > 1 else ".bazel/testlogs"))
    print("\n".join(lines))
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
