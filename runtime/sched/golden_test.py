"""Counts what a goroutine does most, in instructions, loads and locked operations.

    golden_test.py GOLDEN_STEPS [--print]

GOLDEN_STEPS runs each an instruction at a time (golden_steps.cc) as the optimised build makes it; here
the addresses are looked up in its disassembly. The counts are exact: one compiler makes one program. They
stand in golden_COMPILER.txt, function by function, so that what moved is seen; a count that fell is to be
written down too, else the next regression hides below it. A compiler without a file, which CI does not
ask, may pass the counts of g++ 12 by a tenth: it inlines and allocates registers otherwise (clang 19: up
to 5 % more), and for it this is only a guard against what would double a path.
"""

import collections
import difflib
import os
import re
import subprocess
import sys

import instructions  # of tests/testing

HERE = os.path.dirname(os.path.abspath(__file__))
# What CI compiles with, and users of Debian 12.
FALLBACK = "gcc 12"
SLACK = 1.1

# What is measured, and how it is told of.
MEASURED = {
    "switch": "the registers and the stack alone, within a Yield",
    "two_yields": "a Yield from one goroutine to another and back",
    "two_parks_and_readies": "a Ready and a Park, from one goroutine to another and back",
    "spawn": "Go, beside others that wait to run",
    "spawn_yield_and_end": "Go, a Yield to it, its end",
    "blocking_call": "a BlockingCall that keeps its P",
}
# The one function that a goroutine is left in; a yield has one.
SWITCH = "plimsoll_switch"
Count = collections.namedtuple("Count", "instructions loads locked")


def total(counts):
    """Of all functions."""
    return Count(*map(sum, zip(*counts.values())))


def runs_of(golden_steps):
    """For each of MEASURED, what each run of it executed: (function, instruction), without the caller's own."""
    code = instructions.disassembly(golden_steps)
    what = None
    switch = next(where for where, (function, _) in sorted(code.items()) if function == SWITCH)
    runs, run, moved = collections.defaultdict(list), [], None
    out = subprocess.run([golden_steps], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        if line == "=":
            runs[what].append(run)
            run = []
            continue
        what, address = line.split()
        if moved is None:
            assert what == SWITCH, line
            moved = int(address, 16) - switch
            continue
        # Something else's, the C library's, would be news: nothing of it belongs there.
        step = code.get(int(address, 16) - moved, ("outside of the program", "?"))
        if "::golden::" not in step[0]:
            run.append(step)
    return runs


def short(function):
    """Its name, without "plimsoll::", a type returned, parameters and template arguments."""
    function = function.replace("(anonymous namespace)::", "")
    while (bare := re.sub(r"<[^<>]*>|\([^()]*\)", "", function)) != function:
        function = bare
    return function.split(" ")[-1].removeprefix("plimsoll::").removeprefix("sched::")


def count(run):
    """Count by function."""
    counts = {}
    for function, instruction in run:
        function = short(function)
        was = counts.get(function, Count(0, 0, 0))
        counts[function] = Count(was.instructions + 1, was.loads + instructions.loads(instruction),
                                 was.locked + instructions.locked(instruction))
    return counts


def usual(runs):
    """The counts that most of the runs have: one spawn in 16 fetches a batch of numbers."""
    texts = collections.Counter(repr(sorted(count(run).items())) for run in runs)
    text, times = texts.most_common(1)[0]
    assert times > len(runs) / 2, f"no usual run: {texts}"
    return next(c for c in map(count, runs) if repr(sorted(c.items())) == text)


def table(found, compiler):
    """What golden_COMPILER.txt holds."""
    lines = [f"# Instructions, loads and locked operations; {compiler}, the optimised build. Made by golden_test.py --print.",
             "# A run of two_… is two of them. Below each, where its instructions are."]
    for what, counts in found.items():
        lines.append(("%-36s %5d %5d %3d" % (what, *total(counts))))
        for function, c in sorted(counts.items(), key=lambda item: (-item[1].instructions, item[0])):
            lines.append("  %-34s %5d %5d %3d" % (function, *c))
    return "\n".join(lines) + "\n"


def totals_of(text):
    """What a table says of each of MEASURED."""
    found = {}
    for line in text.splitlines():
        if not line.startswith(("#", " ")):
            what, *numbers = line.split()
            found[what] = Count(*map(int, numbers))
    return found


def complaint(golden, new, compiler, exact):
    """What is wrong; empty: nothing."""
    if exact and golden == new:
        return ""
    was, now = totals_of(golden), totals_of(new)
    moved = [what for what in MEASURED if (was.get(what) != now[what] if exact else
                                           any(n > o * SLACK for o, n in zip(was[what], now[what])))]
    if not exact and not moved:
        return ""
    lines = []
    for what in moved:
        o, n = was.get(what, Count(0, 0, 0)), now[what]
        verdict = "MORE" if n > o else "fewer"
        lines.append(f"{what} ({MEASURED[what]}): {n.instructions} instructions, {n.loads} loads, {n.locked} locked; "
                     f"golden: {o.instructions}, {o.loads}, {o.locked}: {verdict}")
    name = f"runtime/sched/golden_{(compiler if exact else FALLBACK).replace(' ', '')}.txt"
    lines.append(f"\nBy function, {name} and now:")
    lines += difflib.unified_diff(golden.splitlines(), new.splitlines(), "golden", "now", n=0, lineterm="")
    lines.append(f"""
More: every goroutine of every program pays it. See whether the new test can share one that is there
(runtime/sched/DESIGN.md, "Tracing"), or go where the path is rare. Fewer: well done, keep it.
Where the new count is to stand, write it down, here and in DESIGN.md ("What a switch costs"):
  bazel build //runtime/sched:golden_steps_optimized
  PYTHONPATH=tests/testing python3 runtime/sched/golden_test.py .bazel/bin/runtime/sched/golden_steps_optimized \\
      --print > {name}""")
    return "\n".join(lines)


def check_the_complaint():
    """That a few instructions more, or fewer, do not pass."""
    def made(more=0, locked=0):
        return table({what: {"f": Count(200 + more, 40, 2 + locked)} for what in MEASURED}, "gcc 12")
    assert complaint(made(), made(), "gcc 12", exact=True) == ""
    for other in (made(more=2), made(more=-1), made(locked=1)):
        assert "--print >" in complaint(made(), other, "gcc 12", exact=True)
    assert complaint(made(), made(more=20), "gcc 13", exact=False) == ""
    assert "MORE" in complaint(made(), made(more=21), "gcc 13", exact=False)
    assert "MORE" in complaint(made(), made(locked=1), "gcc 13", exact=False)


def main():
    """Exit 1 where the counts are not the golden ones."""
    golden_steps = os.path.realpath(sys.argv[1])
    compiler = instructions.compiler(golden_steps)
    found = {what: usual(runs) for what, runs in runs_of(golden_steps).items()}
    two = found["two_yields"][SWITCH]
    assert two.instructions % 2 == 0, two
    new = table({"switch": {SWITCH: Count(*(n // 2 for n in two))}, **found}, compiler)
    if sys.argv[2:] == ["--print"]:
        sys.stdout.write(new)
        return
    check_the_complaint()
    exact = os.path.exists(os.path.join(HERE, f"golden_{compiler.replace(' ', '')}.txt"))
    with open(os.path.join(HERE, f"golden_{(compiler if exact else FALLBACK).replace(' ', '')}.txt"), encoding="utf-8") as file:
        golden = file.read()
    wrong = complaint(golden, new, compiler, exact)
    print(wrong or new)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
