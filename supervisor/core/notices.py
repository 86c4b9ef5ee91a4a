"""What a cloud says of a machine by its own motion: status checks that fail, announcements, a reclaim. Told once each.

Such a word alone condemns nobody while our own checks pass. Called with each machine of an inventory.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import incidents
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.machine import Machine
from supervisor.core.model import Instance
from supervisor.core.terms import SERVING

ANNOUNCED = "spot"
"""How a cloud begins its announcement that it will take a machine back within minutes."""
RECLAIMED = "Server.SpotInstance"
"""How a cloud begins its reason when it takes a machine back that it had lent for less."""


def hear(ctx: Context, fleet: Fleet, instance: Instance, last: Machine | None, machine: Machine) -> None:
    """Tell what is new since the last look; a spell of failing status checks once, and its end."""
    where, name = incidents.place_of(instance), fleet.policy.name
    before = last.impaired if last is not None else ""
    watched = fleet.chart(instance.id).observed  # what is set aside may well be impaired
    if watched and machine.impaired and not before:
        text = (
            f"{where}: the cloud's status check fails: {machine.impaired}; it is left alone while our own checks pass"
        )
        ctx.say("instance.impaired", text, name)
    elif watched and before and not machine.impaired:
        ctx.say("instance.unimpaired", f"{where}: the cloud's status check passes again", name)
    for notice in machine.notices:
        key = f"notice:{machine.id}:{notice}"
        if key in fleet.reported:
            continue
        fleet.reported.add(key)
        if _is_reclaim(notice) and _makes_place(ctx, fleet, instance):
            first = ctx.now.boot - fleet.reclaims_told > ctx.settings.guards.breaker_window
            fleet.reclaims_told = ctx.now.boot
            if first:
                text = f"{where}: the cloud announces: {notice}; another one is launched now, and so for others that follow"
                ctx.say("instance.notice", text, name)
        else:
            ctx.say("instance.notice", f"{where}: the cloud announces: {notice}", name)


def is_leaving(machine: Machine | None) -> bool:
    """Return whether the cloud has announced that it takes a machine back: how that one ends is no symptom."""
    return machine is not None and any(_is_reclaim(notice) for notice in machine.notices)


def _is_reclaim(notice: str) -> bool:
    return notice.startswith(ANNOUNCED)


def _makes_place(ctx: Context, fleet: Fleet, instance: Instance) -> bool:
    """Let a machine's slot be filled while it still serves; return whether it had one to give."""
    busy = instance.id in ctx.world.by_instance or (fleet.policy.name, instance.slot) in ctx.world.by_slot
    if fleet.policy.group or busy or instance.slot is None or instance.lifecycle not in SERVING:
        return False
    ctx.vacate(instance)
    ctx.world.put(replace(instance, slot=None))
    return True


def stopped(ctx: Context, fleet: Fleet, instance: Instance) -> None:
    """Tell that a user stopped a machine: once for all that they stop in the same while."""
    first = ctx.now.boot - fleet.stops_told > ctx.settings.guards.breaker_window
    fleet.stops_told = ctx.now.boot
    if first:
        text = f"{incidents.place_of(instance)} was stopped by a user: it is left alone, and so are others that follow"
        ctx.say("instance.stopped_by_user", f"{text}; `sickbay hold` says so for longer", fleet.policy.name)


def is_reclaimed(machine: Machine | None) -> bool:
    """Return whether the cloud took a machine back: nothing was wrong with it."""
    return machine is not None and machine.reason.startswith(RECLAIMED)


def reclaimed(ctx: Context, fleet: Fleet, instance: Instance, machine: Machine) -> None:
    """Tell that a machine was taken back; an incident that it has already goes on with its slot."""
    text = f"{incidents.place_of(instance)} was taken back by the cloud ({machine.reason}); its place is filled"
    known = ctx.world.incident_of(fleet.policy.name, instance.id)
    if known is not None:
        ctx.note(known, "incident.note", text)
    else:
        ctx.say("instance.reclaimed", text, fleet.policy.name)
