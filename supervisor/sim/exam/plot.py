"""One run over time as an inline SVG: who serves against what is needed, who is sick, what was done and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from supervisor.core.terms import BootTime, Seconds
from supervisor.sim.exam.runs import Saying, Trace

WIDTH, LEFT, RIGHT = 420, 30, 8
TOP, BASE, MARKS, TOLD, HEIGHT = 8, 108, 122, 138, 166
WORDS = 62
"""So many letters of what was told fit below a plot."""
MOST_STEPS = 400
"""A curve of more steps is thinned: one of a thousand machines has tens of thousands."""


def plot(trace: Trace) -> str:
    """Return the picture of a run."""
    most = max([trace.desired, *(value for _, value in trace.serving)]) * 1.05 or 1.0

    def x(at: BootTime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(at, trace.lasts) / trace.lasts

    def y(value: float) -> float:
        return BASE - (BASE - TOP) * value / most

    def path(steps: Sequence[tuple[BootTime, float]]) -> str:
        points = [f"M{x(steps[0][0]):.1f} {y(steps[0][1]):.1f}"]
        points += [f"H{x(at):.1f}V{y(value):.1f}" for at, value in steps[1:]]
        return "".join(points) + f"H{x(trace.lasts):.1f}"

    sick = thinned(trace.sick, trace.lasts)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken(trace))}">',
        *(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 4}" y="{y(value) + 3:.1f}" text-anchor="end">{value:.0f}</text>'
            for value in (0, trace.desired)
        ),
        *(
            f'<text x="{x(trace.lasts * share):.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{clock(trace.lasts * share)}</text>'
            for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
        ),
    ]
    if sick and any(value for _, value in sick):
        parts.append(
            f'<path d="{path(sick)}V{y(0):.1f}H{x(sick[0][0]):.1f}Z" fill="var(--bad)" fill-opacity=".28" stroke="none"/>'
        )
    parts += [
        f'<path d="M{LEFT} {y(trace.demand):.1f}H{WIDTH - RIGHT}" stroke="var(--amber)" stroke-dasharray="4 3"/>',
        f'<path d="{path(thinned(trace.serving, trace.lasts))}" fill="none" stroke="var(--blue)" stroke-width="1.8"/>',
        *(_mark(x(at), down=True) for at in _apart(trace.removals, trace.lasts)),
        *(_mark(x(at), down=False) for at in _apart(trace.launches, trace.lasts)),
        *_told(trace, x),
        "</svg>",
    ]
    return "".join(parts)


def spoken(trace: Trace) -> str:
    """Say in a sentence what the picture shows, for whoever can't see it."""
    least = min(value for _, value in trace.serving)
    return (
        f"{least:.0f} of {trace.desired} machines served at the least, {trace.demand:.0f} were needed; "
        f"{len(trace.removals)} removals, {len(trace.launches)} launches"
    )


def clock(at: BootTime) -> str:
    """Write a moment of a run: "1:30", in hours and minutes; in days where it is long."""
    return f"day {at / 86400:.1f}" if at > 2 * 86400 else f"{int(at // 3600)}:{int(at % 3600 // 60):02d}"


def thinned(steps: Sequence[tuple[BootTime, float]], lasts: Seconds) -> Sequence[tuple[BootTime, float]]:
    """Return a curve of no more steps than can be seen: of each stretch of time, its lowest and its last value."""
    if len(steps) <= MOST_STEPS:
        return steps
    width = lasts / (MOST_STEPS / 2)
    kept: list[tuple[BootTime, float]] = []
    stretch: list[tuple[BootTime, float]] = []
    for at, value in steps:
        if stretch and at // width != stretch[0][0] // width:
            kept += sorted({min(stretch, key=lambda step: step[1]), stretch[-1]})
            stretch = []
        stretch.append((at, value))
    return [*kept, *sorted({min(stretch, key=lambda step: step[1]), stretch[-1]})]


def _apart(moments: Sequence[BootTime], lasts: Seconds) -> list[BootTime]:
    """Return those that are far enough apart to be seen."""
    kept: list[BootTime] = []
    for at in sorted(moments):
        if not kept or at - kept[-1] > lasts / 150:
            kept.append(at)
    return kept


def _mark(x: float, *, down: bool) -> str:
    colour, tip, base = ("var(--bad)", MARKS, MARKS - 7) if down else ("var(--good)", MARKS - 7, MARKS)
    return f'<path d="M{x:.1f} {tip}l-3.5 {base - tip}h7z" fill="{colour}"/>'


def _told(trace: Trace, x: Callable[[BootTime], float]) -> list[str]:
    line = _headline(trace.said)
    marks = [
        f'<circle cx="{x(at):.1f}" cy="{TOLD - 6}" r="2.5" fill="var(--text)"/>'
        for at in _apart([said.at for said in trace.said if said.urgent or said.cause], trace.lasts)
    ]
    short = line if len(line) <= WORDS else line[: WORDS - 1] + "…"
    return [*marks, f'<text x="{LEFT}" y="{TOLD + 10}">{escape(short)}</text>']


def _headline(said: Sequence[Saying]) -> str:
    """Choose what to print: the first time that a cause was named, else the first thing told."""
    named = next((one for one in said if one.cause), None)
    if named is not None:
        return f"{clock(named.at)} {named.cause}"
    first = next((one for one in said if one.urgent), None)
    return f"{clock(first.at)} {first.text}" if first is not None else "nobody was told anything"
