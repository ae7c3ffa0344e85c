#!/usr/bin/env python3
"""What a hundred Channel<T> cost: bytes of code and seconds of compiling, for each kind of element.

    tools/bench/instantiations.py [N]

Compiles one file with N element types (default 100), each sent, received, tried and selected once in a function of its own, and one
with a single type, by g++ -O2 -c; prints the difference for each further type. Needs the packages that the build needs.
"""

import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

KINDS = {
    "bytes (a struct of 16)": "struct T{i} {{ long a[2]; }};",
    "boxed (a std::string)": "struct T{i} {{ std::string a; }};",
}
USES = {
    "Send, Recv": "void F{i}(Channel<T{i}>& c) {{ c.Send(T{i}()); (void)c.Recv(); }}",
    "and TrySend, TryRecv, Close": """void F{i}(Channel<T{i}>& c) {{
  c.Send(T{i}()); (void)c.Recv(); T{i} v{{}}; (void)c.TrySend(v); (void)c.TryRecv(); c.Close();
}}""",
    "Select of 2": "void F{i}(Channel<T{i}>& c) {{ Select(OnRecv(c), OnSend(c, T{i}())); }}",
}


def measure(folder, kind, use, n):
    source = os.path.join(folder, "many.cc")
    with open(source, "w", encoding="utf-8") as f:
        f.write('#include <string>\n#include "plimsoll/runtime/chan/channel.h"\n'
                '#include "plimsoll/runtime/chan/select.h"\nnamespace plimsoll {\n')
        for i in range(n):
            f.write(kind.format(i=i) + "\n" + use.format(i=i) + "\n")
        f.write("}\n")
    out = os.path.join(folder, "many.o")
    before = os.times()
    subprocess.run(["g++", "-std=c++20", "-O2", "-DNDEBUG", "-ftls-model=initial-exec", "-I", folder,
                    "-c", source, "-o", out], check=True)
    after = os.times()
    sizes = subprocess.run(["size", "-A", out], check=True, capture_output=True, text=True).stdout
    text = sum(int(line.split()[1]) for line in sizes.splitlines()
               if line.startswith((".text", ".rodata", ".gcc_except", ".eh_frame", ".data.rel.ro")))
    return text, (after.children_user - before.children_user)


def main():
    if any(arg in ("-h", "--help") for arg in sys.argv[1:]):
        print(__doc__)
        return
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT, os.path.join(folder, "plimsoll"))
        print(f"| elements | use | bytes a type | compile ms a type (CPU) | all {n} |\n|---|---|---|---|---|")
        for kind_name, kind in KINDS.items():
            for use_name, use in USES.items():
                one, one_s = measure(folder, kind, use, 1)
                many, many_s = measure(folder, kind, use, n)
                print(f"| {kind_name} | {use_name} | {(many - one) / (n - 1):.0f} | "
                      f"{(many_s - one_s) / (n - 1) * 1000:.1f} | {many} bytes, {many_s:.1f} s |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
