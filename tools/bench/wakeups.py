#!/usr/bin/env python3
"""What a wake-up costs the kernel, and how often an idle process wakes: counts, not times.

    tools/bench/wakeups.py PLIMSOLL_BENCH [SECONDS]

Prints, at P = 1 and 2:
  the futex calls for 1,000 wake-ups of goroutines (pingpong: two an operation; chan_unbuf, mpmc), and for
  1,000 operations on a mutex that eight want; medians of five, each the difference of a long run and a
  short one, so that start and end do not count. By strace, which must be there. What sysmon asks for while a
  run lasts is among them.
  how often the threads of a server ran while nobody wanted anything of it, and its CPU, over SECONDS (default
  10), by /proc: fresh, and after 200 connections were served and closed.

Exit status 1 where an idle server wakes more than twice a second or used a hundredth of a second's CPU.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time

# Bench, and of what an operation has how many.
BENCHES = (("pingpong", 2, "wake-ups"), ("chan_unbuf", 1, "wake-ups"), ("mpmc", 1, "wake-ups"), ("mutex8", 1, "operations"))
SHORT, LONG = 20_000, 1_020_000
TIMES = 5
# An idle process may wake so often (issue 4).
MOST_WAKES_A_SECOND = 2


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


def serve(port, connections):
    """Each asks for one echo; then all are closed."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for client in clients:
        client.sendall(b"x" * 64)
    for client in clients:
        received = 0
        while received < 64:
            received += len(client.recv(64))
        client.close()


def idle(bench, procs, connections, seconds):
    """Prints what it did; whether that was little enough."""
    port = free_port()
    server = subprocess.Popen([bench, "echo_server", str(port), str(procs)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        serve(port, connections)
        time.sleep(1)
        before, ticks_before = turns(server.pid)
        time.sleep(seconds)
        after, ticks = turns(server.pid)
    finally:
        server.kill()
        server.wait()
    wakes = (after - before) / seconds
    cpu = (ticks - ticks_before) / os.sysconf("SC_CLK_TCK")
    print(f"idle P={procs}, after {connections} connections: {wakes:.2f} wake-ups/s, {100 * cpu / seconds:.2f} % CPU over {seconds} s")
    return wakes <= MOST_WAKES_A_SECOND and cpu == 0


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    bench = os.path.abspath(sys.argv[1])
    for name, each, what in BENCHES:
        for procs in (1, 2):
            calls = sorted(futexes(bench, name, LONG, procs) - futexes(bench, name, SHORT, procs) for _ in range(TIMES))
            figures = [1000 * n / ((LONG - SHORT) * each) for n in calls]
            print(f"{name} P={procs}: {figures[TIMES // 2]:.3f} futex calls for 1,000 {what} ({figures[0]:.3f} to {figures[-1]:.3f})")
    seconds = float(sys.argv[2]) if len(sys.argv) == 3 else 10.0
    quiet = [idle(bench, procs, connections, seconds) for procs in (1, 2) for connections in (0, 200)]
    sys.exit(0 if all(quiet) else 1)


if __name__ == "__main__":
    main()
