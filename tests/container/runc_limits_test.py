"""`plimsoll limits --json`, and Pressure, in real containers on cgroup v1."""

import json
import math
import os
import sys
import unittest

sys.path.insert(0, "tools/image")  # where the harness is
import bundle  # noqa: E402
import container  # noqa: E402
import guardian  # noqa: E402

PLIMSOLL, PROBE = sys.argv[1:3]
MIB = 1 << 20
CPUS = len(os.sched_getaffinity(0))


def procs(quota):
    """Go's rule."""
    return CPUS if quota is None else min(CPUS, max(2, math.ceil(quota)))


class RuncLimitsTest(unittest.TestCase):

    def setUp(self):
        try:
            container.check_static(PLIMSOLL)
            container.check_v1_cpu()
        except container.ContainerError as why:
            self.skipTest(str(why))
        self.image = bundle.Programs({"plimsoll": PLIMSOLL, "probe": PROBE})
        self.addCleanup(self.image.remove)

    def tearDown(self):
        left = [mount for mount in guardian.cgroup_mounts()
                if os.path.exists(os.path.join(mount, guardian.name_of("box")))]
        self.assertEqual(left, [], "cgroups left behind")

    def run_in_box(self, command, cgroupns=True, **box):
        with container.Container(self.image, "box", command, private_network=True,
                                 cgroupns=cgroupns, **box) as running:
            return running.communicate()

    def limits(self, **box):
        done = self.run_in_box(["/plimsoll", "limits", "--json"], **box)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        print("  %s -> quota %s at %s, P %s, memory %s at %s, pids %s, diagnostics %s" % (
            box, found["quota"], found["quota_at"], found["procs"], found["memory_max"],
            found["memory_max_at"], found["pids_max"], found["diagnostics"]))
        return found

    def test_finds_quota_memory_and_pids_whatever_the_namespace_and_user(self):
        for quota, as_fraction in ((0.5, [1, 2]), (1.5, [3, 2]), (None, None)):
            for cgroupns in (True, False):
                for uid in (0, 65532):
                    with self.subTest(quota=quota, cgroupns=cgroupns, uid=uid):
                        found = self.limits(cpus=quota, memory=64 * MIB, pids=50,
                                            cgroupns=cgroupns, uid=uid)
                        self.assertEqual(found["quota"], as_fraction)
                        self.assertEqual(found["procs"], procs(quota))
                        self.assertEqual(found["memory_max"], 64 * MIB)
                        self.assertEqual(found["pids_max"], 50)
                        self.assertEqual(found["cpu_version"], "v1")
                        self.assertEqual(found["diagnostics"], [])

    def test_finds_the_tighter_memory_limit_of_a_parent_out_of_sight(self):
        found = self.limits(memory=None, parent={"memory.limit_in_bytes": 96 * MIB})
        self.assertEqual(found["memory_max"], 96 * MIB)

    def test_sees_no_quota_where_the_parent_that_has_one_is_out_of_sight(self):
        found = self.limits(parent={"cpu.cfs_quota_us": PERIOD // 5})
        self.assertEqual(found["quota"], None)

    def test_says_so_where_no_cgroup_is_mounted(self):
        found = self.limits(cpus=0.5, memory=64 * MIB, cgroup_mount=False)
        self.assertEqual(found["quota"], None)
        self.assertEqual(found["procs"], CPUS)
        self.assertIn("not-exposed", found["diagnostics"])

    def test_finds_a_tighter_parent_where_the_machines_tree_is_mounted(self):
        for cgroupns in (False, True):
            with self.subTest(cgroupns=cgroupns):
                found = self.limits(parent={"cpu.cfs_quota_us": 70000}, cgroup_mount=False,
                                    host_cgroups=True, cgroupns=cgroupns)
                if cgroupns:
                    # Our own path is "/" and the tree's root is above it: nothing can be told.
                    self.assertNotEqual(found["diagnostics"], [])
                else:
                    self.assertEqual(found["quota"], [7, 10])
                    self.assertTrue(found["quota_at"].endswith(
                        guardian.name_of("box")), found["quota_at"])

    def pressure(self, polls=6, **box):
        done = self.run_in_box(["/probe", "pressure", "2", str(polls)], **box)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        readings = [json.loads(line) for line in done.stdout.splitlines()]
        for reading in readings:
            print("  %s" % reading)
        return readings

    def test_pressure_names_the_level_that_throttles(self):
        quota = 0.1
        readings = self.pressure(cpus=quota, polls=3)
        if max(r["cpus_used"] for r in readings) < 0.9 * quota:
            self.skipTest("this machine was too busy for the container to use its quota up")
        self.assertIn("throttled", [r["verdict"] for r in readings])
        worst = max(readings, key=lambda r: r["throttled"])
        self.assertGreater(worst["throttled"], 0)
        self.assertLessEqual(worst["throttled"], worst["periods"])
        self.assertGreater(worst["throttled_ms"], 1)
        self.assertIn("/sys/fs/cgroup/cpu", worst["level"])

    def test_pressure_finds_the_quota_of_a_parent_out_of_sight(self):
        readings = self.pressure(parent={"cpu.cfs_quota_us": PERIOD // 5})
        self.assertEqual({r["throttled"] for r in readings}, {0}, "our own level throttled nothing")
        # On a busy machine neighbours might as well be to blame, and the verdict must say that.
        lacked = min(CPUS, 2) - 0.2
        idle = [r for r in readings if r["idle"] > 0.6 * lacked]
        if not idle:
            self.skipTest("this machine was too busy to tell a hidden quota from neighbours")
        self.assertEqual({r["verdict"] for r in idle}, {"hidden-quota"})


PERIOD = container.PERIOD_US

if __name__ == "__main__":
    unittest.main()
