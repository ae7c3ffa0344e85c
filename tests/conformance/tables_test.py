"""The tables of this folder are whole, and name tests that exist.

`Suite.Name` names one test; "…Name" after it another one of the same suite, "Suite…" all of a suite.
A suite of a Python test is its class. That each of Go's tests has its row is looked at where Debian's
golang-1.19-src is installed.
"""

import glob
import os
import re
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GO = "/usr/share/go-1.19"

# The rules of the design that channels, select, sync, context, time and panics keep.
RULES = ([f"C{i}" for i in range(1, 15)] + [f"S{i}" for i in range(1, 13)] +
         [f"X{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 6)] + ["P13", "P15", "P17"])

# Where they are listed, and the sections of these files -> the files of Go whose tests it lists one by one.
GO_TABLES = ("go_tests.md", "go_proc_tests.md", "go_gc_tests.md")
LISTED = {
    "test/chan": "test/chan/*.go",
    "src/runtime/chan_test.go": "src/runtime/chan_test.go",
    "src/sync": "src/sync/*_test.go",
    "src/context": "src/context/*_test.go",
    "src/time": "src/time/*_test.go",
    "src/runtime/mfinal_test.go": "src/runtime/mfinal_test.go",
    "test, finalizers": "test/*fin*.go",
    "src/runtime/proc_test.go": "src/runtime/proc_test.go",
    "src/runtime/gc_test.go": "src/runtime/gc_test.go",
    "src/runtime/malloc_test.go, mgcpacer_test.go, mgclimit_test.go":
        "src/runtime/m[ag][lc][lp]*_test.go",
}
# Of those, what a row names as a whole.
BY_FILE = {
    "src/time": ("time_test.go", "internal_test.go", "mono_test.go", "format_test.go",
                 "zoneinfo_", "tzdata_test.go"),
}

# Where misuse is told of: what these say has its row in misuse.md.
MISUSE_SOURCES = ("runtime/chan/*", "runtime/context/*", "runtime/panic/*", "runtime/sync/*",
                  "runtime/time/*", "runtime/*")


def tests_in(text):
    return set(re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", text, re.M))


def python_tests_in(text):
    found = set()
    suite = None
    for line in text.splitlines():
        start = re.match(r"class (\w+)", line)
        case = re.match(r"    def (test_\w+)", line)
        if start:
            suite = start[1]
        elif case:
            found.add((suite, case[1]))
    return found


def names_in(line):
    """The (suite, test) pairs that a line of a table names; test is None for a whole suite."""
    suite = None
    for text in re.findall(r"`([^`]+)`", line):
        one = re.fullmatch(r"(\w+(?:Test|Model))\.(\w+)", text)
        same = re.fullmatch(r"…(\w+)", text)
        whole = re.fullmatch(r"(\w+Test)…", text)
        if whole:
            yield whole[1], None
        elif one:
            suite = one[1]
            yield suite, one[2]
        elif same:
            yield suite, same[1]


def missing(table, tests):
    suites = {suite for suite, _ in tests}
    return [name for line in table.splitlines() for name in names_in(line)
            if not (name in tests or name[1] is None and name[0] in suites)]


def rows_of(table):
    """The cells of each row of a Markdown table, headings and rules left out."""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) > 1 and cells[0] not in ("Go", "rule"):
            yield cells


def rules_without_a_test(table, rules):
    proved = {cells[0].split()[0] for cells in rows_of(table) if any(names_in(cells[1]))}
    return [rule for rule in rules if rule not in proved]


def sections_of(text):
    """Heading -> text, of the second level; what a heading has in brackets is left out."""
    return {re.sub(r"\s*\(.*", "", heading).strip(): body
            for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.M | re.S)}


def go_tests_in(name, text):
    """What one of Go's files has to be listed by."""
    if not name.endswith("_test.go"):
        return {name}
    # context's XTestName is TestName, called from a package beside.
    return set(re.findall(r"^func X?(Test\w+)\(t \*?\w", text, re.M))


def unlisted(section, tests):
    listed = set()
    for cells in rows_of(section):
        listed |= {name.strip() for name in cells[0].split(",")}
    return sorted(tests - listed), sorted(
        cells[0] for cells in rows_of(section)
        if not any(names_in(cells[1])) and "left out" not in cells[1])


def texts_told(source):
    """(text, kind) of each misuse that a source of the product tells of."""
    found = re.findall(r'\b(ThrowPanic|FatalAt)\(\s*(?:where,\s*)?"((?:[^"\\]|\\.)*)"', source)
    return {(text, "recoverable" if how == "ThrowPanic" else "fatal") for how, text in found}


def misuses_in(source):
    """(what, text, kind) of each case in the tables of misuse_test.cc."""
    found = set()
    for kind, body in re.findall(r"\bk(Recoverable|Fatal)\[\] = \{\n(.*?)^\};", source, re.M | re.S):
        found |= {(what, text, kind.lower())
                  for what, text in re.findall(r'^    \{"([^"]+)",\s*"([^"]+)",', body, re.M)}
    return found


def misuse_rows(table):
    """(what, text, kind, names) of each row of misuse.md."""
    return [(cells[0], cells[1].strip("`"), cells[2], list(names_in(cells[3])))
            for cells in rows_of(table) if len(cells) == 4 and cells[0] != "misuse"]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


class TablesTest(unittest.TestCase):

    def test_every_test_that_a_table_names_exists(self):
        tests = set()
        for top in ("alloc", "runtime", "tests"):
            for path in glob.glob(os.path.join(ROOT, top, "**", "*_test.cc"), recursive=True):
                tests |= tests_in(read(path))
            for path in glob.glob(os.path.join(ROOT, top, "**", "*_test.py"), recursive=True):
                tests |= python_tests_in(read(path))
        tests |= tests_in(read(os.path.join(ROOT, "tests", "container", "wall_clock.cc")))
        self.assertGreater(len(tests), 100)
        for name in ("README.md", "misuse.md") + GO_TABLES:
            table = read(os.path.join(HERE, name))
            self.assertGreater(sum(1 for line in table.splitlines() for _ in names_in(line)), 30, name)
            self.assertEqual(missing(table, tests), [], name)

    def test_every_rule_has_its_row_and_a_test(self):
        self.assertEqual(rules_without_a_test(read(os.path.join(HERE, "README.md")), RULES), [])

    def test_every_misuse_has_its_row_and_a_test_that_asserts_its_text(self):
        rows = misuse_rows(read(os.path.join(HERE, "misuse.md")))
        self.assertGreater(len(rows), 40)
        told = set()
        for pattern in MISUSE_SOURCES:
            for path in glob.glob(os.path.join(ROOT, pattern)):
                if path.endswith((".h", ".cc")) and not path.endswith("_test.cc"):
                    told |= texts_told(read(path))
        self.assertGreater(len(told), 10)
        self.assertEqual(told - {(text, kind) for _, text, kind, _ in rows}, set())

        cases = misuses_in(read(os.path.join(HERE, "misuse_test.cc")))
        by_case = {row[:3] for row in rows if row[3][0][0].startswith("Misuse")}
        self.assertEqual(by_case, cases)

        tests = {}  # suite -> the sources that have tests of it
        for top in ("runtime", "tests"):
            for path in glob.glob(os.path.join(ROOT, top, "**", "*_test.cc"), recursive=True):
                source = read(path)
                for suite, _ in tests_in(source):
                    tests[suite] = tests.get(suite, "") + source
        for what, text, kind, names in rows:
            self.assertIn(kind, ("recoverable", "fatal"), what)
            self.assertTrue(names, what)
            for suite, _ in names:
                self.assertIn(text, tests[suite], what)

    def test_every_test_of_gos_has_its_row(self):
        if not os.path.isdir(os.path.join(GO, "src")):
            self.skipTest("golang-1.19-src is not installed")
        sections = {}
        for name in GO_TABLES:
            sections.update(sections_of(read(os.path.join(HERE, name))))
        for heading, pattern in LISTED.items():
            tests = set()
            for path in glob.glob(os.path.join(GO, pattern)):
                name = os.path.basename(path)
                if not name.startswith(BY_FILE.get(heading, ("-",))):
                    tests |= go_tests_in(name, read(path))
            self.assertGreater(len(tests), 3, heading)
            self.assertEqual(unlisted(sections[heading], tests), ([], []), heading)

    def test_what_a_table_lacks_is_found(self):
        table = "| rule | test |\n|---|---|\n| C1 nil | `AbcTest.One` |\n| C2 x | the tests |\n"
        self.assertEqual(rules_without_a_test(table, ["C1", "C2", "C3"]), ["C2", "C3"])
        text = "# Go\n## src/a (some)\n| Go | ours |\n|---|---|\n| TestA, TestB | `AbcTest.One` |\n" \
               "| TestC | somewhere |\n| TestD | left out: no |\n## src/b\n| TestE | left out |\n"
        self.assertEqual(sorted(sections_of(text)), ["src/a", "src/b"])
        self.assertEqual(unlisted(sections_of(text)["src/a"], {"TestA", "TestD", "TestE"}),
                         (["TestE"], ["TestC"]))
        self.assertEqual(go_tests_in("x_test.go", "func TestA(t *testing.T) {\nfunc XTestB(t T) {\n"
                                     "func TestMain(m *testing.M) {\nfunc Testing() {\n"),
                         {"TestA", "TestB"})
        self.assertEqual(go_tests_in("fifo.go", ""), {"fifo.go"})

    def test_a_misuse_that_has_no_row_is_found(self):
        self.assertEqual(
            texts_told('ThrowPanic("a b", where);\n base::FatalAt(where, "c: d");\n'
                       'internal::ThrowPanic(\n    "e", w);\nbase::Fatal("not f");\nThrowPanic(text, w);'),
            {("a b", "recoverable"), ("c: d", "fatal"), ("e", "recoverable")})
        self.assertEqual(
            misuses_in('constexpr Misuse kRecoverable[] = {\n    {"w", "a b",\n     [] {}},\n'
                       '    {"x",\n     "e", f},\n};\nconstexpr Misuse kFatal[] = {\n    {"y", "c: d", g},\n};\n'),
            {("w", "a b", "recoverable"), ("x", "e", "recoverable"), ("y", "c: d", "fatal")})
        self.assertEqual(
            misuse_rows("| misuse | text | Go's is | test |\n|---|---|---|---|\n"
                        "| w | `a b` | recoverable | `AbcTest.One` |\n"),
            [("w", "a b", "recoverable", [("AbcTest", "One")])])

    def test_a_name_that_is_not_there_is_found(self):
        tests = tests_in("TEST(AbcTest, One) {\nTEST_P(AbcTest, Two) {\n")
        self.assertEqual(missing("| x | `AbcTest.One`, `…Two` `AbcTest…` |", tests), [])
        self.assertEqual(missing("| x | `AbcTest.One`, `…Three` |", tests), [("AbcTest", "Three")])
        self.assertEqual(missing("| `AbdTest.One` | `…One` |", tests), [("AbdTest", "One")] * 2)
        self.assertEqual(missing("| `AbdTest…` |", tests), [("AbdTest", None)])
        python = python_tests_in("class AbeTest(x):\n    def test_it(self):\n    def help(self):\n")
        self.assertEqual(python, {("AbeTest", "test_it")})
        self.assertEqual(missing("| `AbeTest.test_it` `AbfModel.X` |", python), [("AbfModel", "X")])


if __name__ == "__main__":
    unittest.main()
