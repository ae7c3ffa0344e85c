#!/usr/bin/env python3
"""Draws how long the collector's pauses last, as histograms: the time to stop, and the time stopped.

    tools/bench/gc_pauses.py [--quota=CPUS] OUT.svg [MIB [GOROUTINES [SECONDS]]]

of bazel build --config=opt //tools/bench:gc_pauses; 1024 MiB live, 100,000 goroutines that wait and
60 s where nothing else is said. GOMAXPROCS says on how many Ps. Prints p50, p99 and the longest.

The time stopped is that of the first pause of a cycle, which scans stacks, and of the last, each by
itself. What the thread that stopped the world was runnable and on no CPU is told apart: that is the
work of others on the machine, and where there is a quota, throttling.

With a quota it runs in runc, and what the kernel throttled that thread is taken off: by how much the
cgroup's throttled time grew between the two ends of the pause. The kernel adds to it before anything
that was throttled runs again, so a pause that holds a throttling is never counted without it. It is
the sum over the CPUs; no more is taken off than the thread was off its CPU (gc_pauses.cc). The time
to stop is shown as it is: another thread that is to stop may be the one that is throttled.
"""

import contextlib
import math
import os
import subprocess
import sys

sys.path.insert(0, "tools/image")  # the containers
import bundle  # noqa: E402
import container  # noqa: E402

PROGRAM = ".bazel/bin/tools/bench/gc_pauses"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 260, 56, 34, 20, 44
FIRST, LAST, BY_DECADE = 1.0, 1e6, 5  # us: from 1 us to 1 s, so many bars for each tenfold
BARS = round(math.log10(LAST / FIRST) * BY_DECADE)


def bar_of(us):
    """The bar that a pause counts in; what is beyond either end counts in the last there is."""
    return min(BARS - 1, max(0, math.floor(math.log10(max(us, FIRST) / FIRST) * BY_DECADE)))


def part(values, share):
    """The value that `share` of them do not exceed."""
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * share) - 1)]


def figures(values):
    return f"p50 {part(values, .5):.0f} us, p99 {part(values, .99):.0f} us, longest {max(values):.0f} us"


def histogram(name, colour, values, top):
    """The lines of one histogram, `top` below the picture's upper edge."""
    counts = [0] * BARS
    for us in values:
        counts[bar_of(us)] += 1
    most = max(counts)
    wide = (WIDTH - LEFT - RIGHT) / BARS
    floor = top + HEIGHT - BOTTOM
    out = [f'<text x="{LEFT}" y="{top + 20}">{name}: {len(values)} pauses, {figures(values)}</text>',
           f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" stroke="#888"/>',
           f'<text x="{LEFT - 6}" y="{top + TOP + 10}" text-anchor="end">{most}</text>']
    for i, count in enumerate(counts):
        high = count / most * (HEIGHT - TOP - BOTTOM)
        out.append(f'<rect x="{LEFT + i * wide + 1:.1f}" y="{floor - high:.1f}" width="{wide - 2:.1f}" '
                   f'height="{high:.1f}" fill="{colour}"/>')
    for decade in range(BARS // BY_DECADE + 1):
        us = round(FIRST * 10 ** decade)
        text = f"{us} us" if us < 1000 else f"{us // 1000} ms" if us < 10**6 else f"{us // 10**6} s"
        x = LEFT + decade * BY_DECADE * wide
        out.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{text}</text>')
    return out


def draw(path, title, series):
    """One histogram below the other."""
    tall = HEIGHT * len(series) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{tall}" '
           'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="{LEFT}" y="16" font-weight="bold">{title}</text>']
    for i, (name, colour, values) in enumerate(series):
        out += histogram(name, colour, values, 20 + i * HEIGHT)
    with open(path, "w") as file:
        file.write("\n".join(out + ["</svg>", ""]))


def run_here(numbers):
    run = subprocess.run([PROGRAM, *numbers], check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    return run.stdout, run.stderr


def run_with_quota(cpus, numbers):
    environment = [f"{name}={os.environ[name]}" for name in ("GOMAXPROCS", "GOGC")
                   if name in os.environ]
    with contextlib.ExitStack() as stack:
        image = stack.enter_context(bundle.Programs({"gc_pauses": PROGRAM}))
        box = stack.enter_context(container.Container(
            image, "pauses", ["/gc_pauses", *numbers, "/sys/fs/cgroup/cpu/cpu.stat"], environment,
            cpus=cpus, private_network=True, cgroupns=True))
        run = box.communicate(timeout=60 + 20 * int(numbers[2]))
    if run.returncode != 0:
        sys.exit(run.stderr)
    return run.stdout, run.stderr


def main():
    args = sys.argv[1:]
    if any(arg in ("-h", "--help") for arg in args):
        print(__doc__)
        return
    quota = None
    if args and args[0].startswith("--quota="):
        quota = float(args.pop(0).partition("=")[2])
    if not 1 <= len(args) <= 4:
        sys.exit(__doc__)
    numbers = args[1:] + ["1024", "100000", "60"][len(args) - 1:]
    said, title = run_here(numbers) if quota is None else run_with_quota(quota, numbers)
    pauses = [(line.split()[0], *map(float, line.split()[1:])) for line in said.splitlines()]
    if not pauses:
        sys.exit("no cycle ran: take more seconds")
    title = title.strip()
    less = ""
    if quota is not None:
        title += f", quota {quota:g} CPUs"
        less = ", less what was throttled"
    series = [("time to stop", "#1f4e9e", [p[1] for p in pauses])]
    for which, text in (("start", "a cycle's first pause, stopped"), ("end", "its last, stopped"),
                        ("whole", "a cycle's only pause, stopped")):
        values = [max(0, p[2] - p[3]) for p in pauses if p[0] == which]
        if values:
            series.append((text + less, "#a06a00", values))
    if quota is not None:
        series.append(("all, less what was throttled", "#555",
                       [max(0, p[2] - p[3]) for p in pauses]))
    # What the thread was off its CPU for another reason is in each of the above.
    series.append(("all, less what the thread was on no CPU", "#2a7a3a",
                   [max(0, p[2] - p[5]) for p in pauses]))
    draw(args[0], title, series)
    print(title)
    for name, _, values in series:
        print(f"{name}: {len(values)} pauses, {figures(values)}")
    print(f"throttled: {sum(p[3] > 0 for p in pauses)} of {len(pauses)}")


if __name__ == "__main__":
    main()
