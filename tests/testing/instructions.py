"""What x86-64 instructions do, read from a disassembly: for tests that count them."""

import re
import subprocess


def disassembly(binary):
    """Address to (function, instruction text in AT&T form, where the destination is last)."""
    text = subprocess.run(["objdump", "-dC", "--no-show-raw-insn", binary], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found, function = {}, ""
    for line in text.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = match.group(1)
        elif match := re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line):
            instruction = re.sub(r"\s*[#<].*", "", match.group(2)).strip()
            found[int(match.group(1), 16)] = (function, instruction)
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


def compiler(binary):
    """"clang 19", "gcc 12": what made it; the C library's own pieces are always gcc's."""
    with open(binary, "rb") as file:
        content = file.read()
    for name, pattern in (("clang", rb"clang version (\d+)\."), ("gcc", rb"GCC: \([^)]*\) (\d+)\.")):
        if match := re.search(pattern, content):
            return f"{name} {match.group(1).decode()}"
    return "unknown"
