#!/usr/bin/env python3
"""Draws what the heap holds over time under a spike, with and without a memory limit.

    tools/bench/heap_spike.py OUT.svg [LIMIT_MIB]      of bazel build --config=opt //tools/bench:heap_spike

A third run leaves one object of 200 of the spike alive. Prints what is held before, at the peak, and 5 and 10
seconds after the spike; exit 1 when that is more than live * 1.25 + 16 MiB at the end.
"""

import subprocess
import sys

PROGRAM = ".bazel/bin/tools/bench/heap_spike"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 440, 56, 62, 24, 50
SPIKE_ENDS = 4  # seconds
INK, FAINT = "#333", "#8a8f98"


def series(limit, stays=0):
    """(seconds, rss, live) of a run."""
    text = subprocess.run([PROGRAM, str(limit), str(stays)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [tuple(map(float, line.split()[:3])) for line in text.splitlines()]


def nice_step(most):
    """The least of 1, 2 and 5 times a power of ten that needs at most seven lines."""
    step = 1
    while most / step > 7:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def draw(path, runs, limit):
    """One line for each run's RSS, an area for what is live, one line for the limit."""
    most_s = max(t for _, _, run in runs for t, _, _ in run)
    most = max(r for _, _, run in runs for _, r, _ in run) * 1.05
    x = lambda seconds: LEFT + seconds / most_s * (WIDTH - LEFT - RIGHT)
    y = lambda mib: HEIGHT - BOTTOM - max(0, mib) / most * (HEIGHT - TOP - BOTTOM)
    path_of = lambda points: " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in points)

    def text(at_x, at_y, said, anchor="start", fill=INK, more=""):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" fill="{fill}"{more}>{said}</text>'

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
           f'height="{HEIGHT}" font-family="Helvetica,Arial,sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           text(LEFT, 22, "What the heap holds when a spike comes and goes", more=' font-size="15" font-weight="bold"'),
           text(LEFT, 42, "MiB resident, less the program itself; objects of 16 to 8,000 bytes", fill=FAINT)]
    step = nice_step(most)
    for mib in range(0, int(most) + 1, step):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mib):.1f}" y2="{y(mib):.1f}" '
                   f'stroke="{"#999" if mib == 0 else "#e4e6ea"}"/>')
        out.append(text(LEFT - 8, y(mib) + 4, str(mib), "end", FAINT))
    for second in range(0, round(most_s) + 1, 2):
        out.append(text(x(second), HEIGHT - BOTTOM + 18, str(second), "middle", FAINT))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "seconds", "middle", FAINT))

    live = [(t, v) for t, _, v in runs[0][2]]
    out.append(f'<polygon points="{path_of([(0, 0)] + live + [(live[-1][0], 0)])}" fill="#e9ecf1"/>')
    if limit:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" '
                   'stroke="#c2352b" stroke-dasharray="5 4"/>')
        out.append(text(WIDTH - RIGHT, y(limit) - 6, f"limit {limit} MiB", "end", "#c2352b"))
    for _, colour, run in runs:
        out.append(f'<polyline points="{path_of((t, r) for t, r, _ in run)}" fill="none" stroke="{colour}" '
                   'stroke-width="2" stroke-linejoin="round"/>')
    # Where "at most live * 1.25 + 16 MiB after ten seconds" is judged.
    end = SPIKE_ENDS + 10
    most_held = max(held_at(run, end)[2] for name, _, run in runs if judged(name)) * 1.25 + 16
    out.append(f'<path d="M{x(end):.1f},{y(0):.1f}V{y(most_held):.1f}m-9,0h18" fill="none" stroke="{INK}"/>')
    out.append(text(x(end) + 14, y(most_held) - 2, f"10 s after: at most {most_held:.0f}"))

    legend = [("live: asked for and not freed", "#e9ecf1", 12)]
    legend += [(name, colour, 2.5) for name, colour, _ in runs]
    out.append(f'<rect x="{WIDTH - 308}" y="{TOP}" width="{300 - RIGHT}" height="{19 * len(legend) + 8}" fill="#fff"/>')
    for i, (name, colour, thick) in enumerate(legend):
        at = TOP + 18 + 19 * i
        out.append(f'<line x1="{WIDTH - 300}" x2="{WIDTH - 276}" y1="{at - 4}" y2="{at - 4}" stroke="{colour}" '
                   f'stroke-width="{thick}"/>')
        out.append(text(WIDTH - 268, at, name))
    out.append("</svg>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


def held_at(run, second):
    """The row of a run that is next to a moment."""
    return min(run, key=lambda row: abs(row[0] - second))


def judged(name):
    """What stays in a page keeps the page, in any heap that moves nothing: told, not judged."""
    return "stays" not in name


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    limit = int(sys.argv[2]) if len(sys.argv) == 3 else 256
    runs = [("held, no limit", "#2456a6", series(0)), (f"held, limit of {limit} MiB", "#2a7a3b", series(limit)),
            ("held, no limit, 1 object of 200 stays", "#c07a00", series(0, 200))]
    draw(sys.argv[1], runs, limit)
    good = True
    for name, _, run in runs:
        end = held_at(run, SPIKE_ENDS + 10)
        allowed = end[2] * 1.25 + 16
        good = good and (end[1] <= allowed or not judged(name))
        print(f"{name}: before {held_at(run, 1.9)[1]:.0f} MiB, peak {max(r for _, r, _ in run):.0f}, 5 s after "
              f"{held_at(run, SPIKE_ENDS + 5)[1]:.0f}, 10 s after {end[1]:.0f} with {end[2]:.0f} live; "
              f"allowed {allowed:.0f}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
