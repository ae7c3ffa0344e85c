"""What migrate_report.py makes of logs."""

import os
import tempfile
import unittest

import migrate_report


def line(parks, stayed):
    return "migrate=always: %d parks, %d of them stayed on their thread\n" % (parks, stayed)


class MigrateReportTest(unittest.TestCase):

    def test_every_process_of_a_log_counts(self):
        self.assertEqual(migrate_report.counts_in("[ OK ]\n" + line(10, 1) + "x\n" + line(5, 0)), (15, 1))
        self.assertIsNone(migrate_report.counts_in("migrate=always: many parks\n"))

    def test_it_is_enough_at_99_in_100(self):
        lines, enough = migrate_report.report([("a", line(900, 9)), ("b", ""), ("c", line(100, 1))])
        self.assertTrue(enough)
        self.assertEqual(len(lines), 3)
        self.assertIn("1000 parks", lines[-1])
        self.assertIn("10 stayed", lines[-1])
        self.assertIn("99.000 % moved  in 2 tests", lines[-1])
        self.assertFalse(migrate_report.report([("a", line(900, 9)), ("c", line(100, 2))])[1])

    def test_nothing_told_is_not_enough(self):
        self.assertFalse(migrate_report.report([("a", "no line")])[1])

    def test_logs_are_found_through_the_link_that_bazel_leaves(self):
        with tempfile.TemporaryDirectory() as top:
            os.makedirs(os.path.join(top, "real", "runtime", "x_test"))
            with open(os.path.join(top, "real", "runtime", "x_test", "test.log"), "w",
                      encoding="utf-8") as f:
                f.write(line(7, 0))
            os.symlink("real", os.path.join(top, "testlogs"))
            logs = list(migrate_report.logs_under(os.path.join(top, "testlogs")))
            self.assertEqual(logs, [("runtime/x_test", line(7, 0))])


if __name__ == "__main__":
    unittest.main()
