"""Prints the seeds of one fuzz target, one a line, from container layouts.

    seeds.py values|self_cgroup|mountinfo|detect|peers|libcgroup|pressure LAYOUT...
"""
import re
import sys

SEPARATOR = b"\xff"
# The first byte of an input of values_fuzz says which reader gets the rest.
READERS = {
    b"cpu.max": b"0", b"cpu.cfs_quota_us": b"1", b"cpu.cfs_period_us": b"2", b"memory.max": b"3",
    b"memory.high": b"3", b"memory.limit_in_bytes": b"3", b"pids.max": b"3", b"memory.stat": b"4",
}

# The same of pressure_fuzz.
COUNTERS = {b"cpu.stat": b"0", b"cpu.pressure": b"1", b"memory.pressure": b"1", b"memory.events": b"2"}


def unescape(text):
    """`text` with each \\xNN replaced by that byte."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text)


def entries(path):
    """(name, content) of each file of a layout."""
    found = []
    with open(path, "rb") as layout:
        for line in layout:
            if line.startswith(b"-- ") and line.endswith(b" --\n"):
                found.append([line[3:-4], b""])
            else:
                found[-1][1] += line
    for name, text in found:
        if name.endswith(b" (escaped)"):
            name = unescape(name[:-len(b" (escaped)")])
            text = unescape(text[:-1])
        if not name.endswith(b"/") and b" -> " not in name:
            yield name, text


def seeds(target, files):
    """The inputs that one layout gives to `target`."""
    by_name = dict(files)
    self_cgroup = by_name.get(b"proc/self/cgroup", b"")
    mountinfo = by_name.get(b"proc/self/mountinfo", b"")
    values = [(name.rsplit(b"/", 1)[-1], text) for name, text in files
              if name.rsplit(b"/", 1)[-1] in READERS]
    if target == "self_cgroup":
        return [self_cgroup]
    if target == "mountinfo":
        return [mountinfo]
    if target == "values":
        return [READERS[name] + text for name, text in values]
    if target in ("detect", "peers"):
        return [SEPARATOR.join([self_cgroup, mountinfo] + [text for _, text in values[:12]])]
    if target == "pressure":
        return [COUNTERS[name.rsplit(b"/", 1)[-1]] + text for name, text in files
                if name.rsplit(b"/", 1)[-1] in COUNTERS]
    controllers = [text for name, text in files if name.endswith(b"cgroup.controllers")]
    return [SEPARATOR.join([by_name.get(b"proc/cgroups", b""), by_name.get(b"proc/mounts", b"")] + controllers)]


def forged():
    """Inputs of libcgroup's guard that are larger than a search makes them: each passes one bound."""
    header, mount = b"#h\n", b"c /c cgroup2 rw 0 0\n"
    many = b"".join(b"c%d\t0\t1\t1\n" % i for i in range(70))
    options = b",".join(b"o%d" % i for i in range(70))
    return [SEPARATOR.join(pieces) for pieces in (
        [header + many, mount, b"cpu\n"],
        [header + b"c" * 1100 + b"\t0\t1\t1\n", mount, b"cpu\n"],
        [header + b"c\t0\t1\t1\n" * 10000, mount],
        [header, b"c /c cgroup rw 0 0\n" * 260],
        [header, b"c /%s cgroup rw 0 0\n" % (b"c" * 1100)],
        [header, b"c /c cgroup rw,%s 0 0\n" % (b"o" * 300)],
        [header, b"c /c cgroup %s 0 0\n" % options],
        [header, mount, b" ".join(b"c%d" % i for i in range(70)) + b"\n"],
        [header, mount, b"cpu " * 1100 + b"\n"],
    )]


def escape(data):
    """`data` as one line."""
    return "".join(chr(c) if 32 <= c < 127 and c != 92 else "\\x%02x" % c for c in data)


def main():
    """Prints each seed once."""
    lines = set()
    for path in sys.argv[2:]:
        lines.update(escape(seed) for seed in seeds(sys.argv[1], list(entries(path))))
    if sys.argv[1] == "libcgroup":
        lines.update(escape(seed) for seed in forged())
    print("\n".join(sorted(lines)))


main()
