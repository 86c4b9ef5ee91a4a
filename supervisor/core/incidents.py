"""The story of each trouble: opening, holding, resolving, closing. People read these sentences at 3 a.m."""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import dossiers, troubles
from supervisor.core.cards import NEEDS_HUMAN, course
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Reading
from supervisor.core.health import first_sign
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance, Moment, Quarantine, Resolution
from supervisor.core.terms import Cause, Lifecycle, Mode, Role


def place_of(instance: Instance) -> str:
    """Name an instance the way people look for it."""
    return f"{instance.fleet} {instance.id} (zone {instance.zone})"


def open_sick(ctx: Context, fleet: Fleet, instance: Instance) -> Incident:
    """Open the incident of an instance that turned sick."""
    chart = fleet.chart(instance.id)
    first = first_sign(chart)
    suspected = ctx.now.wall if first is None else ctx.now.ago(first)
    fleet.turned_sick[instance.id] = ctx.now.boot
    cause = chart.finding.reason
    incident = _open(ctx, fleet, instance.id, IncidentKind.SICK, cause, suspected_seconds=ctx.since(suspected))
    accused = sorted(name for name, e in chart.checks.items() if e.fails > 0 and e.role is Role.LIVENESS)
    incident = ctx.world.put(replace(incident, accused=tuple(accused)))
    told = _told_already(ctx, fleet, instance)
    if told is not None:
        text = f"{place_of(instance)} is sick: {cause}; part of incident {told.id}: {told.about}"
        incident = ctx.note(incident, "incident.joined", text)
    else:
        incident = ctx.note(incident, "incident.opened", f"{place_of(instance)} is sick: {cause}")
    dossiers.begin(ctx, fleet, incident, Moment.OPENING)
    return incident


def _told_already(ctx: Context, fleet: Fleet, instance: Instance) -> Incident | None:
    """Return the shared trouble that has woken people for this machine already: it need not wake them again."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if trouble is None:
        return None
    own = fleet.verdict_on(instance.id).cause
    return trouble if own is trouble.verdict or trouble.verdict is Cause.UNEXPLAINED else None


def open_vanished(ctx: Context, fleet: Fleet, instance: Instance) -> Incident:
    """Open (or take over) the incident of an instance that is no longer in the cloud's list."""
    known = ctx.world.incident_of(fleet.policy.name, instance.id)
    cause = "its machine is no longer in the cloud's list"
    if known is not None:
        return ctx.note(known, "incident.note", f"{place_of(instance)}: {cause}")
    chart = fleet.charts.get(instance.id)
    waited = 0.0 if chart is None or chart.absent_since is None else ctx.now.boot - chart.absent_since
    incident = _open(ctx, fleet, instance.id, IncidentKind.VANISHED, cause, suspected_seconds=waited)
    incident = ctx.note(incident, "incident.opened", f"{place_of(instance)} has vanished: {cause}")
    dossiers.begin(ctx, fleet, incident, Moment.OPENING)
    return incident


def open_missing(ctx: Context, fleet: Fleet, missing: int) -> Incident:
    """Open (or return) the fleet's incident of missing machines."""
    known = ctx.world.incident_of(fleet.policy.name, "")
    if known is not None:
        return known
    cause = f"{missing} of {fleet.policy.desired} machines {'is' if missing == 1 else 'are'} missing"
    incident = _open(ctx, fleet, "", IncidentKind.MISSING, cause, suspected_seconds=0.0)
    # What the cloud takes back with a notice was told with the notice: nobody need get up for it.
    announced = ctx.now.boot - fleet.reclaims_told <= ctx.settings.judgement.vanished_after
    return ctx.note(
        incident,
        "incident.joined" if announced else "incident.opened",
        f"{fleet.policy.name}: {cause}",
    )


def open_shared(
    ctx: Context, fleet: Fleet, about: str, verdict: Cause, sure: float, cause: str, suspected_seconds: float
) -> Incident:
    """Open the incident of many that are sick of one cause; whoever calls tells it."""
    made = _open(ctx, fleet, "", IncidentKind.SHARED, cause, suspected_seconds=suspected_seconds, about=about)
    return ctx.world.put(replace(made, verdict=verdict, sure=sure))


def _open(
    ctx: Context,
    fleet: Fleet,
    instance: str,
    kind: IncidentKind,
    cause: str,
    *,
    suspected_seconds: float,
    about: str = "",
) -> Incident:
    return ctx.world.put(
        Incident(
            id=ctx.world.count(Incident) + 1,  # small numbers, easy to say aloud; incidents are never deleted
            fleet=fleet.policy.name,
            instance=instance,
            kind=kind,
            state=IncidentState.OPEN,
            cause=cause,
            opened_at=ctx.now.wall,
            suspected_at=ctx.at(-suspected_seconds),
            about=about,
        )
    )


def awaiting(ctx: Context, fleet: Fleet) -> dict[int, Incident]:
    """Return the open incidents whose machine has left its slot, by the slot that waits for another one.

    A machine that was set aside waits only in a group, which launches when it pleases; elsewhere its replacement served
    before.
    """
    left = (Lifecycle.RETIRED, Lifecycle.QUARANTINED) if fleet.policy.group else (Lifecycle.RETIRED,)
    found: dict[int, Incident] = {}
    for number in sorted(ctx.world.open_of[fleet.policy.name]):
        incident = ctx.world.need(Incident, number)
        instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
        if instance is not None and instance.lifecycle in left and instance.slot is not None:
            found[instance.slot] = incident
    return found


SAID_BY_PEOPLE = frozenset({"mode", "pause", "hold"})
"""Guards whose words change only when a person does something; those of others hold numbers that move by themselves."""


def hold(ctx: Context, incident: Incident, what: str, readings: tuple[Reading, ...]) -> Incident:
    """Note which guards hold an incident, when they or a person's part in them change: with value and threshold."""
    guards = tuple(reading.guard for reading in readings)
    why = tuple(reading.sentence() for reading in readings)
    said = zip(guards, incident.held_why, why, strict=False)  # a journal of an earlier version holds no words
    if incident.held == guards and all(old == new for guard, old, new in said if guard in SAID_BY_PEOPLE):
        return incident
    ever = (*incident.held_ever, *(guard for guard in guards if guard not in incident.held_ever))
    incident = ctx.world.put(replace(incident, held=guards, held_why=why, held_ever=ever))
    if not guards:
        return incident
    told = "; ".join(why)
    text = f"would {what}, but holds: {told}"
    fleet = ctx.fleets.get(incident.fleet)
    if "mode" in guards and fleet is not None and ctx.mode_of(fleet) is Mode.APPROVE:
        text += f" — `sickbay approve {incident.id}` lets it go ahead"
    return ctx.note(incident, "incident.held", text)


def resolve(ctx: Context, incident: Incident, resolution: Resolution, text: str, replacement: str = "") -> Incident:
    """Note that service is restored; tidying up may go on."""
    if incident.resolved_at is not None:
        return incident
    incident = ctx.world.put(
        replace(
            incident,
            state=IncidentState.RESOLVED,
            resolved_at=ctx.now.wall,
            resolution=resolution,
            replacement=replacement or incident.replacement,
            held=(),
            held_why=(),
        )
    )
    times, start = course(incident)
    said = ", ".join(f"{label.lower()} {lasted}" for label, lasted in times)
    return ctx.note(incident, "incident.resolved", f"{text} — {said} after {start}")


def close(ctx: Context, incident: Incident, resolution: Resolution, text: str) -> Incident:
    """End an incident. Its machine may still be kept in quarantine."""
    if incident.state is IncidentState.CLOSED:
        return incident
    incident = ctx.world.put(
        replace(
            incident,
            state=IncidentState.CLOSED,
            closed_at=ctx.now.wall,
            resolved_at=incident.resolved_at or ctx.now.wall,
            resolution=incident.resolution or resolution,
            held=(),
            held_why=(),
        )
    )
    kept = ctx.world.get(Quarantine, incident.instance) if incident.instance else None
    if kept is not None and kept.ended_at is None:
        text += f"; {kept.instance} is kept until {kept.expires_at:%Y-%m-%d %H:%M} UTC"
    return ctx.note(incident, "incident.closed", text)


def escalate(ctx: Context, incident: Incident, text: str) -> Incident:
    """Ask for a human. The incident stays open."""
    if incident.state is IncidentState.ESCALATED:
        return incident
    incident = ctx.world.put(replace(incident, state=IncidentState.ESCALATED, version=incident.version + 1))
    return ctx.note(incident, "incident.escalated", f"{NEEDS_HUMAN}{text}")


def next_rung(ctx: Context, incident: Incident, failed: str, why: str, ladder: tuple[str, ...]) -> Incident:
    """Go one rung up the ladder, or ask for a human at its end."""
    rung = incident.rung + 1
    incident = ctx.world.put(replace(incident, rung=rung, version=incident.version + 1))
    if rung < len(ladder):
        return ctx.note(incident, "incident.note", f"{failed} did not help ({why}); next: {ladder[rung]}")
    return escalate(ctx, incident, f"{failed} failed: {why}")
