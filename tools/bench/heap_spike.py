#!/usr/bin/env python3
"""Draws what the heap holds over time under a spike, with and without a memory limit.

    tools/bench/heap_spike.py OUT.svg [LIMIT_MIB]      of bazel build --config=opt //tools/bench:heap_spike

A third run leaves one object of 200 of the spike alive. Prints what is held before, at the peak, and 5 and 10 seconds after the spike, and whether that is within
live * 1.25 + 16 MiB; exit 1 when it is not.
"""

import subprocess
import sys

PROGRAM = ".bazel/bin/tools/bench/heap_spike"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 420, 64, 30, 20, 44


def series(limit, stays=0):
    """(seconds, rss, live) of a run."""
    text = subprocess.run([PROGRAM, str(limit), str(stays)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [tuple(map(float, line.split()[:3])) for line in text.splitlines()]


def draw(path, runs, limit):
    """One line for each run's RSS, one for what is live, one for the limit."""
    most_s = max(t for _, _, run in runs for t, _, _ in run)
    most = max(r for _, _, run in runs for _, r, _ in run) * 1.08

    def place(seconds, mib):
        return (f"{LEFT + seconds / most_s * (WIDTH - LEFT - RIGHT):.1f},"
                f"{HEIGHT - BOTTOM - mib / most * (HEIGHT - TOP - BOTTOM):.1f}")

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>']
    for i in range(6):
        y = place(0, most * i / 5).split(",")[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{float(y) + 4}" text-anchor="end">{most * i / 5:.0f}</text>')
    for second in range(0, int(most_s) + 1, 2):
        x = place(second, 0).split(",")[0]
        out.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{second}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds</text>')
    out.append(f'<text x="{LEFT}" y="18">MiB held (RSS, less the program itself)</text>')
    live = " ".join(place(t, v) for t, _, v in runs[0][2])
    lines = [("live", "#888", live, "4 3")]
    lines += [(name, colour, " ".join(place(t, r) for t, r, _ in run), "") for name, colour, run in runs]
    if limit:
        lines.append((f"limit {limit} MiB", "#c33", f"{place(0, limit)} {place(most_s, limit)}", "2 3"))
    for i, (name, colour, points, dash) in enumerate(lines):
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
                   f'stroke-dasharray="{dash}"/><text x="{WIDTH - RIGHT - 230}" y="{TOP + 16 + 16 * i}" '
                   f'fill="{colour}">{name}</text>')
    out.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(out))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    limit = int(sys.argv[2]) if len(sys.argv) == 3 else 256
    runs = [("no limit", "#1f4e9e", series(0)), ("with the limit", "#2a7a3b", series(limit)),
            ("no limit, 1 object of 200 stays", "#a06a00", series(0, 200))]
    draw(sys.argv[1], runs, limit)
    good = True
    for name, _, run in runs:
        at = lambda second: min(run, key=lambda row: abs(row[0] - second))
        end = at(14)
        allowed = end[2] * 1.25 + 16
        # What stays in a page keeps the page, in any heap that moves nothing: told, not judged.
        good = good and (end[1] <= allowed or "stays" in name)
        print(f"{name}: before {at(1.9)[1]:.0f} MiB, peak {max(r for _, r, _ in run):.0f}, "
              f"5 s after {at(9)[1]:.0f}, 10 s after {end[1]:.0f} with {end[2]:.0f} live; allowed {allowed:.0f}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
