"""What a person may choose about an incident now, as it is offered beside its card; and what to say when it is too late.

A choice is a verb with its arguments filled in. It counts only while the card still offers it: between a message on a
phone and a thumb there may be minutes.
"""

from __future__ import annotations

from datetime import datetime

from supervisor.core.context import Context
from supervisor.core.model import Incident, IncidentState, Instance
from supervisor.core.signals import (
    Acknowledge,
    Approve,
    Choice,
    Hold,
    OperatorVerb,
    Pause,
    Reject,
    Seen,
    Unhold,
)
from supervisor.core.terms import Lifecycle, Mode, Seconds
from supervisor.errors import OperatorError

HELD_FOR: Seconds = 7200.0
PAUSED_FOR: Seconds = 1800.0
LEFT = (Lifecycle.RETIRING, Lifecycle.RETIRED)


def offered(ctx: Context, incident: Incident) -> tuple[Choice, ...]:
    """Return what makes sense now, in the order of the buttons; nothing for an incident that is over."""
    if incident.state is IncidentState.CLOSED or incident.fleet not in ctx.fleets:
        return ()
    found: list[Choice] = []
    if incident.resolved_at is None and not incident.acknowledged_by:
        found.append(Choice.ACKNOWLEDGE)
    if _waits_for_a_word(ctx, incident):
        word = _word(ctx, incident)
        found += [choice for choice in (Choice.APPROVE, Choice.REJECT) if choice is not word]
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    if instance is not None and instance.lifecycle not in LEFT:
        found.append(Choice.RELEASE if _is_held(ctx, instance) else Choice.HOLD)
    if not ctx.holders:
        found.append(Choice.PAUSE)
    return tuple(found)


def verb_of(choice: Choice, seen: Seen, instance: str, holder: str) -> OperatorVerb:
    """Return the verb that a choice stands for; `holder` is the name of a pause."""
    match choice:
        case Choice.ACKNOWLEDGE:
            return Acknowledge(seen.incident)
        case Choice.APPROVE:
            return Approve(seen.incident, seen.version)
        case Choice.REJECT:
            return Reject(seen.incident, seen.version)
        case Choice.HOLD:
            return Hold(instance, HELD_FOR)
        case Choice.RELEASE:
            return Unhold(instance)
        case Choice.PAUSE:
            return Pause(holder, PAUSED_FOR)


def seen_incident(ctx: Context, seen: Seen) -> Incident:
    """Return the incident that a person chose about, if the choice is still offered. Raises `OperatorError`."""
    if seen.supervisor != ctx.world.identity.uid:
        raise OperatorError("this message is of another state file, and nothing in it counts any more")
    incident = ctx.world.get(Incident, seen.incident)
    if incident is None:
        raise OperatorError(f"no incident {seen.incident} was found")
    if seen.choice not in offered(ctx, incident):
        raise OperatorError(f"nothing was done: {_already(ctx, incident, seen.choice)}")
    return incident


def _waits_for_a_word(ctx: Context, incident: Incident) -> bool:
    fleet = ctx.fleets[incident.fleet]
    return "mode" in incident.held and ctx.mode_of(fleet) is Mode.APPROVE


def _word(ctx: Context, incident: Incident) -> Choice | None:
    """Return the word that somebody has given, and that is still good."""
    word = incident.approval
    if word is None or word.expires_at <= ctx.now.wall:
        return None
    return Choice.APPROVE if word.granted else Choice.REJECT


def _is_held(ctx: Context, instance: Instance) -> bool:
    return instance.held_until is not None and instance.held_until > ctx.now.wall


def _already(ctx: Context, incident: Incident, choice: Choice) -> str:
    """Say what happened meanwhile."""
    name = f"incident {incident.id}"
    if incident.state is IncidentState.CLOSED:
        return f"{name} is already over, since {_clock(incident.closed_at)}"
    if incident.fleet not in ctx.fleets:
        return f"{name} is about {incident.fleet}, which is no longer configured"
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    match choice:
        case Choice.ACKNOWLEDGE if incident.acknowledged_by:
            return f"{name} is already acknowledged by {incident.acknowledged_by}"
        case Choice.ACKNOWLEDGE:
            return f"{name} is already resolved, since {_clock(incident.resolved_at)}"
        case Choice.APPROVE | Choice.REJECT:
            word = incident.approval
            if word is not None and word.expires_at > ctx.now.wall:
                return f"{name} is already {'approved' if word.granted else 'rejected'} by {word.actor}"
            return f"{name} has already moved on, and waits for no word"
        case Choice.HOLD | Choice.RELEASE:
            if instance is None or instance.lifecycle in LEFT:
                return f"{incident.instance or 'its machine'} is already gone"
            return f"{instance.id} is already {ctx.hold_on(instance) if choice is Choice.HOLD else 'released'}"
        case Choice.PAUSE:
            return f"all acting is already paused by {', '.join(ctx.holders)}"


def _clock(moment: datetime | None) -> str:
    return f"{moment:%H:%M:%S} UTC" if moment is not None else "a while ago"
