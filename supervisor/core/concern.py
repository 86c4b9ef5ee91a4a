"""What an operator's verb is about, in a few words: the audit log keeps it as it was before and as it was after."""

from __future__ import annotations

from datetime import datetime

from supervisor.core.context import Context
from supervisor.core.model import Change, Holder, Image, Incident, Instance, Permit, Slot
from supervisor.core.signals import (
    Acknowledge,
    Allow,
    Approve,
    Hold,
    OperatorVerb,
    Pause,
    Promote,
    Purge,
    Reject,
    ReleaseFromQuarantine,
    Resume,
    Retry,
    TellChange,
    Unhold,
)


def concern(ctx: Context, verb: OperatorVerb) -> str:
    """Return how what a verb is about stands now; '' for what is not there."""
    match verb:
        case Pause() | Resume():
            holder = ctx.world.get(Holder, verb.name)
            return f"paused {_until(holder.until)}" if holder else "not paused"
        case Hold() | Unhold():
            instance = ctx.world.get(Instance, verb.instance)
            held = instance is not None and instance.held_until is not None
            return f"held {_until(instance.held_until)}" if instance is not None and held else "not held"
        case Acknowledge():
            incident = ctx.world.get(Incident, verb.incident)
            return f"acknowledged by {incident.acknowledged_by}" if incident and incident.acknowledged_by else "no word"
        case Approve() | Reject():
            return _word(ctx.world.get(Incident, verb.incident))
        case ReleaseFromQuarantine() | Purge():
            return _lifecycle(ctx, verb.instance)
        case Retry():
            slot = ctx.world.get(Slot, verb.fleet, verb.slot)
            return "" if slot is None else slot.needs_human or "may launch"
        case Promote():
            known = sorted(i.id for i in ctx.world.all(Image) if i.fleet == verb.fleet and i.last_known_good)
            return f"heals from {', '.join(known)}" if known else "heals from no image yet"
        case TellChange():
            same = [c.id for c in ctx.world.all(Change) if (c.kind, c.target) == (verb.kind, verb.target)]
            return f"change {max(same)}" if same else ""
        case Allow():
            permit = ctx.world.get(Permit, verb.fleet)
            return f"{permit.removals} removals {_until(permit.until)}" if permit else "no removals"


def _word(incident: Incident | None) -> str:
    if incident is None or incident.approval is None:
        return "no word"
    word = incident.approval
    return f"{'approved' if word.granted else 'rejected'} by {word.actor} {_until(word.expires_at)}"


def _lifecycle(ctx: Context, name: str) -> str:
    instance = ctx.world.get(Instance, name)
    running = ctx.world.workflow_of(name)
    return "" if instance is None else f"{instance.lifecycle}{f', {running.kind} under way' if running else ''}"


def _until(moment: datetime | None) -> str:
    return "until further notice" if moment is None else f"until {moment:%Y-%m-%d %H:%M:%S} UTC"
