"""The incident of a shared trouble: opened once when the verdict is that many are sick of one cause, told on its edges.

    opened (one page) -> the verdict changes -> its group is well for a while -> closed, with what it came to

Called by triage before it looks at single machines: those that it covers get no incident of their own, and those that
have one already are held. What is left sick when it ends is judged one by one.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import dossiers, incidents, plans, shadow, troubles
from supervisor.core.context import Context
from supervisor.core.duration import words
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.health import first_sign
from supervisor.core.model import Incident, IncidentKind, Instance, Moment, Removal, Resolution
from supervisor.core.population import ZONES
from supervisor.core.terms import SERVING, BootTime, Cause, Health
from supervisor.core.verdict import Verdict

HEALED = frozenset({Cause.INSTANCE, Cause.IMAGE, Cause.COHORT})
"""Verdicts under which machines are healed, each with an incident of its own."""
STORM = "more are sick at once than may be by chance, and nothing that they share explains it"


def watch(ctx: Context, fleet: Fleet) -> None:
    """Open, tell and close the shared trouble of a fleet."""
    verdict = _verdict(ctx, fleet)
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if verdict is None or _about(verdict) != fleet.shared_over:
        fleet.shared_over = ""
    if verdict is not None and trouble is None and not fleet.shared_over:
        _open(ctx, fleet, verdict)
    elif verdict is not None and trouble is not None:
        _go_on(ctx, fleet, trouble, verdict)
    if verdict is None or verdict.cause in troubles.PLACES:
        _end_when_well(ctx, fleet, stands=verdict is not None)
    else:
        fleet.shared_calm = None


def told_by(ctx: Context, fleet: Fleet, instance: Instance) -> Incident | None:
    """Return the shared trouble that tells of a sick machine, so that it needs no incident of its own."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if trouble is None or ctx.permit(fleet.policy.name) is not None:
        return None  # who may be healed by a person's word needs an incident to be healed in
    covering = troubles.covering(ctx.world, fleet, instance)
    if covering is not None and (covering.verdict is not Cause.FLEET or troubles.zones_of(covering)):
        return covering
    facts = facts_of(ctx, fleet, instance=instance)
    if facts.half_open:
        return None
    if fleet.storm:
        return trouble
    own = fleet.verdict_on(instance.id).cause in HEALED
    return None if own or facts.waiver else trouble


def _verdict(ctx: Context, fleet: Fleet) -> Verdict | None:
    """Return what is shared, if anything is: the verdict, or a storm that it does not explain."""
    verdict = fleet.verdict
    if verdict.cause is Cause.BLIND and ctx.sight.blind:
        return None  # told once for all fleets, by those who watch our own eyes
    if verdict.cause is Cause.UNEXPLAINED:
        lasting = ctx.now.boot - verdict.since >= ctx.settings.judgement.sick_after
        return verdict if fleet.storm or (lasting and fleet.sick) else None
    if verdict.cause is not Cause.INSTANCE:
        return verdict
    if fleet.storm and not ctx.sight.blind:
        return replace(verdict, cause=Cause.UNEXPLAINED, sentence=STORM)
    return None


def _about(verdict: Verdict) -> str:
    if verdict.cause is Cause.UNEXPLAINED:
        return "many at once"
    return f"{verdict.label or verdict.cause} {verdict.value}".strip()


def _open(ctx: Context, fleet: Fleet, verdict: Verdict) -> None:
    about, name = _about(verdict), fleet.policy.name
    waited = max(0.0, ctx.now.boot - _first_sign(ctx, fleet, verdict))
    cause = verdict.sentence or f"{about}: {len(fleet.sick)} sick, {len(fleet.suspects)} suspect"
    trouble = incidents.open_shared(ctx, fleet, about, verdict.cause, verdict.probability, cause, waited)
    fleet.shared_calm = None
    trouble = ctx.note(trouble, "incident.opened", f"{name}: {cause}; {_answer(ctx, fleet, verdict)}")
    dossiers.begin(ctx, fleet, trouble, Moment.OPENING)
    _answered(ctx, fleet, verdict)
    for number in sorted(ctx.world.open_of[name]):
        single = ctx.world.need(Incident, number)
        instance = ctx.world.get(Instance, single.instance) if single.kind is IncidentKind.SICK else None
        busy = single.instance in ctx.world.by_instance
        if instance is not None and not busy and told_by(ctx, fleet, instance) is not None:
            ctx.note(single, "incident.note", f"part of incident {trouble.id}: {about}")


def _first_sign(ctx: Context, fleet: Fleet, verdict: Verdict) -> BootTime:
    """Return when the first of those that it explains showed something; who has been sick for long has another trouble."""
    oldest = ctx.now.boot - ctx.settings.guards.breaker_window
    own = fleet.verdict.cause
    ill = [n for n in fleet.investigation.population.sick if n in fleet.charts and fleet.verdict_on(n).cause is own]
    signs = (first_sign(fleet.charts[name]) for name in ill)
    return min((at for at in signs if at is not None and at >= oldest), default=verdict.since)


def _go_on(ctx: Context, fleet: Fleet, trouble: Incident, verdict: Verdict) -> None:
    """Tell a change of the verdict: what it is about, and what is done."""
    about = _about(verdict)
    milder = verdict.cause is Cause.UNEXPLAINED and trouble.verdict is not Cause.UNEXPLAINED
    # The last of a zone to come back share something smaller by chance: they are what is left of it.
    rest = trouble.verdict is Cause.ZONE and verdict.cause in (Cause.SUBNET, Cause.COHORT)
    if (rest and fleet.shared_calm is not None) or milder or (trouble.about, trouble.verdict) == (about, verdict.cause):
        return  # what was named once stays named until it is over, or has another name
    cause = verdict.sentence or about
    trouble = ctx.world.put(
        replace(
            trouble,
            about=about,
            verdict=verdict.cause,
            sure=verdict.probability,
            cause=cause,
            version=trouble.version + 1,
        )
    )
    ctx.note(trouble, "incident.verdict", f"{cause}; {_answer(ctx, fleet, verdict)}")
    _answered(ctx, fleet, verdict)


def _answered(ctx: Context, fleet: Fleet, verdict: Verdict) -> None:
    if verdict.cause is Cause.CHECK:
        shadow.condemn(ctx, fleet, verdict.value, verdict.sentence or "many fail it that are well otherwise")


def _answer(ctx: Context, fleet: Fleet, verdict: Verdict) -> str:
    """Say what is done about it, and what is not."""
    match verdict.cause:
        case Cause.ZONE | Cause.SUBNET:
            return "nobody is removed there, and what is launched meanwhile is launched elsewhere"
        case Cause.IMAGE if troubles.accuses_good_image(ctx.world, fleet):
            return "it is the image that healing launches: nobody is replaced until another one is good"
        case Cause.IMAGE:
            good = plans.last_known_good(ctx, fleet)
            return f"who is sick is replaced from {good.version or good.id}, one wave after another"
        case Cause.DEPENDENCY:
            return f"nobody is removed or restarted: look at {verdict.value}"
        case Cause.CHECK:
            return f"{verdict.value} has no vote any more until it is another version; the other checks judge on"
        case Cause.BLIND:
            return "we can't see well enough: nobody is removed"
        case Cause.COHORT:
            return "who is sick is replaced in waves, elsewhere where that is possible"
        case Cause.FLEET if verdict.label == ZONES:
            return "nobody is removed there; new machines are launched in the zones that are left, as far as that helps"
        case _:
            return "nobody is removed until it is understood"


def _end_when_well(ctx: Context, fleet: Fleet, *, stands: bool) -> None:
    """Close the trouble once its group has been well for long enough, whatever is left."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if trouble is None:
        return
    guards = ctx.settings.guards
    place = trouble.verdict in troubles.PLACES
    calm = _share_well(ctx, fleet) >= guards.zone_well if place else not stands
    if not calm or ctx.sight.blind:
        fleet.shared_calm = None
        return
    if fleet.shared_calm is None:
        fleet.shared_calm = ctx.now.boot
    if ctx.now.boot - fleet.shared_calm >= troubles.quiet_for(trouble, guards):
        fleet.shared_calm = None
        fleet.shared_over = trouble.about if stands else ""
        fleet.half_open_until = ctx.now.boot + guards.half_open  # what is left is healed one by one
        _close(ctx, fleet, trouble)


def _share_well(ctx: Context, fleet: Fleet) -> float:
    """Return the share of a place's serving machines that is well; 1 where there are none."""
    there = [
        i
        for i in (ctx.world.need(Instance, member) for member in ctx.world.members[fleet.policy.name])
        if i.lifecycle in SERVING and troubles.covering(ctx.world, fleet, i) is not None
    ]
    well = sum(1 for i in there if fleet.chart(i.id).finding.health is Health.HEALTHY)
    return well / len(there) if there else 1.0


def _close(ctx: Context, fleet: Fleet, trouble: Incident) -> None:
    removed = sum(1 for r in ctx.world.values(Removal) if r.fleet == trouble.fleet and r.at >= trouble.opened_at)
    whom = "nobody was removed" if not removed else f"{removed} removed meanwhile"
    left = f"; {len(fleet.sick)} still sick are judged one by one" if fleet.sick else ""
    for name in fleet.investigation.explained - fleet.sick - fleet.suspects:
        fleet.turned_sick.pop(name, None)  # it was told, and is over: no storm of its own
    fleet.investigation.explained = frozenset()
    lasted = words((ctx.now.wall - trouble.suspected_at).total_seconds())
    over = "is over" if trouble.verdict is not Cause.CHECK else "has no vote, and without it all is well: over"
    text = f"{trouble.fleet}: {trouble.about} {over} after {lasted}, {whom}{left}"
    incidents.close(ctx, ctx.world.need(Incident, trouble.id), Resolution.RECOVERED, text)
