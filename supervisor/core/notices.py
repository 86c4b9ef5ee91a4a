"""What a cloud says of a machine by its own motion: status checks that fail, announcements, a reclaim. Told once each.

Such a word alone condemns nobody while our own checks pass. Called with each machine of an inventory.
"""

from __future__ import annotations

from supervisor.core import incidents
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.machine import Machine
from supervisor.core.model import Instance

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
        if key not in fleet.reported:
            fleet.reported.add(key)
            ctx.say("instance.notice", f"{where}: the cloud announces: {notice}", name)


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
