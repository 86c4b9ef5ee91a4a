"""Losses over days, by what machines share: bad hardware seldom fails all at once.

What takes machines together is the diagnosis's. Here single failures are counted, each of them healed by itself: when those
of a week fall upon one type of machine or one host far more often than its share of the fleet, people are told once, and
new machines go elsewhere where that is possible. Nobody is touched for it. After a restart it is told again at the next loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import comb

from supervisor.core import troubles
from supervisor.core.burst import odds
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.model import Incident, Removal
from supervisor.core.population import Label
from supervisor.core.terms import Seconds

WINDOW: Seconds = 7 * 86400.0
LEAST = 4
"""Losses: fewer are told one by one, and prove nothing."""
CHANCE = 1e-4
"""How unlikely, all groups that were looked at taken together."""


@dataclass(frozen=True, slots=True)
class Lot:
    """A group that loses more machines than its share. `share` is of the fleet, the lost ones included."""

    label: Label
    lost: int
    of: int
    share: float
    chance: float

    @property
    def words(self) -> str:
        """Say it in one sentence."""
        return (
            f"{self.label.name} {self.label.value}: {self.lost} of the {self.of} machines that were replaced within 7 days, "
            f"though {self.share:.0%} of the fleet (by chance {odds(self.chance)}); new ones go elsewhere where that is possible"
        )


def worst(losses: Iterable[tuple[Label, ...]], members: Mapping[Label, int], total: int) -> Lot | None:
    """Return the group that stands out most, if any does. `members`: how many of the `total` there now carry a label."""
    lost = list(losses)
    counted = Counter(label for labels in lost for label in labels)
    found: list[Lot] = []
    for label, count in counted.items():
        share = (members.get(label, 0) + count) / (total + len(lost))
        if count < LEAST or share >= 1:
            continue
        chance = min(1.0, _tail(count, len(lost), share) * len(counted))
        if chance <= CHANCE:
            found.append(Lot(label, count, len(lost), share, chance))
    return min(found, key=lambda lot: (lot.chance, lot.share, lot.label), default=None)


def _tail(least: int, of: int, share: float) -> float:
    """Return the chance of at least so many of them (binomial)."""
    return float(sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(least, of + 1)))


def count(ctx: Context, fleet: Fleet) -> None:
    """Look at the losses of a week afresh, and tell of a group that has come to stand out."""
    population = fleet.investigation.population
    recent = [r for r in ctx.world.values(Removal) if r.fleet == fleet.policy.name and ctx.since(r.at) <= WINDOW]
    losses = [tuple(Label(*pair) for pair in removal.labels) for removal in recent]
    labels = {label for carried in losses for label in carried}
    members = {label: population.total(label) for label in labels}
    lot = worst(losses, members, len(population.members))
    if lot is not None and (fleet.lot is None or fleet.lot.label != lot.label) and not _is_known(ctx, fleet, lot):
        ctx.say("hardware.suspected", f"{fleet.policy.name}: {lot.words}", fleet.policy.name)
    fleet.lot = lot


def _is_known(ctx: Context, fleet: Fleet, lot: Lot) -> bool:
    """Return whether a shared incident that stands is about this group: it was named there."""
    standing = (ctx.world.need(Incident, number) for number in ctx.world.shared[fleet.policy.name])
    return any(troubles.value_of(incident) == lot.label.value for incident in standing)
