"""Every link in every Markdown file leads somewhere: to a file here, or to a heading of it."""

import os
import re
import unittest

import nested_bazel

ROOT = nested_bazel.ROOT
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def without_code(text):
    """The text with code blocks and code spans blanked out: what they hold is no link."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """The anchors that a renderer makes of the headings."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    found = set()
    for heading in re.findall(r"^#+\s+(.*?)\s*#*$", text, flags=re.M):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


def broken(path, text, read):
    """The links of `text`, the file at `path` from the root, that lead nowhere.

    `read(path)` is a file's text, "" for a folder, None where there is nothing.
    """
    wrong = []
    for target in _LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue  # another site; a test does not ask the network
        file, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        content = text if not file else read(there)
        if content is None:
            wrong.append("%s: %s does not exist" % (path, target))
        elif anchor and anchor not in anchors(content):
            wrong.append("%s: %s has no such heading" % (path, target))
    return wrong


def read_file(path):
    path = os.path.join(ROOT, path)
    if os.path.isdir(path):
        return ""
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def markdown_files():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "bazel-")))
        for name in sorted(files):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


class BrokenTest(unittest.TestCase):

    def test_says_which_link_leads_nowhere(self):
        files = {"a/b.md": "# The plan, twice\n", "c": "", "a/c.md": ""}
        table = [
            ("[x](b.md)", 0), ("[x](b.md#the-plan-twice)", 0), ("[x](../c)", 0), ("[x](#here)", 0),
            ("[x](https://example.org/nothing)", 0), ("`[x](gone.md)`", 0),
            ("```\n[x](gone.md)\n```", 0),
            ("[x](gone.md)", 1), ("[x](b.md#other)", 1), ("[x](#there) [y](../a)", 2),
        ]
        for text, want in table:
            with self.subTest(text):
                got = broken("a/x.md", "# Here\n" + text, files.get)
                self.assertEqual(len(got), want, got)


class MarkdownTest(unittest.TestCase):

    def test_every_link_leads_somewhere(self):
        files = list(markdown_files())
        self.assertIn("STYLE.md", files)
        wrong = []
        for path in files:
            wrong += broken(path, read_file(path), read_file)
        self.assertEqual(wrong, [])
