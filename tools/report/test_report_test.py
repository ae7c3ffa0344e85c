"""What the count says of each way in which a test can end."""

import json
import os
import tempfile
import unittest

import test_report

PASSED_XML = '<testsuites><testsuite><testcase name="A" classname="S"/></testsuite></testsuites>'
FAILED_XML = (
    '<testsuites><testsuite><testcase name="A" classname="S"/>'
    '<testcase name="B" classname="S"><failure message="no"/></testcase>'
    "</testsuite></testsuites>"
)
SKIPPED_XML = (
    '<testsuites><testsuite><testcase name="A" classname="S" result="skipped"/>'
    '<testcase name="D" classname="S" status="notrun" result="suppressed"/>'
    "</testsuite></testsuites>"
)


class TallyEventsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.files = 0

    def result(self, label, status, xml=None, shard=1, attempt=1):
        outputs = []
        if xml is not None:
            self.files += 1
            path = os.path.join(self.folder, "%d.xml" % self.files)
            with open(path, "w") as out:
                out.write(xml)
            outputs.append({"name": "test.xml", "uri": "file://" + path})
        return json.dumps({
            "id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": attempt}},
            "testResult": {"status": status, "testActionOutput": outputs},
        })

    def test_counts_of_each_way_to_end(self):
        aborted = {"id": {"targetCompleted": {"label": "//a:b_test"}}}
        table = [
            ("a case that passed", [self.result("//a:t", "PASSED", PASSED_XML)], (1, 0, 0)),
            ("a case that failed", [self.result("//a:t", "FAILED", FAILED_XML)], (1, 1, 0)),
            ("skipped and disabled", [self.result("//a:t", "PASSED", SKIPPED_XML)], (0, 0, 2)),
            ("no report, passed", [self.result("//a:t", "PASSED")], (1, 0, 0)),
            ("no report, time out", [self.result("//a:t", "TIMEOUT")], (0, 1, 0)),
            ("crash after a pass", [self.result("//a:t", "FAILED", PASSED_XML)], (1, 1, 0)),
            ("report cut short", [self.result("//a:t", "FAILED", "<testsuites><te")], (0, 1, 0)),
            ("two shards", [
                self.result("//a:t", "PASSED", PASSED_XML, shard=1),
                self.result("//a:t", "PASSED", PASSED_XML, shard=2),
            ], (2, 0, 0)),
            ("the last attempt rules", [
                self.result("//a:t", "FAILED", FAILED_XML, attempt=1),
                self.result("//a:t", "PASSED", PASSED_XML, attempt=2),
            ], (1, 0, 0)),
            ("does not build", [
                json.dumps(dict(aborted, completed={})),
            ], (0, 1, 0)),
            ("not for this configuration", [
                json.dumps(dict(aborted, aborted={"reason": "SKIPPED"})),
            ], (0, 0, 1)),
            ("could not be analysed", [
                json.dumps(dict(aborted, aborted={"reason": "ANALYSIS_FAILURE"})),
            ], (0, 1, 0)),
            ("was not reached", [json.dumps({
                "id": {"testSummary": {"label": "//a:c_test"}},
                "testSummary": {"overallStatus": "NO_STATUS"},
            })], (0, 1, 0)),
        ]
        for what, events, want in table:
            with self.subTest(what):
                tally = test_report.tally_events(events)
                self.assertEqual((tally.passed, tally.failed, len(tally.skipped)), want)

    def test_names_what_failed_and_what_was_skipped(self):
        tally = test_report.tally_events([
            self.result("//a:t", "FAILED", FAILED_XML),
            self.result("//a:u", "PASSED", SKIPPED_XML),
        ])
        self.assertEqual(tally.broken, ["FAILED  //a:t  S.B"])
        self.assertEqual(tally.skipped, ["//a:u  S.A", "//a:u  S.D"])


class RunLinesTest(unittest.TestCase):

    def test_counts_by_the_first_word_and_fails_by_the_status(self):
        table = [
            ("echo PASS a; echo PASS b; echo chatter", (2, 0, 0)),
            ("echo FAIL a; exit 1", (0, 1, 0)),
            ("echo SKIP a: no tool", (0, 0, 1)),
            ("echo PASS a; exit 3", (1, 1, 0)),
        ]
        for script, want in table:
            with self.subTest(script):
                tally = test_report.run_lines(["bash", "-c", script], "step")
                self.assertEqual((tally.passed, tally.failed, len(tally.skipped)), want)
