"""An incident on a card: what a person on a phone at 3 a.m. must see first, the same in chat, on the page, in a terminal.

Pure values of the present state. A surface only dresses them; it adds no judgement of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from supervisor.core import capacity, choices, troubles
from supervisor.core.context import Context
from supervisor.core.duration import words
from supervisor.core.facts import facts_of
from supervisor.core.guards import Act, read
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance, Quarantine, Resolution
from supervisor.core.signals import Choice
from supervisor.core.terms import Cause, FleetState, Mode, Seconds
from supervisor.core.text import clean, percent
from supervisor.core.verdict import how_sure


class Tone(StrEnum):
    """How a card should feel."""

    TROUBLE = "trouble"  # something is wrong, and it is being looked into
    ACTING = "acting"
    HELD = "held"  # a guard keeps us from acting
    HUMAN = "human"  # needs a human
    RESTORED = "restored"  # service is restored, tidying up goes on
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Card:
    """One incident in short.

    `headline` says what, where, what is being done and how bad it is; a reader needs no second line. `held` are the
    guards with value and threshold; `ask` is what a person may do now; `facts` are pairs of label and value.
    `choices` are what a surface with buttons may offer about this `version` of the incident and its `instance`.
    """

    incident: int
    fleet: str
    tone: Tone
    headline: str
    cause: str
    impact: str
    held: tuple[str, ...]
    ask: str
    facts: tuple[tuple[str, str], ...]
    opened_at: datetime
    closed_at: datetime | None
    instance: str = ""
    version: int = 0
    choices: tuple[Choice, ...] = ()


NEEDS_HUMAN = "needs a human: "
WRONG = {IncidentKind.SICK: "is sick", IncidentKind.VANISHED: "has vanished"}
SEEMS_AFTER: Seconds = 10.0
"""A trouble seems past after so long a calm, and not before: the cloud tells of an outage before a check can fail."""
NEARLY_SURE = 0.99
"""A verdict on one machine that is this sure says nothing new."""
HEALED = {
    Cause.INSTANCE: "each is judged for itself",
    Cause.COHORT: "they are healed one after the other",
    Cause.IMAGE: "they are healed from the last known good image",
}
"""What is done about a shared trouble, where anything is; else its machines are not at fault, and stay."""
GERUND = {
    "replace": "replacing it",
    "restart": "restarting it",
    "quarantine": "setting it aside",
    WorkflowKind.RETURN: "putting it back into the load balancer",
    WorkflowKind.RELEASE: "bringing it back from quarantine",
    WorkflowKind.WITHDRAW: "taking it out of the load balancer",
    WorkflowKind.STOP: "stopping it",
    WorkflowKind.PURGE: "ending its quarantine",
    WorkflowKind.KEEP: "keeping it after all",
    WorkflowKind.FENCE: "keeping it out of the load balancer",
    WorkflowKind.SWEEP: "deleting what was left behind",
}
ASIDE = (WorkflowKind.WITHDRAW, WorkflowKind.STOP, WorkflowKind.PURGE, WorkflowKind.KEEP, WorkflowKind.FENCE)
"""What is done on the side, and stands on the card only when nothing else is done."""


def card(ctx: Context, incident: Incident) -> Card:
    """Return the card of an incident as it stands now."""
    tone = _tone(ctx, incident)
    impact = _impact(ctx, incident.fleet)
    cause = _cause(ctx, incident)
    wrong = f" {WRONG[incident.kind]}" if incident.kind in WRONG else f": {incident.cause}"
    match tone:
        case Tone.RESTORED | Tone.CLOSED:
            headline = _end(incident)
        case _ if incident.kind is IncidentKind.SHARED:
            wrong = _in_short(cause)
            headline = f"{incident.fleet} {wrong}{_sure(incident)} — {impact} — {_now(ctx, incident, tone)}"
        case _:
            headline = f"{_where(ctx, incident)}{wrong} — {impact} — {_now(ctx, incident, tone)}"
    return Card(
        incident=incident.id,
        fleet=incident.fleet,
        tone=tone,
        headline=clean(headline),
        cause=clean(cause),
        impact=impact,
        held=tuple(clean(why) for why in (_why_human(incident) if tone is Tone.HUMAN else _held_now(ctx, incident))),
        ask=_ask(ctx, incident, tone),
        facts=tuple(_facts(ctx, incident)),
        opened_at=incident.opened_at,
        closed_at=incident.closed_at,
        instance=incident.instance,
        version=incident.version,
        choices=choices.offered(ctx, incident),
    )


def _held_now(ctx: Context, incident: Incident) -> tuple[str, ...]:
    """Return what holds an incident, with this moment's values; a guard that can't be read afresh keeps its words."""
    fleet = ctx.fleets.get(incident.fleet)
    if fleet is None or not incident.held:
        return incident.held_why
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    facts = facts_of(ctx, fleet, instance=instance, incident=incident)
    # The first act's reading counts where several acts know a guard.
    fresh = {r.guard: r.sentence() for act in reversed(Act) for r in read(act, facts) if r.holds}
    said = dict(zip(incident.held, incident.held_why, strict=False))
    return tuple(fresh.get(guard, said.get(guard, guard)) for guard in incident.held)


def _tone(ctx: Context, incident: Incident) -> Tone:
    match incident.state:
        case IncidentState.CLOSED:
            return Tone.CLOSED
        case IncidentState.RESOLVED:
            return Tone.RESTORED
        case IncidentState.ESCALATED:
            return Tone.HUMAN
        case IncidentState.OPEN:
            if incident.fleet not in ctx.fleets:
                return Tone.TROUBLE
            if incident.held or (incident.kind is IncidentKind.SHARED and incident.verdict not in HEALED):
                return Tone.HELD
            return Tone.ACTING if _workflows(ctx, incident) else Tone.TROUBLE


def _workflows(ctx: Context, incident: Incident) -> list[Workflow]:
    running = [ctx.world.need(Workflow, number) for number in sorted(ctx.world.running[incident.fleet])]
    ours = [w for w in running if w.incident == incident.id]
    return sorted(ours, key=lambda w: w.kind in ASIDE)


def _where(ctx: Context, incident: Incident) -> str:
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    if instance is None:
        return " ".join(part for part in (incident.fleet, incident.instance) if part)
    return f"{instance.fleet} {instance.id} (zone {instance.zone})"


def _impact(ctx: Context, name: str) -> str:
    fleet = ctx.fleets.get(name)
    if fleet is None:
        return f"{name} is no longer configured"
    if fleet.state is None:
        return f"not yet known how many of {fleet.policy.desired} serve"  # just started: unknown is not down
    if ctx.sight.blind:
        return f"unseen now, {fleet.state.upper()} when last seen"
    suspect = f", {len(fleet.suspects)} suspect" if fleet.suspects else ""  # they may serve, and count for the state
    if fleet.state is FleetState.DEGRADED and fleet.serving >= fleet.policy.desired and not fleet.suspects:
        return f"DEGRADED until this is over, {capacity.words(fleet.serving, fleet.policy.desired)}"
    return f"{fleet.state.upper()}, {capacity.words(fleet.serving, fleet.policy.desired)}{suspect}"


def _now(ctx: Context, incident: Incident, tone: Tone) -> str:
    """Say what is being done."""
    match tone:
        case Tone.HUMAN:
            return "needs a human"
        case _ if incident.kind is IncidentKind.SHARED:
            return _meanwhile(ctx, incident)
        case Tone.HELD:
            held = _held_now(ctx, incident)
            more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
            return f"nothing is done, {held[0] if held else 'a guard holds'}{more}"
        case Tone.ACTING:
            return _doing(_workflows(ctx, incident))
        case _:
            return "deciding" if incident.fleet in ctx.fleets else "left alone"


def _meanwhile(ctx: Context, incident: Incident) -> str:
    """Say what a shared trouble means for its machines, and what is done elsewhere."""
    if incident.fleet not in ctx.fleets:
        return "left alone"
    calm = ctx.fleets[incident.fleet].shared_calm
    if calm is not None and ctx.now.boot - calm >= SEEMS_AFTER:
        return f"seems past, and is over after {words(troubles.quiet_for(incident, ctx.settings.guards))} of that"
    running = [ctx.world.need(Workflow, number) for number in sorted(ctx.world.running[incident.fleet])]
    launched = [w for w in running if not w.patient]
    elsewhere = f", {len(launched)} launched elsewhere" if launched else ""
    return f"{HEALED.get(incident.verdict, 'nothing is removed')}{elsewhere}"


def _cause(ctx: Context, incident: Incident) -> str:
    """Return what is wrong: of a shared trouble that stands, as it is now, for it was told when it began."""
    fleet = ctx.fleets.get(incident.fleet)
    if fleet is None or incident.kind is not IncidentKind.SHARED or incident.state is not IncidentState.OPEN:
        return incident.cause
    verdict = fleet.verdict
    same = verdict.cause is incident.verdict and verdict.words == incident.about
    return verdict.sentence if same and verdict.sentence else incident.cause


def _in_short(cause: str) -> str:
    """Return a cause with how sure it is, and without the evidence that follows: that is told below."""
    said, _, evidence = cause.partition("; ")
    return f"{said})" if evidence and said.count("(") > said.count(")") else cause


def _sure(incident: Incident) -> str:
    """Say how sure a verdict is, where its own sentence does not."""
    said = how_sure(incident.verdict, incident.cause, incident.sure) if incident.sure else ""
    return f" ({said})" if said else ""


def _doing(found: list[Workflow]) -> str:
    first = found[0]
    step = first.step
    place = (
        f"{step.name if step else 'finishing'}, step {min(first.position + 1, len(first.plan))} of {len(first.plan)}"
    )
    if not first.patient:
        return f"launching {sum(1 for w in found if not w.patient)} ({place})"
    return f"{GERUND.get(first.remediation or first.kind, first.remediation or str(first.kind))} ({place})"


def _end(incident: Incident) -> str:
    who = f"{incident.fleet} {incident.about or incident.instance}".strip()
    if incident.resolution is Resolution.REPLACED and not incident.replacement:
        return f"{who}: its place is filled again"
    return {
        Resolution.NONE: f"{who}: over",
        Resolution.REPLACED: f"{who} was replaced by {incident.replacement}",
        Resolution.RESTARTED: f"{who} was restarted and is well",
        Resolution.SET_ASIDE: f"{who} was set aside",
        Resolution.FILLED: f"{who} is complete again",
        Resolution.RECOVERED: f"{who} recovered by itself",
        Resolution.RELEASED: f"{who} was let go by an operator",
    }[incident.resolution]


def _ask(ctx: Context, incident: Incident, tone: Tone) -> str:
    fleet = ctx.fleets.get(incident.fleet)
    if tone is Tone.HELD and "mode" in incident.held and fleet is not None and ctx.mode_of(fleet) is Mode.APPROVE:
        return f"sickbay approve {incident.id}"
    if incident.kind is IncidentKind.SHARED and tone in (Tone.HELD, Tone.HUMAN):
        return f"sickbay explain {incident.fleet}"
    if tone is not Tone.HUMAN:
        return ""
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    stuck = sorted(ctx.world.stuck_slots[incident.fleet]) if not incident.instance else []
    slot = instance.slot if instance is not None else stuck[0] if stuck else None
    if fleet is None or slot is None or fleet.policy.group:
        return f"sickbay incidents {incident.id}"
    return f"sickbay retry {incident.fleet} {slot}"


def _why_human(incident: Incident) -> tuple[str, ...]:
    """Return why a human is asked for, from the story."""
    told = (n.text.removeprefix(NEEDS_HUMAN) for n in reversed(incident.notes) if n.text.startswith(NEEDS_HUMAN))
    return tuple(islice(told, 1))


def course(incident: Incident) -> tuple[list[tuple[str, str]], str]:
    """Return how long it took until a trouble was detected, and until it was over where it is; and from when on."""
    if incident.kind is IncidentKind.MISSING:  # what is missing is missing at once
        found, start = [], "it was noticed"
    else:
        detected = words((incident.opened_at - incident.suspected_at).total_seconds())
        found, start = [("Detected", detected)], "the first sign"
    if incident.resolved_at is not None:
        found.append(("Recovered", words((incident.resolved_at - incident.suspected_at).total_seconds())))
    return found, start


def _facts(ctx: Context, incident: Incident) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if incident.verdict is Cause.UNEXPLAINED:  # what is the likeliest is not likely enough to be called a verdict
        found.append(("Verdict", "none yet"))
    elif incident.kind is IncidentKind.SHARED:
        found.append(("Verdict", f"{incident.about or incident.verdict}, {percent(incident.sure)} sure"))
    elif 0.0 < incident.sure < NEARLY_SURE:
        found.append(("Its own fault", f"{percent(incident.sure)} sure"))
    times, start = course(incident)
    found += [(label, f"{lasted} after {start}") for label, lasted in times]
    if incident.acknowledged_by:
        found.append(("Acknowledged", f"by {incident.acknowledged_by}"))
    if incident.replacement:
        found.append(("Replaced by", incident.replacement))
    fleet = ctx.fleets.get(incident.fleet)
    chart = fleet.charts.get(incident.instance) if fleet is not None else None
    if chart is not None and chart.machine is not None and incident.state is not IncidentState.CLOSED:
        said = [f"status check fails: {chart.machine.impaired}"] if chart.machine.impaired else []
        said += chart.machine.notices
        if said:
            found.append(("The cloud says", "; ".join(said)))
    kept = ctx.world.get(Quarantine, incident.instance) if incident.instance else None
    if kept is not None and kept.incident == incident.id:
        until = f"until {kept.expires_at:%Y-%m-%d %H:%M} UTC" if kept.ended_at is None else kept.ended_by or "ended"
        found.append(("Kept", f"{kept.instance}, {until}"))
    return found
