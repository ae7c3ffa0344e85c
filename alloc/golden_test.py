"""Counts what malloc and free cost on the fast path, in instructions, loads and locked operations.

    golden_test.py STEP_TRACE LIBRARY

Each is run an instruction at a time (step_trace.c) in the optimised library; the addresses are looked
up in its disassembly. The limits are promises of the design (memory.md, "Golden count"): one
passed is a regression, and one that can be made tighter should be.
"""

import os
import subprocess
import sys

import instructions  # of tests/testing

# (call, most instructions as g++ makes them, most loads), for each size. With the loads of the
# thread's word: two. Clang takes a few instructions more, and no more loads.
LIMITS = {
    16: [("malloc", 20, 6), ("free", 35, 8)],
    64: [("malloc", 20, 6), ("free", 35, 8)],
    256: [("malloc", 26, 8), ("free", 35, 8)],
    4096: [("malloc", 30, 8), ("free", 35, 8)],
}

# One allocation in some hundreds is a sample, which takes the slow path; chance has no place here.
QUIET = {"PLIMSOLL_DEBUG": "heapsample=0"}


def main():
    """Exit 1 when a limit is passed."""
    step_trace, library = (os.path.realpath(path) for path in sys.argv[1:3])
    code = {where: instruction for where, (_, instruction) in instructions.disassembly(library).items()}
    more = 4 if instructions.compiler(library).startswith("clang") else 0
    bad = []
    for size, limits in LIMITS.items():
        traced = subprocess.run([step_trace, str(size)], env={**QUIET, "LD_PRELOAD": library}, check=True,
                                stdout=subprocess.PIPE, text=True).stdout.split()
        steps = list(zip(traced[::2], traced[1::2]))
        for call, most_instructions, most_loads in limits:
            ran = [code[int(where, 16)] for what, where in steps if what == call]
            reads = sum(map(instructions.loads, ran))
            locks = sum(map(instructions.locked, ran))
            print(f"{call}({size}): {len(ran)} instructions, {reads} loads, {locks} locked")
            if not ran or len(ran) > most_instructions + more or reads > most_loads or locks > 0:
                bad.append(f"{call}({size}): at most {most_instructions + more} instructions, {most_loads} "
                           f"loads and 0 locked are promised; it ran\n  " + "\n  ".join(ran))
    print("\n".join(bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
