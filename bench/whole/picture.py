"""What was watched, as one SVG: processors, start lag, starts and memory over time, phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.whole.watch import Second

WIDTH, LEFT, RIGHT = 760, 64, 12
ROW, GAP, TOP = 96, 26, 28
INK, GREY = "#333", "#bbb"


@dataclass(frozen=True, slots=True)
class Row:
    """One curve, or several; `limit` is drawn where something was promised."""

    title: str
    curves: tuple[tuple[str, Callable[[Second], float]], ...]
    limit: float | None = None


ROWS = (
    Row(
        "cores: both processes, and of them the prober",
        (("#b33", lambda s: s.supervisor + s.prober), ("#36c", lambda s: s.prober)),
        0.9,
    ),
    Row("start lag, ms: 99th percentile of each second", (("#36c", lambda s: s.lag_p99 * 1e3),), 25.0),
    Row("checks started each second", (("#383", lambda s: s.started),)),
    Row("checks in flight", (("#383", lambda s: s.in_flight),)),
    Row("resident MB: both processes", (("#b33", lambda s: (s.supervisor_bytes + s.prober_bytes) / 1e6),)),
)


def picture(phases: Mapping[str, Sequence[Second]]) -> str:
    """Return the picture."""
    seconds = [second for each in phases.values() for second in each]
    first, last = seconds[0].at, seconds[-1].at
    height = TOP + len(ROWS) * (ROW + GAP)

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - first) / max(1.0, last - first)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">'
    ]
    parts.append(f'<rect width="{WIDTH}" height="{height}" fill="white"/>')
    for name, each in phases.items():
        if each:
            at = x(each[0].at)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="16" y2="{height - GAP}" stroke="{GREY}"/>')
            parts.append(f'<text x="{at + 3:.1f}" y="14" fill="{INK}">{name}</text>')
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
