"""The walls hold: what the floor plan forbids does not build, and the same thing allowed does.

Each case is a package of two files that exists in this test alone, laid over the source tree by
Bazel's --package_path.
"""

import json
import os
import shutil
import tempfile
import unittest

import nested_bazel

BUILD = """
load("//tools/deps:plimsoll.bzl", "plimsoll_cc_library")

package(default_visibility = ["//visibility:private"], features = ["layering_check"])

plimsoll_cc_library(name = "room", srcs = ["room.cc"], linkstatic = True, deps = ["%s"])
"""


class Wall:
    """One room that depends on `dep` and includes `include`; may it be built?"""

    def __init__(self, package, dep, allowed, include="cstddef"):
        self.package, self.dep, self.allowed, self.include = package, dep, allowed, include
        self.built = False

    def __str__(self):
        return "%s on %s, including %s" % (self.package, self.dep, self.include)


def build(walls, *flags):
    """Builds every room in one go, sets `built` of each, and returns what Bazel said."""
    with tempfile.TemporaryDirectory() as overlay:
        for wall in walls:
            folder = os.path.join(overlay, wall.package)
            os.makedirs(folder)
            with open(os.path.join(folder, "BUILD"), "w") as out:
                out.write(BUILD % wall.dep)
            with open(os.path.join(folder, "room.cc"), "w") as out:
                out.write('#include "%s"\n' % wall.include)
        events = os.path.join(overlay, "events.json")
        done = nested_bazel.run(
            "walls", "build", "--keep_going", "--package_path=%workspace%:" + overlay, "--color=no",
            # The links below .bazel/ are the outer Bazel's.
            "--curses=no", "--experimental_convenience_symlinks=ignore",
            "--build_event_json_file=" + events, *flags,
            *("//%s:room" % wall.package for wall in walls))
        built = set()
        with open(events) as lines:
            for event in map(json.loads, lines):
                if event.get("completed", {}).get("success"):
                    built.add(event["id"]["targetCompleted"]["label"])
    for wall in walls:
        wall.built = "//%s:room" % wall.package in built
    return done.stderr


class VisibilityTest(unittest.TestCase):
    """Analysis refuses a dependency on a room that is not visible: with any compiler."""

    def test_a_dependency_on_a_hidden_room_is_refused(self):
        walls = [
            Wall("runtime/http/walls", "//runtime/sched:park", False),
            Wall("examples/walls_a", "//runtime/sched:scheduler", False),
            Wall("container/walls", "//alloc/base:check", False),
            Wall("examples/walls_b", "//container:limits", True),
        ]
        said = build(walls)
        for wall in walls:
            with self.subTest(str(wall)):
                self.assertEqual(wall.built, wall.allowed, said)
                if not wall.allowed:
                    self.assertRegex(said, "target '%s' is not visible from target '//%s:room'" % (
                        wall.dep, wall.package))


class LayeringTest(unittest.TestCase):
    """clang refuses an include that deps does not name, though the file could be found."""

    def test_an_include_that_deps_does_not_name_is_refused(self):
        if not shutil.which("clang-19", path=os.environ.get("PATH", "") + ":/usr/bin"):
            self.skipTest("clang-19 is not installed; tools/bring_tools.sh --all")
        # :limits brings files.h along for its own use; that does not make it ours.
        header = "plimsoll/container/cgroup/files.h"
        walls = [
            Wall("container/walls_a", "//container:limits", True, "plimsoll/container/limits.h"),
            Wall("container/walls_b", "//container:limits", False, header),
            Wall("container/walls_c", "//container/cgroup:files", True, header),
        ]
        said = build(walls, "--config=clang")
        for wall in walls:
            with self.subTest(str(wall)):
                self.assertEqual(wall.built, wall.allowed, said)
                if not wall.allowed:
                    self.assertRegex(said, "module //%s:room does not depend on a module exporting "
                                     "'%s'" % (wall.package, wall.include))
