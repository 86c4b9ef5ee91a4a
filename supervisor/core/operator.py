"""What operators may ask: each verb checks what it finds, changes records, and answers in one sentence.

The name of the actor, the way they came and their reason go into the audit log in the same commit.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import choices, plans, quarantine
from supervisor.core.concern import concern
from supervisor.core.context import KILL_SWITCH, Context
from supervisor.core.duration import words
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.model import (
    Approval,
    Change,
    Holder,
    Image,
    Incident,
    IncidentState,
    Instance,
    Permit,
    Quarantine,
    Slot,
)
from supervisor.core.signals import (
    Acknowledge,
    Allow,
    Approve,
    Hold,
    KillSwitchSeen,
    OperatorAsked,
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
from supervisor.core.terms import Lifecycle, Mode, Standing
from supervisor.errors import OperatorError

LONGEST = 3650 * 86400.0  # seconds that anything may be asked for
MOST_ALLOWED = 86400.0  # seconds that removals may be allowed for


def asked(ctx: Context, signal: OperatorAsked) -> str:
    """Carry out one request; return the sentence for the operator. Raises `OperatorError`."""
    verb = signal.verb
    incident = choices.seen_incident(ctx, signal.seen) if signal.seen is not None else None
    before = concern(ctx, verb)
    lasts = verb.seconds if isinstance(verb, Pause | Hold) else None
    if lasts is not None and not 0 < lasts <= LONGEST:
        raise OperatorError(f"{lasts:g} seconds is no time to ask for; expected more than 0, and at most ten years")
    match verb:
        case Pause():
            text = _pause(ctx, signal, verb)
        case Resume():
            text = _resume(ctx, signal, verb)
        case Hold():
            text = _hold(ctx, signal, verb)
        case Unhold():
            text = _unhold(ctx, signal, verb)
        case Approve() | Reject():
            text = _approve(ctx, signal, verb)
        case Acknowledge():
            text = _acknowledge(ctx, signal, verb)
        case ReleaseFromQuarantine():
            text = _release(ctx, signal, verb)
        case Purge():
            text = _purge(ctx, signal, verb)
        case Retry():
            text = _retry(ctx, signal, verb)
        case Promote():
            text = _promote(ctx, signal, verb)
        case TellChange():
            text = _tell_change(ctx, signal, verb)
        case Allow():
            text = _allow(ctx, signal, verb)
    if incident is not None and isinstance(verb, Pause):  # the other choices tell it there by themselves
        ctx.note(incident, "incident.note", f"{signal.actor} paused all acting{_why(signal)}")
    target = (
        getattr(verb, "instance", "")
        or getattr(verb, "target", "")
        or getattr(verb, "fleet", "")
        or getattr(verb, "name", "")
        or str(getattr(verb, "incident", ""))
    )
    ctx.audit(
        f"operator.{type(verb).__name__.lower()}",
        target,
        actor=signal.actor,
        via=signal.via,
        reason=signal.reason,
        before=before,
        after=concern(ctx, verb),
    )
    for fleet in ctx.fleets.values():
        fleet.dirty = True
    return text


def kill_switch(ctx: Context, signal: KillSwitchSeen) -> None:
    """Take the pause file for what it is: one more holder."""
    holder = ctx.world.get(Holder, KILL_SWITCH)
    if signal.present and holder is None:
        ctx.world.put(Holder(KILL_SWITCH, signal.reason or "the pause file exists", "file", ctx.now.wall))
        ctx.audit("pause.begun", KILL_SWITCH, actor="file", via="pause file", before="not paused", after="paused")
        ctx.say("pause.begun", "paused: the pause file exists")
    elif not signal.present and holder is not None:
        ctx.world.delete(holder)
        ctx.audit("pause.ended", KILL_SWITCH, actor="file", via="pause file", before="paused", after="not paused")
        ctx.say("pause.ended", "the pause file is gone")
    for fleet in ctx.fleets.values():
        fleet.dirty = True


def expire_holders(ctx: Context) -> None:
    """End the pauses whose time is over."""
    for holder in list(ctx.world.all(Holder)):
        if holder.until is not None and holder.until <= ctx.now.wall:
            ctx.world.delete(holder)
            ctx.say("pause.ended", f"the pause of {holder.name} is over")
            for fleet in ctx.fleets.values():
                fleet.dirty = True


def _pause(ctx: Context, signal: OperatorAsked, verb: Pause) -> str:
    if verb.name == KILL_SWITCH:
        raise OperatorError(f"the name '{KILL_SWITCH}' belongs to the pause file; choose another one")
    until = None if verb.seconds is None else ctx.at(verb.seconds)
    ctx.world.put(Holder(verb.name, signal.reason, signal.actor, ctx.now.wall, until))
    end = "until resumed" if until is None else f"until {until:%Y-%m-%d %H:%M:%S} UTC"
    ctx.say("pause.begun", f"{verb.name} pauses all acting {end}{_why(signal)}")
    return f"paused by {verb.name} {end}; nothing is touched meanwhile"


def _resume(ctx: Context, signal: OperatorAsked, verb: Resume) -> str:
    if verb.name == KILL_SWITCH:
        raise OperatorError("this pause comes from the pause file; delete the file to resume")
    holder = ctx.world.get(Holder, verb.name)
    if holder is None:
        names = ", ".join(h.name for h in ctx.world.all(Holder)) or "nobody"
        raise OperatorError(f"no pause by '{verb.name}' was found; pausing now: {names}")
    ctx.world.delete(holder)
    left = [h.name for h in ctx.world.all(Holder)]
    ctx.say("pause.ended", f"{signal.actor} ended the pause of {verb.name}")
    return "resumed" if not left else f"the pause of {verb.name} is over; still paused by {', '.join(left)}"


def _why(signal: OperatorAsked) -> str:
    return f": {signal.reason}" if signal.reason else ""


def _instance(ctx: Context, name: str) -> Instance:
    instance = ctx.world.get(Instance, name)
    if instance is None:
        raise OperatorError(f"no instance '{name}' is known; `sickbay status` lists them")
    return instance


def _fleet(ctx: Context, name: str) -> Fleet:
    fleet = ctx.fleets.get(name)
    if fleet is None:
        known = ", ".join(sorted(ctx.fleets)) or "none"
        raise OperatorError(f"no fleet '{name}' is configured; known: {known}")
    return fleet


def _hold(ctx: Context, signal: OperatorAsked, verb: Hold) -> str:
    instance = _instance(ctx, verb.instance)
    until = ctx.at(verb.seconds if verb.seconds is not None else ctx.settings.guards.hold_for)
    ctx.world.put(replace(instance, held_until=until, held_by=signal.actor, hold_reason=signal.reason))
    kept = instance.lifecycle in (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED)
    effect = "it is kept, and not purged meanwhile" if kept else "it is watched, not touched"
    text = f"{instance.id} is held by {signal.actor} until {until:%H:%M} UTC{_why(signal)}"
    _tell_of(ctx, instance, "hold.begun", text)
    return f"{instance.id} is held until {until:%Y-%m-%d %H:%M:%S} UTC; {effect}"


def _unhold(ctx: Context, signal: OperatorAsked, verb: Unhold) -> str:
    instance = _instance(ctx, verb.instance)
    if instance.held_until is None:
        raise OperatorError(f"{instance.id} is not held; for a quarantined machine use `sickbay quarantine release`")
    ctx.world.put(replace(instance, held_until=None, held_by="", hold_reason=""))
    _tell_of(ctx, instance, "hold.ended", f"{signal.actor} ended the hold of {instance.id}")
    return f"{instance.id} is no longer held"


def _tell_of(ctx: Context, instance: Instance, kind: str, text: str) -> None:
    """Tell of a machine: in the story of its open incident, if it has one."""
    incident = ctx.world.incident_of(instance.fleet, instance.id)
    if incident is not None:
        ctx.note(incident, kind, text)
    else:
        ctx.say(kind, text, instance.fleet)


def _acknowledge(ctx: Context, signal: OperatorAsked, verb: Acknowledge) -> str:
    incident = ctx.world.get(Incident, verb.incident)
    if incident is None or incident.state is IncidentState.CLOSED:
        raise OperatorError(f"no open incident {verb.incident} was found; `sickbay incidents` lists them")
    if incident.acknowledged_by:
        raise OperatorError(f"incident {incident.id} is already acknowledged by {incident.acknowledged_by}")
    incident = ctx.world.put(replace(incident, acknowledged_by=signal.actor))
    ctx.note(incident, "incident.acknowledged", f"{signal.actor} is looking into it{_why(signal)}")
    return f"incident {incident.id} is acknowledged"


def _approve(ctx: Context, signal: OperatorAsked, verb: Approve | Reject) -> str:
    incident = ctx.world.get(Incident, verb.incident)
    if incident is None or incident.state is IncidentState.CLOSED:
        raise OperatorError(f"no open incident {verb.incident} was found; `sickbay incidents` lists them")
    if verb.version is not None and verb.version != incident.version:
        raise OperatorError(
            f"incident {incident.id} has changed: you saw version {verb.version}, it is at {incident.version}; look again"
        )
    _refuse_idle_word(ctx, incident)
    granted = isinstance(verb, Approve)
    until = ctx.at(ctx.settings.guards.approval_valid)
    approval = Approval(signal.actor, ctx.now.wall, until, granted)
    incident = ctx.world.put(replace(incident, approval=approval))
    word = "approves" if granted else "rejects"
    ctx.note(incident, f"incident.{'approved' if granted else 'rejected'}", f"{signal.actor} {word}{_why(signal)}")
    return f"incident {incident.id}: {'approved' if granted else 'rejected'}, valid until {until:%H:%M:%S} UTC"


def _refuse_idle_word(ctx: Context, incident: Incident) -> None:
    """Only mode approve asks for a word; elsewhere it would be taken, and change nothing."""
    fleet = _fleet(ctx, incident.fleet)
    mode = ctx.mode_of(fleet)
    if mode is Mode.APPROVE:
        return
    way = f"`sickbay hold {incident.instance or 'INSTANCE'}` keeps a machine untouched"
    if mode is Mode.OBSERVE:
        way = 'nothing is done before `mode` is "approve" or "auto"'
    raise OperatorError(f"{incident.fleet} is in mode {mode}, where incident {incident.id} waits for no word; {way}")


def _kept(ctx: Context, name: str) -> tuple[Instance, Quarantine, Fleet]:
    instance = _instance(ctx, name)
    kept = ctx.world.get(Quarantine, name)
    if kept is None or kept.ended_at is not None:
        raise OperatorError(
            f"{name} is not in quarantine ({instance.lifecycle}); `sickbay quarantine list` shows who is"
        )
    running = ctx.world.workflow_of(name)
    if running is not None and not quarantine.is_lapsing(running):
        raise OperatorError(f"{name} is busy: {running.kind} is under way; wait for it to end")
    if ctx.holders:
        raise OperatorError(f"all acting is paused by {', '.join(ctx.holders)}; resume first")
    return instance, kept, _fleet(ctx, instance.fleet)


def _release(ctx: Context, signal: OperatorAsked, verb: ReleaseFromQuarantine) -> str:
    instance, kept, fleet = _kept(ctx, verb.instance)
    if instance.lifecycle is not Lifecycle.QUARANTINED:
        raise OperatorError(f"{instance.id} never served ({instance.lifecycle}); purge it instead")
    ctx.say(
        "quarantine.release",
        f"{signal.actor} brings {instance.id} back from quarantine{_why(signal)}",
        fleet.policy.name,
    )
    quarantine.outrank(ctx, fleet, instance.id, signal.actor)
    plans.begin(ctx, fleet, WorkflowKind.RELEASE, kept.incident, patient=instance.id, actor=signal.actor)
    return f"{instance.id} is released; it serves again once it has passed its startup checks"


def _purge(ctx: Context, signal: OperatorAsked, verb: Purge) -> str:
    instance, kept, fleet = _kept(ctx, verb.instance)
    if instance.held_until is not None and instance.held_until > ctx.now.wall:
        raise OperatorError(
            f"{instance.id} is held by {instance.held_by}; `sickbay release {instance.id}` ends the hold"
        )
    if written := ctx.hold_on(instance):
        raise OperatorError(f"{instance.id} is {written}; it can be purged when that is taken away")
    ctx.say("quarantine.purge", f"{signal.actor} has {instance.id} destroyed{_why(signal)}", fleet.policy.name)
    quarantine.outrank(ctx, fleet, instance.id, signal.actor)
    plans.begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=instance.id, actor=signal.actor)
    return f"{instance.id} is being destroyed"


def _retry(ctx: Context, signal: OperatorAsked, verb: Retry) -> str:
    fleet = _fleet(ctx, verb.fleet)
    slot = ctx.world.get(Slot, verb.fleet, verb.slot)
    if slot is None:
        raise OperatorError(f"{verb.fleet} has no slot {verb.slot}; it has 0 to {fleet.policy.desired - 1}")
    ctx.world.put(replace(slot, needs_human="", failures=0, lineage=(), retry_at=None))
    fleet.last_launch_failure = None
    for number in sorted(ctx.world.open_of[verb.fleet]):
        incident = ctx.world.need(Incident, number)
        instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
        same = incident.instance == "" or (instance is not None and instance.slot == verb.slot)
        if incident.state is IncidentState.ESCALATED and same:
            incident = replace(incident, state=IncidentState.OPEN, rung=0, version=incident.version + 1)
            ctx.note(ctx.world.put(incident), "incident.note", f"{signal.actor} lets slot {slot.number} try again")
    return f"slot {verb.slot} of {verb.fleet} may launch again"


def _promote(ctx: Context, signal: OperatorAsked, verb: Promote) -> str:
    fleet = _fleet(ctx, verb.fleet)
    if any(ctx.world.need(Workflow, n) for n in ctx.world.running[verb.fleet]):
        raise OperatorError(f"{verb.fleet} is busy healing; promote when no workflow is under way")
    known = ctx.world.get(Image, verb.fleet, fleet.policy.image)
    condemned = known is not None and known.standing is Standing.CONDEMNED
    if known is not None and condemned and not verb.absolve:
        raise OperatorError(
            f"image {known.id} ({fleet.policy.version}) is condemned: {known.standing_why}; configure another one, or "
            f"`sickbay promote {verb.fleet} --absolve` if it was not at fault"
        )
    for image in list(ctx.world.all(Image)):
        if image.fleet == verb.fleet and image.last_known_good:
            ctx.world.put(replace(image, last_known_good=False))
    if known is not None and condemned:
        before, after = str(known.standing), str(Standing.GOOD)
        ctx.audit(
            "image.absolved",
            known.id,
            actor=signal.actor,
            via=signal.via,
            reason=signal.reason,
            before=before,
            after=after,
        )
        known = replace(known, standing=Standing.GOOD, standing_why="")
    image = known or Image(verb.fleet, fleet.policy.image, fleet.policy.version, False, ctx.now.wall)
    ctx.world.put(replace(image, last_known_good=True, version=fleet.policy.version))
    told = f"{verb.fleet} heals from image {image.id} ({fleet.policy.version}) from now on, says {signal.actor}"
    ctx.say("image.promoted", f"{told}{_why(signal)}", verb.fleet)
    return f"{verb.fleet} now heals from image {image.id} ({fleet.policy.version})"


def _tell_change(ctx: Context, signal: OperatorAsked, verb: TellChange) -> str:
    if not verb.target.strip():
        raise OperatorError("the target is empty; name what was changed, such as a check, a dependency or a zone")
    if verb.fleet:
        _fleet(ctx, verb.fleet)
    change = ctx.world.put(
        Change(ctx.world.next_id(), ctx.now.wall, verb.kind, verb.target, verb.text, signal.actor, verb.fleet)
    )
    return f"noted change {change.id}: {change.kind} {change.target}; what breaks soon after is likelier to come of it"


def _allow(ctx: Context, signal: OperatorAsked, verb: Allow) -> str:
    fleet = _fleet(ctx, verb.fleet)
    if verb.removals < 1:
        raise OperatorError(f"{verb.removals} removals is nothing to allow; expected at least 1")
    if not 0 < verb.seconds <= MOST_ALLOWED:
        raise OperatorError(f"{words(verb.seconds)} is no time to allow it for; expected up to {words(MOST_ALLOWED)}")
    until = ctx.at(verb.seconds)
    ctx.world.put(Permit(verb.fleet, verb.removals, signal.actor, signal.reason, ctx.now.wall, until))
    told = f"{signal.actor} allows {verb.removals} removals until {until:%H:%M} UTC{_why(signal)}"
    ctx.say("permit.begun", f"{fleet.policy.name}: {told}", verb.fleet)
    return f"{verb.fleet}: {verb.removals} removals are allowed until {until:%Y-%m-%d %H:%M:%S} UTC"
