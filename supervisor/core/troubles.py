"""The shared troubles that stand, read from the records: whom they cover, and which zones they impair, over all fleets.

Called when facts are collected for the guards and when a place for a new machine is chosen. It knows nothing of how a
trouble is found, told or ended: that is `shared`.
"""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.core.fleet import Fleet
from supervisor.core.model import Incident, Instance
from supervisor.core.population import ZONES
from supervisor.core.settings import Guards
from supervisor.core.sight import Sight
from supervisor.core.signals import Sense
from supervisor.core.terms import Cause, Seconds
from supervisor.core.world import World

PLACES = frozenset({Cause.ZONE, Cause.SUBNET})
"""Troubles of a place: they hold what is there, and nobody else."""
COVERING = PLACES | {Cause.DEPENDENCY, Cause.BLIND, Cause.FLEET}
"""Troubles that hold their machines until they have ended, even when the verdict has relaxed already."""


def of(world: World, fleet: str) -> Incident | None:
    """Return the shared trouble of a fleet that is not over; there is at most one."""
    number = min(world.shared[fleet], default=None)
    return None if number is None else world.need(Incident, number)


def value_of(trouble: Incident) -> str:
    """Return what it is about, without the label: the zone, the subnet, the check."""
    return trouble.about.partition(" ")[2]


def zones_of(trouble: Incident) -> tuple[str, ...]:
    """Return the zones that a trouble is about: one, several that are out at once, or none where it is about else."""
    if trouble.verdict is Cause.ZONE or trouble.about.startswith(f"{ZONES} "):
        return tuple(value_of(trouble).split(" and "))
    return ()


def impaired(world: World) -> dict[str, str]:
    """Return the zones where something is wrong, each with a sentence: what one fleet has found concerns all."""
    found: dict[str, str] = {}
    for name in sorted(world.shared):
        trouble = of(world, name)
        if trouble is not None:
            for zone in zones_of(trouble):
                found.setdefault(zone, f"zone {zone} is impaired, incident {trouble.id} of {name}")
    return found


def bad_zones(world: World, sight: Sight, fleet: Fleet) -> set[str]:
    """Return the zones where no new machine should be launched, as far as there are others.

    Those of a standing trouble, those whose own sentinel fails, and those where a subnet is cut off: a launch can't
    always say in which subnet it ends up.
    """
    found = impaired(world).keys() | sight.failing(Sense.ZONE).keys()
    trouble = of(world, fleet.policy.name)
    if trouble is not None and trouble.verdict is Cause.SUBNET:
        there = (world.get(Instance, name) for name in fleet.investigation.explained)
        found |= {instance.zone for instance in there if instance is not None}
    return found


def explained(world: World, fleet: Fleet, ill: Iterable[str]) -> frozenset[str]:
    """Return those of the ill whom the standing trouble of a place explains, while nothing else is suspected.

    They are held by it. The breaker counts the others: a zone that is out must not keep a crash elsewhere from being
    healed, and every machine beyond it is as suspicious as ever.
    """
    trouble = of(world, fleet.policy.name)
    if trouble is None or trouble.verdict not in PLACES or fleet.verdict.cause not in PLACES | {Cause.INSTANCE}:
        return frozenset()
    known = ((name, world.get(Instance, name)) for name in ill)
    return frozenset(
        n for n, instance in known if instance is not None and covering(world, fleet, instance) is not None
    )


def covering(world: World, fleet: Fleet, instance: Instance) -> Incident | None:
    """Return the trouble that an instance is part of, by what it is about."""
    trouble = of(world, instance.fleet)
    if trouble is None or trouble.verdict not in COVERING:
        return None
    value = value_of(trouble)
    if trouble.verdict is Cause.ZONE:
        return trouble if instance.zone == value else None
    if trouble.verdict is Cause.SUBNET:
        chart = fleet.charts.get(instance.id)
        labels = chart.labels if chart is not None else ()
        return trouble if any(found == value for _, found in labels) else None
    return trouble


def quiet_for(trouble: Incident, guards: Guards) -> Seconds:
    """Return for how long nothing must speak for a trouble until it is over."""
    return guards.zone_quiet if trouble.verdict in PLACES else guards.shared_quiet


def accuses_good_image(world: World, fleet: Fleet) -> bool:
    """Return whether the verdict accuses the very image that healing launches: then healing would spread the fault."""
    verdict = fleet.verdict
    if verdict.cause is not Cause.IMAGE:
        return False
    good = world.good_image(fleet.policy.name)
    return good is None or verdict.value in (good.id, good.version)
