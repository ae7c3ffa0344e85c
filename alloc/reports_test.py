"""What the heap tells of itself can be read by readers that know nothing of it: of JSON, XML, gzip and protobuf, by
`go tool pprof` and by `pprof`.

    reports_test.py LIBRARY PRELOADED

Runs `preloaded reports` on the library: 100,000 objects of 600 bytes and one of 3 MiB, all of them live at the end.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

LIBRARY, PRELOADED = (os.path.realpath(path) for path in sys.argv[1:3])
OBJECTS, BYTES, CLASS, LARGE = 100_000, 600, 640, 3 << 20
LIVE = OBJECTS * BYTES + LARGE
PERIOD = 64 << 10  # some 900 samples: a sum that is a quarter off has a chance of one in 10^12


def varints(data):
    """The numbers of a packed field."""
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def fields(data):
    """(number, value) of each field of a protobuf message: an int, or the bytes of what has a length."""
    at = 0

    def varint():
        nonlocal at
        begin = at
        while data[at] >= 128:
            at += 1
        at += 1
        return next(varints(data[begin:at]))

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            length = varint()
            if at + length > len(data):
                raise ValueError(f"field {key >> 3} goes beyond the end")
            yield key >> 3, data[at:at + length]
            at += length
        else:
            raise ValueError(f"wire type {key & 7}")


def one(message, wanted):
    """The field's value, 0 where it is left out."""
    return next((value for number, value in fields(message) if number == wanted), 0)


def numbers(message, wanted):
    """A repeated number, packed or not."""
    found = []
    for number, value in fields(message):
        if number == wanted:
            found += varints(value) if isinstance(value, bytes) else [value]
    return found


class ReportsTest(unittest.TestCase):
    """One run of the program, and each of its reports."""

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.work.cleanup)
        cls.picture, cls.profile = (os.path.join(cls.work.name, name) for name in ("heap.svg", "heap.pb.gz"))
        ran = subprocess.run([PRELOADED, "reports"], check=True, stdout=subprocess.PIPE, text=True,
                             env={"LD_PRELOAD": LIBRARY, "PLIMSOLL_HEAP_PICTURE": cls.picture,
                                  "PLIMSOLL_HEAP_PROFILE": cls.profile, "PLIMSOLL_DEBUG": f"heapsample={PERIOD}"})
        cls.info = json.loads(ran.stdout)

    def test_malloc_info_is_json_whose_numbers_add_up(self):
        """As alloc/stats.h names things."""
        info = self.info
        by_size = {c["size"]: c for c in info["classes"]}
        self.assertGreaterEqual(by_size[CLASS]["objects"], OBJECTS * 0.98)  # the others are samples
        for c in info["classes"]:
            with self.subTest(size=c["size"]):
                self.assertLessEqual(c["objects"], c["capacity"])
                self.assertEqual(c["unused_bytes"], (c["capacity"] - c["objects"]) * c["size"])
        live = sum(c["objects"] * c["size"] for c in info["classes"]) + info["large_bytes"]
        self.assertEqual(info["live_bytes"], live)
        self.assertGreaterEqual(info["large_bytes"], LARGE)
        self.assertEqual(info["span_bytes"] + info["idle_bytes"] + info["released_bytes"], info["mapped_bytes"])
        self.assertEqual(info["fragmentation_permille"],
                         (info["span_bytes"] - info["live_bytes"]) * 1000 // info["span_bytes"])
        self.assertIsNone(info["limit_bytes"])

    def test_the_picture_is_svg_with_a_cell_for_each_page(self):
        """Cells within the picture, as many as there are pages."""
        root = xml.etree.ElementTree.parse(self.picture).getroot()
        svg = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.tag, svg + "svg")
        rects = list(root.iter(svg + "rect"))
        regions = sum(r.get("fill") == "none" for r in rects)
        self.assertEqual(regions, self.info["mapped_bytes"] >> 26)
        said = [t.text for t in root.iter(svg + "text")]
        for name in (f"{CLASS} B", "large", "idle", "released", "guarded"):
            self.assertIn(name, said)
        cells = [r for r in rects if r.get("height") == "4"]
        for r in cells:
            self.assertLessEqual(int(r.get("x")) + int(r.get("width")), int(root.get("width")))
            self.assertLessEqual(int(r.get("y")) + 4, int(root.get("height")))
        self.assertEqual(sum(int(r.get("width")) // 4 for r in cells), self.info["mapped_bytes"] >> 13)
        large = sum(int(r.get("width")) // 4 for r in cells if r.get("fill") == "#555b66")
        self.assertGreaterEqual(large, LARGE >> 13)

    def test_the_profile_is_one_as_its_proto_says(self):
        """pprof's profile.proto: Profile 1 to 6, ValueType, Sample, Mapping, Location, Function, Line."""
        with open(self.profile, "rb") as file:
            message = list(fields(gzip.decompress(file.read())))
        strings = [value.decode() for number, value in message if number == 6]
        self.assertEqual(strings[0], "")
        types = [(strings[one(v, 1)], strings[one(v, 2)]) for n, v in message if n == 1]
        self.assertEqual(types, [("inuse_objects", "count"), ("inuse_space", "bytes")])
        mappings = {one(v, 1) for n, v in message if n == 3}
        locations = {one(v, 1): v for n, v in message if n == 4}
        functions = {one(v, 1): strings[one(v, 2)] for n, v in message if n == 5}
        kept = 0
        for sample in (v for n, v in message if n == 2):
            objects, space = numbers(sample, 2)
            self.assertGreater(objects, 0)
            self.assertGreaterEqual(space, objects)
            callers = []
            for where in numbers(sample, 1):
                self.assertIn(one(locations[where], 2), mappings | {0})
                callers += [functions[one(line, 1)] for n, line in fields(locations[where]) if n == 4]
            if any("Keep" in caller for caller in callers):
                kept += space
        self.assertAlmostEqual(kept, LIVE, delta=LIVE / 4)

    def read_by(self, *reader):
        """The MiB that a reader shows for Keep itself: the heap's own frames below it are left out."""
        said = subprocess.run([*reader, "-top", "-unit=mb", self.profile], check=False,
                              env={"PATH": os.environ["PATH"], "HOME": self.work.name, "PPROF_TMPDIR": self.work.name},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(said.returncode, 0, said.stdout)
        row = re.search(r"^ *([\d.]+)(?:MB)? .*Keep$", said.stdout, re.MULTILINE)
        self.assertIsNotNone(row, said.stdout)
        print(said.stdout)
        return float(row.group(1))

    @unittest.skipUnless(shutil.which("go"), "go is not installed")
    def test_go_tool_pprof_opens_the_profile(self):
        self.assertAlmostEqual(self.read_by("go", "tool", "pprof"), LIVE / (1 << 20), delta=LIVE / (4 << 20))

    @unittest.skipUnless(shutil.which("pprof"), "pprof (github.com/google/pprof) is not installed")
    def test_pprof_opens_the_profile(self):
        self.assertAlmostEqual(self.read_by("pprof"), LIVE / (1 << 20), delta=LIVE / (4 << 20))
