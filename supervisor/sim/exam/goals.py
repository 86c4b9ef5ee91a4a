"""The goals that judgement is measured by, each with what was measured, and whether that is enough."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from supervisor.sim.exam.runs import SICKBAY
from supervisor.sim.exam.score import Score
from supervisor.sim.exam.tally import Row, count, duels, span

BOOT_MEDIAN = 90.0
ANY_SIZE = 1_000_000
CRASH, TERMINATED, ERRORS, DUD = 2, 3, 11, 45
"""Scenarios by number."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table. `met` is None where nothing was played that could show it."""

    what: str
    wanted: str
    measured: str
    met: bool | None

    @property
    def word(self) -> str:
        """Say it in words."""
        return "not measured" if self.met is None else "met" if self.met else "MISSED"


def goals(rows: Sequence[Row]) -> list[Goal]:
    """Return every goal, measured over the rows of Sickbay as it is."""
    own = [row for row in rows if row.policy == SICKBAY and not row.without]
    return [
        *_speed(own),
        *_restraint(own),
        *_naming(own),
        _launches(own),
        *_costs(rows),
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _scores(rows: Iterable[Row], wanted: Callable[[Row], bool]) -> list[Score]:
    return [score for row in rows if wanted(row) for score in row.scores]


def _speed(rows: Sequence[Row]) -> list[Goal]:
    made = []
    scores = _scores(rows, lambda row: row.truth.number == CRASH)
    times = [score.detected if score.detected is not None else math.inf for score in scores]
    p50, p99 = (percentile(times, 0.5), percentile(times, 0.99)) if times else (None, None)
    made.append(_at_most("crash detection, 10 s checks, p50", 40, p50))
    made.append(_at_most("crash detection, 10 s checks, p99", 60, p99))
    scores = _scores(rows, lambda row: row.truth.number == TERMINATED)
    times = [score.detected if score.detected is not None else math.inf for score in scores]
    made.append(_at_most("a death that the cloud confirms, slowest", 25, max(times, default=None)))
    scores = _scores(rows, lambda row: row.truth.number == CRASH)
    times = [score.recovered - BOOT_MEDIAN if score.recovered is not None else math.inf for score in scores]
    made.append(_at_most("time to recovery beyond the boot, p50", 75, percentile(times, 0.5) if times else None))
    scores = _scores(rows, lambda row: row.truth.number == ERRORS)
    times = [score.detected if score.detected is not None else math.inf for score in scores]
    made.append(_at_most("15 % intermittent errors, detection p50", 900, percentile(times, 0.5) if times else None))
    return made


def _at_most(what: str, most: float, measured: float | None) -> Goal:
    text = "–" if measured is None else "never" if math.isinf(measured) else f"{measured:.0f} s"
    return Goal(what, f"≤ {most:.0f} s", text, None if measured is None else measured <= most)


def _restraint(rows: Sequence[Row]) -> list[Goal]:
    made = []
    kills = [score.over_kill for score in _scores(rows, lambda row: row.truth.shared and row.size >= 12)]
    middle, worst = (statistics.median(kills), max(kills)) if kills else (0, 0)
    made.append(
        Goal(
            "wrongful removals, shared causes, fleets of 12 and more",
            "median 0, worst ≤ 1",
            f"median {count(middle)}, worst {worst}" if kills else "–",
            middle == 0 and worst <= 1 if kills else None,
        )
    )
    for what, share, fits in (
        ("single faults needlessly held, fleets of 12 and more", 0.02, range(12, ANY_SIZE)),
        ("single faults needlessly held, fleets below 12", 0.10, range(12)),
    ):
        single = [row for row in rows if not row.truth.shared and row.truth.cause == "instance" and row.size in fits]
        held = [score.held_needlessly > 0 for row in single for score in row.scores]
        made.append(_share(what, held, most=share))
    vetoed = [bool(score.vetoes) for score in _scores(rows, lambda _: True)]
    made.append(_share("runs that broke a veto", vetoed, most=0.0))
    return made


def _share(what: str, found: Sequence[bool], *, most: float | None = None, least: float | None = None) -> Goal:
    wanted = f"≤ {most:.0%}" if most is not None else f"≥ {least:.0%}"
    if not found:
        return Goal(what, wanted, "–", None)
    measured = sum(found) / len(found)
    met = measured <= most if most is not None else measured >= (least or 0.0)
    return Goal(what, wanted, f"{measured:.1%} ({sum(found)} of {len(found)})", met)


def _naming(rows: Sequence[Row]) -> list[Goal]:
    made = []
    for what, least, fits in (
        ("fault that shows at once named within 2 min, fleets of 30+", 0.98, range(30, ANY_SIZE)),
        ("fault that shows at once named within 2 min, fleets of 6 to 12", 0.85, range(6, 13)),
    ):
        scores = [score for row in rows if row.truth.names and row.size in fits for score in row.scores]
        named = [score.cause_right and score.named is not None and score.named <= 120 for score in scores]
        made.append(_share(what, named, least=least))
    return made


def _launches(rows: Sequence[Row]) -> Goal:
    found = [score.launches for score in _scores(rows, lambda row: row.truth.number == DUD)]
    worst = max(found, default=None)
    return Goal(
        "replacements that never boot: launches before stopping",
        "≤ 3",
        "–" if worst is None else f"{worst} at worst",
        None if worst is None else worst <= 3,
    )


def _costs(rows: Sequence[Row]) -> list[Goal]:
    ratios = [0.0 if duel.ratio is None else duel.ratio for duel in duels(rows) if duel.best is not None]
    half = [ratio <= 0.5 for ratio in ratios]
    above = [ratio > 1.1 for ratio in ratios]
    return [
        _share("cost at most half of the best baseline's", half, least=0.9),
        _share("cost more than 1.1 of the best baseline's", above, most=0.0),
    ]


__all__ = ["Goal", "goals", "percentile", "span"]
