"""What was watched, as one SVG: processors, start lag, missed checks, starts and memory over time, phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.whole.watch import Second

WIDTH, LEFT, RIGHT = 760, 64, 12
ROW, GAP, TOP, FOOT = 92, 24, 62, 34
INK, SOFT, SHADE = "#333", "#777", "#f3f3f3"
RED, BLUE, GREEN = "#b33", "#36c", "#383"
EVERY = 60.0
"""Seconds between two marks of the time."""
WORDS = {
    "start": "starts",
    "well": "all well",
    "reloaded": "reloaded",
    "hanging": "1 in 20 hangs",
    "refusing": "1 in 5 refuses",
    "nobody": "nobody",
    "again": "well again",
    "restarted": "restarted",
}
"""What the phases are called; what is between two of them has no name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One curve, or several; `limit` is drawn where something is wanted."""

    title: str
    curves: tuple[tuple[str, Callable[[Second], float]], ...]
    limit: float | None = None


ROWS = (
    Row(
        "CPU, cores: both processes (red), of them the prober (blue)",
        ((RED, lambda s: s.supervisor + s.prober), (BLUE, lambda s: s.prober)),
        0.9,
    ),
    Row(
        "start lag in each second, ms: the latest (red), 99th percentile (blue)",
        ((RED, lambda s: s.lag_max * 1e3), (BLUE, lambda s: s.lag_p99 * 1e3)),
        25.0,
    ),
    Row("checks missed in each second", ((RED, lambda s: s.missed),)),
    Row(
        "starts a second: the busiest tenth of each second (red), the whole of it (green)",
        ((RED, lambda s: s.busiest), (GREEN, lambda s: s.started)),
    ),
    Row("checks in flight", ((GREEN, lambda s: s.in_flight),)),
    Row("memory of both processes, MB", ((RED, lambda s: (s.supervisor_bytes + s.prober_bytes) / 1e6),)),
)


def picture(phases: Mapping[str, Sequence[Second]], machines: int) -> str:
    """Return the picture."""
    seconds = [second for each in phases.values() for second in each]
    first, last = seconds[0].at, seconds[-1].at
    height = TOP + len(ROWS) * (ROW + GAP) + FOOT
    bottom = height - FOOT - GAP

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - first) / max(1.0, last - first)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">'
    ]
    parts.append(f'<rect width="{WIDTH}" height="{height}" fill="white"/>')
    title = f"{machines:,} machines, an HTTP check of each every 10 s: the whole daemon"
    parts.append(f'<text x="{LEFT}" y="20" fill="{INK}" font-size="15">{title}</text>')
    stretches = [(name, each) for name, each in phases.items() if each]
    for number, (name, each) in enumerate(stretches):
        begins = x(each[0].at)
        ends = x(stretches[number + 1][1][0].at if number + 1 < len(stretches) else last)
        if name in WORDS:
            parts.append(
                f'<rect x="{begins:.1f}" y="36" width="{ends - begins:.1f}" height="{bottom - 36}" fill="{SHADE}" stroke="white"/>'
            )
            parts.append(
                f'<text x="{(begins + ends) / 2:.1f}" y="48" fill="{INK}" text-anchor="middle">{WORDS[name]}</text>'
            )
    for minute in range(int((last - first) // EVERY) + 1):
        at = x(first + minute * EVERY)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="{INK}"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle" fill="{INK}">{minute}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{bottom + 32}" text-anchor="end" fill="{SOFT}">minutes</text>')
    parts.append(f'<text x="{LEFT}" y="{bottom + 32}" fill="{SOFT}">dashed: what is wanted while all is well</text>')
    for number, row in enumerate(ROWS):
        parts += _row(row, seconds, x, TOP + number * (ROW + GAP))
    return "\n".join([*parts, "</svg>\n"])


def _row(row: Row, seconds: Sequence[Second], x: Callable[[float], float], top: float) -> list[str]:
    base = top + ROW
    most = max([row.limit or 0.0, *(value(second) for _, value in row.curves for second in seconds)]) * 1.05 or 1.0

    def y(value: float) -> float:
        return base - (ROW - 16) * value / most

    parts = [
        f'<text x="{LEFT}" y="{top + 10}" fill="{INK}">{row.title}</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" stroke="{INK}"/>',
        f'<text x="{LEFT - 5}" y="{base}" text-anchor="end" fill="{INK}">0</text>',
        f'<text x="{LEFT - 5}" y="{y(most / 1.05) + 4:.1f}" text-anchor="end" fill="{INK}">{most / 1.05:.4g}</text>',
    ]
    if row.limit is not None:
        at = y(row.limit)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{INK}" stroke-dasharray="4 3"/>'
        )
    for colour, value in row.curves:
        points = " ".join(f"{x(second.at):.1f},{y(value(second)):.1f}" for second in seconds)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    return parts
