"""Machines that come back after they were set aside or had ended: kept out of the load balancer again, and told once.

    serves again without our doing -> out of the load balancer, isolated -> one that had ended, and is ours: ended again

A machine that was cut off never heard of its end: when the cut heals, it goes on beside its replacement. Called with
each inventory. One that somebody has only opened, and that serves nobody, is left to that person.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import incidents, plans, quarantine
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, Reading, holding
from supervisor.core.journal import WorkflowKind
from supervisor.core.machine import Machine, TargetHealth
from supervisor.core.model import Instance, Quarantine
from supervisor.core.terms import Lifecycle, Seconds

ENDS_AFTER: Seconds = 600.0
"""One that had ended once, and was launched by us, is announced to end again after this long."""


def fence(ctx: Context, fleet: Fleet, instance: Instance, machine: Machine) -> bool:
    """Keep one out of the load balancer that is set aside, and serves all the same; return whether it does."""
    if not _serves(machine) or fleet.policy.group:
        return False
    if instance.id in ctx.world.by_instance or _was_fenced_just_now(ctx, fleet, instance.id):
        return True
    where = incidents.place_of(instance)
    held = _holding(ctx, fleet, instance)
    if held:
        _tell(ctx, fleet, instance, f"{where} was set aside and serves again; it stays, for now: {held[0].sentence()}")
        return True
    fleet.fenced[instance.id] = ctx.now.boot
    kept = ctx.world.get(Quarantine, instance.id)
    plans.begin(ctx, fleet, WorkflowKind.FENCE, kept.incident if kept is not None else 0, patient=instance.id)
    _tell(ctx, fleet, instance, f"{where} was set aside and serves again: it is taken out and isolated once more")
    return True


def rise(ctx: Context, fleet: Fleet, known: Instance, machine: Machine) -> bool:
    """Take one back into the journal that had ended and serves again, set aside; return whether it was taken."""
    if not _serves(machine) or fleet.policy.group or _holding(ctx, fleet, known):
        return False
    instance = ctx.move(known, Lifecycle.QUARANTINED, slot=None)
    kept = quarantine.keep(ctx, fleet, instance.id, 0, "it came back after it had ended")
    if machine.tag("sickbay:launch-id"):
        ctx.world.put(replace(kept, expires_at=ctx.at(ENDS_AFTER)))
    ctx.audit("instance.returned", instance.id, reason="found running after it had ended", before=str(known.lifecycle))
    fleet.chart(instance.id).machine = machine
    return fence(ctx, fleet, instance, machine)


def _serves(machine: Machine) -> bool:
    """Return whether a machine is in the load balancer, and gets traffic there or is about to."""
    return machine.registered is True and machine.target in (TargetHealth.HEALTHY, TargetHealth.INITIAL)


def _holding(ctx: Context, fleet: Fleet, instance: Instance) -> tuple[Reading, ...]:
    """Return what holds the fence: room in the quarantine does not, it has or had its place there."""
    facts = facts_of(ctx, fleet, instance=instance)
    held = (*holding(Act.WITHDRAW, facts), *holding(Act.ISOLATE, facts))
    return tuple(reading for reading in held if reading.guard not in quarantine.ROOM)


def _was_fenced_just_now(ctx: Context, fleet: Fleet, name: str) -> bool:
    """Return whether the cloud's list may still lag behind the last fence."""
    return ctx.now.boot - fleet.fenced.get(name, float("-inf")) < ctx.settings.judgement.vanished_after


def _tell(ctx: Context, fleet: Fleet, instance: Instance, text: str) -> None:
    key = f"zombie:{instance.id}"
    if key not in fleet.reported:
        fleet.reported.add(key)
        ctx.say("instance.zombie", text, fleet.policy.name)
