"""Counts what malloc and free cost on the fast path, in instructions, loads and locked operations.

    golden_test.py STEP_TRACE LIBRARY

Each is run an instruction at a time (step_trace.c) in the optimised library; the addresses are looked
up in its disassembly. The limits are promises of the design (memory.md, "Golden count"): one
passed is a regression, and one that can be made tighter should be.
"""

import os
import re
import subprocess
import sys

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


def disassembly(library):
    """Address to instruction text, in AT&T form, where the destination is last."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line)
        if match:
            found[int(match.group(1), 16)] = re.sub(r"\s*[#<].*", "", match.group(2)).strip()
    return found


def loads(instruction):
    """Whether it reads memory other than by call, ret, push and pop."""
    instruction = re.sub(r"^(lock|rep|repz|notrack|cs|ds)\s+", "", instruction)
    parts = instruction.split(None, 1)
    name = parts[0]
    operands = re.findall(r"(?:[^,(]|\([^)]*\))+", parts[1]) if len(parts) > 1 else []
    memory = [i for i, operand in enumerate(operands)
              if "(" in operand or re.match(r"\s*%[fg]s:", operand)]
    if not memory or name.startswith(("lea", "nop", "call", "ret", "push", "pop", "prefetch")):
        return False
    # A move to memory only writes; anything else with memory as its destination reads it too.
    return not (name.startswith("mov") and memory == [len(operands) - 1])


def locked(instruction):
    """Whether it is an atomic read-modify-write; xchg with memory is one without saying so."""
    return instruction.startswith("lock") or (instruction.startswith("xchg") and "(" in instruction)


def check_the_counter():
    """The counter is only as good as its reading of an instruction."""
    for text, reads in (("mov 0x8(%rax),%rdx", True), ("mov %rdx,0x8(%rax)", False),
                        ("movb $0x0,(%rdx)", False), ("subl $0x1,0x40(%rax)", True),
                        ("cmpb $0x0,0x48(%rax,%rdx,1)", True), ("lea 0x48(%rax,%rdx,1),%rdx", False),
                        ("mov %fs:0x0,%rax", True), ("mov %fs:(%rax),%rcx", True), ("ret", False),
                        ("add 0x8(%rcx),%rax", True), ("test %rdx,%rdx", False),
                        ("movzbl (%rcx,%rax,1),%eax", True), ("lock xadd %eax,(%rdx)", True)):
        assert loads(text) == reads, text
    assert locked("lock xadd %eax,(%rdx)") and locked("xchg %rax,(%rdx)")
    assert not locked("xchg %ax,%ax") and not locked("mov %rax,(%rdx)")


def main():
    """Exit 1 when a limit is passed."""
    step_trace, library = (os.path.realpath(path) for path in sys.argv[1:3])
    check_the_counter()
    code = disassembly(library)
    with open(library, "rb") as binary:
        more = 4 if b"clang version" in binary.read() else 0
    bad = []
    for size, limits in LIMITS.items():
        traced = subprocess.run([step_trace, str(size)], env={**QUIET, "LD_PRELOAD": library}, check=True,
                                stdout=subprocess.PIPE, text=True).stdout.split()
        steps = list(zip(traced[::2], traced[1::2]))
        for call, most_instructions, most_loads in limits:
            ran = [code[int(where, 16)] for what, where in steps if what == call]
            reads = sum(map(loads, ran))
            locks = sum(map(locked, ran))
            print(f"{call}({size}): {len(ran)} instructions, {reads} loads, {locks} locked")
            if not ran or len(ran) > most_instructions + more or reads > most_loads or locks > 0:
                bad.append(f"{call}({size}): at most {most_instructions + more} instructions, {most_loads} "
                           f"loads and 0 locked are promised; it ran\n  " + "\n  ".join(ran))
    print("\n".join(bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
