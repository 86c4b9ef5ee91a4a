"""Many runs as few numbers: medians and worst seeds for each scenario, fleet size and policy, beside the best baseline."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.core.terms import Seconds
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Played, Truth
from supervisor.sim.exam.score import Score


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario, fleet size and policy over its seeds. `costs` are beyond the oracle, one for each seed."""

    scenario: str
    size: int
    policy: str
    without: str
    truth: Truth
    scores: tuple[Score, ...]
    costs: tuple[float, ...]
    lost: tuple[float, ...]

    @property
    def rights(self) -> int:
        """How many seeds were right."""
        return sum(score.right and not score.vetoes for score in self.scores)

    @property
    def is_right(self) -> bool:
        """Whether all of them were."""
        return self.rights == len(self.scores)

    @property
    def why(self) -> str:
        """What was missed first, in the first run that was not right."""
        found = (
            score.vetoes[0] if score.vetoes else score.why for score in self.scores if score.vetoes or not score.right
        )
        return next(found, "")

    @property
    def vetoed(self) -> int:
        """How many seeds broke a veto."""
        return sum(bool(score.vetoes) for score in self.scores)

    @property
    def cost(self) -> float:
        """The median cost."""
        return statistics.median(self.costs)

    @property
    def worst(self) -> float:
        """The cost of the worst seed."""
        return max(self.costs)

    def median(self, what: str) -> float | None:
        """Return the median of a number of the scores, over the runs that have it."""
        found = [value for score in self.scores if (value := getattr(score, what)) is not None]
        return statistics.median(found) if found else None

    def most(self, what: str) -> float:
        """Return the largest of a number of the scores."""
        return float(max(getattr(score, what) for score in self.scores))


@dataclass(frozen=True, slots=True)
class Duel:
    """Sickbay beside the best baseline, in one scenario and fleet size."""

    own: Row
    best: Row | None

    @property
    def ratio(self) -> float | None:
        """Sickbay's median cost as a share of the best baseline's; None without one, or where neither cost anything."""
        if self.best is None or (self.best.cost == 0 and self.own.cost == 0):
            return None
        return self.own.cost / self.best.cost if self.best.cost else float("inf")


def tally(runs: Iterable[Played]) -> list[Row]:
    """Gather runs into rows, in the order of scenarios, sizes and then of first appearance."""
    runs = list(runs)
    oracle = {_where(run): run.score.lost for run in runs if run.play.policy == ORACLE}
    gathered: dict[tuple[str, int, str, str], list[Played]] = defaultdict(list)
    for run in runs:
        gathered[run.score.scenario, run.play.size, run.play.policy, run.play.without].append(run)
    rows = []
    for (scenario, size, policy, without), some in gathered.items():
        found = sorted(some, key=lambda run: run.play.seed)
        scores = tuple(run.score for run in found)
        saved = [oracle.get(_where(run), 0.0) for run in found]
        rows.append(
            Row(
                scenario,
                size,
                policy,
                without,
                found[0].truth,
                scores,
                tuple(score.cost(least) for score, least in zip(scores, saved, strict=True)),
                tuple(max(0.0, score.lost - least) for score, least in zip(scores, saved, strict=True)),
            )
        )
    return sorted(rows, key=lambda row: (row.truth.number, row.scenario, row.size))


def duels(rows: Sequence[Row], policy: str = SICKBAY) -> list[Duel]:
    """Set a policy beside the best of the baselines, wherever it was played whole."""
    found = []
    for own in rows:
        if own.policy == policy and not own.without:
            rivals = [
                row
                for row in rows
                if (row.scenario, row.size) == (own.scenario, own.size) and row.policy not in (policy, SICKBAY, ORACLE)
            ]
            found.append(Duel(own, min(rivals, key=lambda row: row.cost) if rivals else None))
    return found


def span(seconds: Seconds | None) -> str:
    """Write a duration shortly: "34s", "5m", "2.5h"; "–" for none."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.1f}h"


def count(value: float | None) -> str:
    """Write a number shortly."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _where(run: Played) -> tuple[str, int, int]:
    return run.score.scenario, run.play.size, run.play.seed
