#!/usr/bin/env python3
"""What a wake-up costs the kernel, and how often an idle process wakes: counts, not times.

    tools/bench/wakeups.py PLIMSOLL_BENCH [SECONDS]

Prints the futex calls for 1,000 wake-ups of goroutines (pingpong, of which an operation is two; a mutex that eight want; mpmc; the
difference of a long run and a short one, so that start and end do not count), at P = 1 and 2, by strace; and how often the threads of
a server without clients ran, and its CPU, over SECONDS (default 10) by /proc. Needs strace.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time

# Bench, and wake-ups an operation.
BENCHES = (("pingpong", 2), ("mpmc", 1), ("mutex8", 1))
SHORT, LONG = 20_000, 220_000


def futexes(bench, name, n, procs):
    """Of all threads of one run."""
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(["strace", "-f", "-c", "-e", "trace=futex", "-o", out.name, bench, name, str(n), str(procs)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for line in out:
            fields = line.split()
            if fields and fields[-1] == "futex":
                return int(fields[3])
    return 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def turns(pid):
    """How often its threads were given a CPU, and the ticks that they have had."""
    switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            switches += sum(int(n) for n in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", f.read()))
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return switches, int(fields[11]) + int(fields[12])


def idle(bench, seconds):
    server = subprocess.Popen([bench, "echo_server", str(free_port()), "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        before, ticks_before = turns(server.pid)
        time.sleep(seconds)
        after, ticks = turns(server.pid)
    finally:
        server.kill()
        server.wait()
    cpu = (ticks - ticks_before) / os.sysconf("SC_CLK_TCK")
    print(f"idle: {(after - before) / seconds:.2f} wake-ups/s, {100 * cpu / seconds:.2f} % CPU over {seconds} s")


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    bench = os.path.abspath(sys.argv[1])
    for name, wakes in BENCHES:
        for procs in (1, 2):
            calls = futexes(bench, name, LONG, procs) - futexes(bench, name, SHORT, procs)
            print(f"{name} P={procs}: {1000 * calls / ((LONG - SHORT) * wakes):.3f} futex calls for 1,000 wake-ups")
    idle(bench, float(sys.argv[2]) if len(sys.argv) == 3 else 10.0)


if __name__ == "__main__":
    main()
