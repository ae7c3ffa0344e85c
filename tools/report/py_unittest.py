#!/usr/bin/env python3
"""Runs the unittest file named by the first argument and writes the test.xml that Bazel asks for.

Debian's Bazel has no Python rules of its own, and a plain script would be one case, never skipped.
The file's own folder is on the module path; what follows the file name is its sys.argv[1:].
"""

import importlib.util
import os
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree


class Recorder(unittest.TextTestResult):
    """Keeps one (id, seconds, kind, text) per case; a case with subtests is one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = {}

    def startTest(self, test):
        super().startTest(test)
        self.cases[test.id()] = [time.monotonic(), None, ""]

    def stopTest(self, test):
        super().stopTest(test)
        case = self.cases[test.id()]
        case[0] = time.monotonic() - case[0]

    def _note(self, test, kind, text):
        # A failure in setUpClass has an id that was never started.
        self.cases.setdefault(test.id(), [0, None, ""])[1:] = [kind, text]

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failure", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "error", self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failure", "%s: %s" % (subtest, err[1]))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)


def write_xml(path, cases):
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", name="unittest", tests=str(len(cases)))
    for ident, (seconds, kind, text) in cases.items():
        class_name, _, name = ident.rpartition(".")
        case = ElementTree.SubElement(
            suite, "testcase", name=name, classname=class_name, time="%.3f" % seconds)
        if kind:
            ElementTree.SubElement(case, kind, message=text)
    ElementTree.ElementTree(root).write(path)


def main():
    path = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-len(".py")], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(suite)
    if os.environ.get("XML_OUTPUT_FILE"):
        write_xml(os.environ["XML_OUTPUT_FILE"], result.cases)
    # A file without a single case proves nothing.
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
