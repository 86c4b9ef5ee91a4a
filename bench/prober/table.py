"""The figures, in plain words for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.prober.checker import WORDS, Work
from bench.prober.goals import GOALS, Spread, ratio, spread, verdict
from bench.prober.rounds import Figure
from bench.prober.sickbay import PROBER, WHOLE

YARDSTICKS = {Work.TLS: "blackbox_exporter", Work.KEPT: PROBER}
"""Whom each is compared with, where it is not haproxy."""


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines: each workload, then the goals."""
    for work in Work:
        names = dict.fromkeys(f.name for f in figures if f.work is work)
        if names:
            yield from _workload(figures, work, list(names))
    yield from _goals(figures)


def _workload(figures: Sequence[Figure], work: Work, names: Sequence[str]) -> Iterator[str]:
    other, other_work = YARDSTICKS.get(work, "haproxy"), Work.HTTP if work is Work.KEPT else work
    beside = f"times {other}{' for http' if work is Work.KEPT else ''}"
    yield f"\n{WORDS[work]}: CPU of the checker for each check, in microseconds; median (least to most) of the rounds"
    yield f"{'':24}{'CPU':>24}{'user, sampled':>15}{beside:>32}{'new conn.':>11}{'offered/s':>11}{'arrived/s':>11}{'failed':>8}"
    costs = {name: [f.total for f in figures if f.work is work and f.name == name] for name in names}
    for name in sorted(names, key=lambda name: sorted(costs[name])[len(costs[name]) // 2]):
        mine = [f for f in figures if f.work is work and f.name == name]
        user, achieved = spread([f.user for f in mine]), spread([f.achieved for f in mine])
        fresh = spread([f.fresh for f in mine])
        failed = [f.errors for f in mine if f.errors is not None]
        yield (
            f"{name:24}{_words(spread(costs[name]), '.1f'):>24}{_middle(user):>15}"
            f"{_words(ratio(figures, name, work, other, other_work), '.2f'):>32}"
            f"{_middle(fresh, '.2f'):>11}{mine[0].offered:>11.0f}{_middle(achieved):>11}{sum(failed) if failed else '–':>8}"
            f"{'' if all(f.kept_up for f in mine) else '  did not keep up'}"
        )


def _goals(figures: Sequence[Figure]) -> Iterator[str]:
    yield f"\n{'goal, for the prober by the median':58}{'prober':>22}{'':14}{'with reading':>22}"
    for goal in GOALS:
        alone = ratio(figures, PROBER, goal.work, goal.other, goal.other_work)
        whole = ratio(figures, WHOLE, goal.work, WHOLE if goal.other == PROBER else goal.other, goal.other_work)
        yield f"{goal.words:58}{_words(alone, '.3g'):>22}  {verdict(goal, alone):12}{_words(whole, '.3g'):>22}"


def _words(found: Spread | None, form: str) -> str:
    return "–" if found is None else f"{found.median:{form}} ({found.low:{form}} to {found.high:{form}})"


def _middle(found: Spread | None, form: str = ".1f") -> str:
    return "–" if found is None else f"{found.median:{form}}"
