#!/usr/bin/env python3
"""Compares the graph of packages with the floor plan, tools/lint/floor_plan.txt.

    tools/lint/floor_plan.py              says what is new and what is gone; exit 1 where they differ
    tools/lint/floor_plan.py --accept     writes the graph into the floor plan, for review

The graph is `bazel query`'s, of every target below alloc, container and runtime, whatever the
configuration. An edge of a test alone is marked "(test)". A third party stands in the list where it
is meant to have one door; Abseil and GoogleTest may be used anywhere.
"""

import os
import sys
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nested_bazel

PLAN = os.path.join(nested_bazel.ROOT, "tools", "lint", "floor_plan.txt")
HOUSE = ("alloc", "container", "runtime")
# Not rooms: how targets are compiled, and what everybody may use.
_EVERYWHERE = ("", "tools/deps", "tools/report", "tools/image", "@com_google_absl",
               "@com_google_googletest", "@bazel_tools", "@local_config_cc", "@rules_cc",
               "@platforms")

# Who is above whom (runtime/README.md). An edge goes down, or stays on its floor; on floor 4, where
# the order is a chain, each room has its own number.
FLOORS = {
    "alloc/base": 0.0,
    "alloc/backing": 0.1,
    "alloc": 0.2,
    "container/cgroup": 0.0,
    "container/health": 0.2,
    "container/init": 0.2,
    "container": 0.1,
    "runtime/stack": 1,
    "runtime/timer": 1,
    "runtime/symbolize": 1,  # names of addresses, without malloc
    "runtime/gc": 2,
    "runtime/netpoll": 2,
    "runtime/sched": 2,
    "runtime/panic": 1,  # exceptions alone: knows no goroutine
    "runtime/task": 3,
    "runtime/chan": 4.1,
    "runtime/sync": 4.2,
    "runtime/time": 4.3,
    "runtime/context": 4.4,
    "runtime/group": 4.5,
    "runtime/net": 4.6,
    "runtime/http": 5,
    "runtime": 6,
    "runtime/service": 7,
}
# Targets that are on another floor than their package: Go() is the waist, for all above it, and its
# bare header is a declaration, which the scheduler implements.
TARGET_FLOORS = {"//runtime:go": 3, "//runtime:go_header": 0}


def package_of(label):
    """"runtime/sched" of "//runtime/sched:park", "@libcgroup" of "@libcgroup//:libcgroup"."""
    if label.startswith("@"):
        return label.split("//")[0]
    return label[2:].split(":")[0]


def is_house(package):
    return package.split("/")[0] in HOUSE


def edges_of(xml):
    """{(from, to, is_test): an example "target -> target"} of `bazel query --output=xml`."""
    edges = {}
    for rule in ElementTree.fromstring(xml).iter("rule"):
        source = rule.get("name")
        start = package_of(source)
        if not is_house(start) or rule.get("class") == "package_group":
            continue
        testonly = rule.find("boolean[@name='testonly']")
        is_test = rule.get("class").endswith("_test") or (
            testonly is not None and testonly.get("value") == "true")
        for dep in rule.iter("rule-input"):
            target = dep.get("name")
            end = package_of(target)
            if end == start or end in _EVERYWHERE:
                continue
            edges.setdefault((start, end, is_test), "%s -> %s" % (source, target))
    # What a library has, its tests have too.
    return {e: why for e, why in edges.items() if not (e[2] and (e[0], e[1], False) in edges)}


def floor_of(target):
    return TARGET_FLOORS.get(target, FLOORS.get(package_of(target)))


def climbs(edges):
    """What is against the stairs, as sentences."""
    wrong = []
    for (start, end, is_test), why in sorted(edges.items()):
        source, target = why.split(" -> ")
        if is_test or end.startswith("@"):
            continue
        if not is_house(end):
            wrong.append("%s: the house stands on nothing in %s/" % (why, end.split("/")[0]))
            continue
        low, high = floor_of(target), floor_of(source)
        for package, floor in ((start, high), (end, low)):
            if floor is None:
                wrong.append("%s: no floor is named for %s; add it to FLOORS" % (why, package))
        if low is None or high is None:
            continue
        if start.split("/")[0] != end.split("/")[0]:
            if not start.startswith("runtime"):
                wrong.append("%s: %s stands alone" % (why, start.split("/")[0]))
            elif end.startswith("container") and high < 6:
                wrong.append("%s: container is seen from floors 6 and 7 alone" % why)
        elif low > high:
            wrong.append("%s: goes up, from floor %g to floor %g" % (why, high, low))
    return wrong


def lines_of(edges):
    return sorted("%s -> %s%s" % (a, b, "  (test)" if t else "") for a, b, t in edges)


def read_plan(text):
    return sorted(line for line in text.splitlines() if line and not line.startswith("#"))


def differences(edges, plan):
    """What to tell the author, as sentences; empty where graph and plan agree."""
    now = {line: why for (a, b, t), why in edges.items() for line in lines_of([(a, b, t)])}
    said = []
    for line in sorted(set(now) - set(plan)):
        said.append("new edge:  %s\n    by %s" % (line, now[line]))
    for line in sorted(set(plan) - set(now)):
        said.append("gone:      %s" % line)
    return said


def query():
    """The graph as it is. RuntimeError: Bazel could not say."""
    done = nested_bazel.run("query", "query", "--noimplicit_deps", "--output=xml", "//...")
    if done.returncode != 0:
        raise RuntimeError("bazel query failed:\n" + done.stderr)
    return edges_of(done.stdout)


_HEADING = """\
# The floor plan: which package depends on which, and which holds a third party. Generated by
# tools/lint/floor_plan.py --accept and compared by //tools/lint:floor_plan_test; a new line is a
# decision, to be seen in a review. (test): a test alone depends on it.
"""


def main():
    edges = query()
    for sentence in climbs(edges):
        print(sentence)
    if sys.argv[1:] == ["--accept"]:
        with open(PLAN, "w") as out:
            out.write(_HEADING + "\n".join(lines_of(edges)) + "\n")
        print("%d edges" % len(edges))
        return 0
    with open(PLAN) as file:
        said = differences(edges, read_plan(file.read()))
    print("\n".join(said) or "the graph is the floor plan: %d edges" % len(edges))
    return 1 if said or climbs(edges) else 0


if __name__ == "__main__":
    sys.exit(main())
