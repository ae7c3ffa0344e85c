"""The graph of packages is the floor plan; and the comparison sees what it must."""

import unittest

import floor_plan

QUERY = """<?xml version="1.1" encoding="UTF-8"?>
<query version="2">
  <rule class="cc_library" name="//runtime/chan:channel">
    <rule-input name="//runtime/sched:park"/>
    <rule-input name="//runtime/chan:wait_queue"/>
    <rule-input name="@com_google_absl//absl/strings:strings"/>
  </rule>
  <rule class="cc_test" name="//runtime/chan:channel_test">
    <rule-input name="//runtime/sched:park"/>
    <rule-input name="//runtime/time:clock"/>
  </rule>
  <rule class="cc_library" name="//runtime/chan/testing:fake">
    <boolean name="testonly" value="true"/>
    <rule-input name="//runtime/time:clock"/>
  </rule>
  <rule class="cc_library" name="//container/cgroup:libcgroup_tree">
    <rule-input name="@libcgroup//:libcgroup"/>
  </rule>
  <rule class="cc_binary" name="//examples/hello:hello">
    <rule-input name="//runtime:runtime"/>
  </rule>
</query>
"""


class EdgesTest(unittest.TestCase):

    def test_edges_are_between_packages_of_the_house_and_to_doors(self):
        self.assertEqual(set(floor_plan.edges_of(QUERY)), {
            ("runtime/chan", "runtime/sched", False),  # the test's own is the library's too
            ("runtime/chan", "runtime/time", True),
            ("runtime/chan/testing", "runtime/time", True),
            ("container/cgroup", "@libcgroup", False),
        })

    def test_differences_name_the_edge_and_the_targets(self):
        edges = {("a", "b", False): "//a:x -> //b:y", ("a", "c", True): "//a:x_test -> //c:z"}
        table = [
            (["a -> b", "a -> c  (test)"], []),
            (["a -> b"], ["new edge:  a -> c  (test)\n    by //a:x_test -> //c:z"]),
            (["a -> b", "a -> c  (test)", "b -> c"], ["gone:      b -> c"]),
            # A library that begins to use what only its test used is a new edge.
            (["a -> b  (test)", "a -> c  (test)"],
             ["new edge:  a -> b\n    by //a:x -> //b:y", "gone:      a -> b  (test)"]),
        ]
        for plan, want in table:
            with self.subTest(plan):
                self.assertEqual(floor_plan.differences(edges, plan), want)

    def test_stairs_go_down(self):
        table = [
            ("//runtime/chan:c", "//runtime/sched:park", False, None),
            ("//runtime/sched:s", "//runtime/chan:c", False, "goes up, from floor 2 to floor 4.1"),
            ("//runtime/sched:s", "//runtime/chan:c", True, None),
            ("//runtime/chan:c", "//runtime/context:x", False, "goes up"),
            ("//runtime/chan:c", "//runtime:go", False, None),
            ("//runtime/sched:s", "//runtime:go_header", False, None),
            ("//runtime/chan:c", "//runtime:runtime", False, "goes up"),
            ("//alloc:heap", "//runtime/sched:park", False, "alloc stands alone"),
            ("//container:limits", "//alloc/base:check", False, "container stands alone"),
            ("//runtime/http:server", "//container:limits", False, "floors 6 and 7 alone"),
            ("//runtime:runtime", "//container:limits", False, None),
            ("//runtime/chan:c", "//tests/testing:fake", False, "stands on nothing in tests/"),
            ("//runtime/attic:a", "//runtime/sched:park", False, "no floor is named for"),
        ]
        for source, target, is_test, want in table:
            with self.subTest(source + " -> " + target):
                edge = (floor_plan.package_of(source), floor_plan.package_of(target), is_test)
                said = floor_plan.climbs({edge: source + " -> " + target})
                if want is None:
                    self.assertEqual(said, [])
                else:
                    self.assertEqual(len(said), 1)
                    self.assertIn(want, said[0])


class FloorPlanTest(unittest.TestCase):

    def test_the_graph_is_the_floor_plan(self):
        edges = floor_plan.query()
        self.assertGreater(len(edges), 5, "the query found no house")
        with open(floor_plan.PLAN) as file:
            said = floor_plan.differences(edges, floor_plan.read_plan(file.read()))
        said += floor_plan.climbs(edges)
        if said:
            self.fail("\n" + "\n".join(said) + "\n\nIf the new edge is meant, accept it and show "
                      "it in the review:\n    tools/lint/floor_plan.py --accept")
