"""What a fleet has under way and has spent, counted once for all whom a decision is about.

Called by the context when it collects the facts for the guards. A crowd is decided about one after another; between
two of them the records seldom change, so what does not concern the one machine alone is not counted again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from supervisor.core.guards import wave_base
from supervisor.core.journal import Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Instance, Quarantine, Removal, Slot
from supervisor.core.terms import Seconds
from supervisor.core.world import World

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Spending:
    """The counts of one fleet at one moment, the removals of all fleets among them."""

    under_way: tuple[Workflow, ...]  # one for each patient
    busy: dict[str, str]  # who is being removed and has no replacement that is out of probation -> the zone
    zones: Counter[str]  # of the busy
    unsettled: Counter[str]  # removals whose replacement is not yet out of probation, by instance
    hour: Counter[str]  # removals, by instance
    day: Counter[str]
    everywhere: Counter[str]  # removals of the last hour in all fleets, by instance
    removals: tuple[Removal, ...]  # newest first
    wave_gap: timedelta
    now: datetime
    instances: int  # in all fleets
    failures: int  # launches
    extra: int  # machines besides those wanted; those added in a storm have a limit of their own

    def concurrent(self, own: str) -> int:
        """Return how many others are busy."""
        return len(self.busy) - (own in self.busy)

    def in_zone(self, zone: str, own: str) -> int:
        """Return how many others are busy in a zone."""
        return self.zones[zone] - (self.busy.get(own) == zone)

    def waves(self, world: World, own: str) -> tuple[int, int]:
        """Return how many removals belong to the present spell, and how many of its earlier waves are not yet proved."""
        spell: list[Removal] = []
        later = self.now
        for removal in self.removals:
            if removal.instance == own:
                continue
            waits = removal.settled_at is None and not _has_failed(world, removal)
            if not waits and later - removal.at > self.wave_gap:
                break
            spell.append(removal)
            later = removal.at
        spell.reverse()
        earlier = spell[: wave_base(len(spell))]
        return len(spell), sum(1 for r in earlier if r.settled_at is None and not _has_failed(world, r))


def others(counted: Counter[str], own: str) -> int:
    """Return how many were counted, one's own apart."""
    return counted.total() - counted[own]


def count(world: World, fleet: str, desired: int, now: datetime, wave_gap: Seconds) -> Spending:
    """Count."""
    running = (world.need(Workflow, number) for number in sorted(world.running[fleet]))
    under_way = tuple({w.patient or w.id: w for w in running}.values())
    ours = [r for r in world.values(Removal) if r.fleet == fleet]
    # Whose replacement has proved itself is healed: it only waits for room in the quarantine, and nobody waits for it.
    healed = {r.workflow for r in ours if r.settled_at is not None}
    busy = {
        w.patient: _zone(world, w.patient) for w in under_way if w.kind is WorkflowKind.REMEDIATE and w.id not in healed
    }
    unsettled = [world.need(Removal, number) for number in sorted(world.unsettled[fleet])]
    for removal in unsettled:
        if not _has_failed(world, removal):
            busy.setdefault(removal.instance, removal.zone)
    recent = [r for r in world.values(Removal) if now - r.at < DAY]
    lately = [r for r in recent if now - r.at < HOUR]
    return Spending(
        under_way=under_way,
        busy=busy,
        zones=Counter(busy.values()),
        unsettled=Counter(r.instance for r in unsettled),
        hour=Counter(r.instance for r in lately if r.fleet == fleet),
        day=Counter(r.instance for r in recent if r.fleet == fleet),
        everywhere=Counter(r.instance for r in lately),
        removals=tuple(sorted(ours, key=lambda r: r.at, reverse=True)),
        wave_gap=timedelta(seconds=wave_gap),
        now=now,
        instances=sum(len(members) for members in world.members.values()),
        failures=sum(world.need(Slot, fleet, n).failures for n in world.failing_slots[fleet]),
        extra=_extra(world, fleet, desired),
    )


def _extra(world: World, fleet: str, desired: int) -> int:
    stopped = sum(1 for kept in world.kept[fleet] if world.need(Quarantine, kept).stopped)
    rescues = {world.need(Workflow, number).candidate for number in world.rescues[fleet]} & world.members[fleet]
    added = sum(1 for i in rescues if world.need(Instance, i).slot is None)
    return len(world.members[fleet]) - stopped - added - desired


def _has_failed(world: World, removal: Removal) -> bool:
    return world.need(Workflow, removal.workflow).state is WorkflowState.FAILED


def _zone(world: World, instance: str) -> str:
    known = world.get(Instance, instance)
    return known.zone if known else ""
