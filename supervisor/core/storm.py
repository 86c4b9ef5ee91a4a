"""The storm: when too many are sick at once, what is added meanwhile, and the careful way back.

    calm -> storm (nobody is removed, machines may be added) -> half-open (one at a time) -> calm

Called by triage. Machines that were added fill the next free slot, or take the place of the next one that is healed;
those that no slot needs in the end are let go.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from supervisor.core import capacity, incidents, notices, plans, quarantine, troubles
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, breaker_allows, floors, holding, holding_fill
from supervisor.core.journal import Step, StepStatus, Subject, Verb, Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentState, Instance
from supervisor.core.requests import Refused
from supervisor.core.terms import SERVING, Cause, Health, Lifecycle

TRIAL = 2  # machines that are added first: whether new ones withstand what made the others sick
ADDED_FOR = troubles.PLACES | {Cause.COHORT, Cause.UNEXPLAINED, Cause.FLEET}
"""Causes against which a new machine may help. Where a dependency is down it is one more that asks it."""


def watch(ctx: Context, fleet: Fleet) -> None:
    """See when a storm begins and when it ends. Whom the trouble of a place explains doesn't count: it holds them."""
    guards, now = ctx.settings.guards, ctx.now.boot
    lately = fleet.sick_lately(guards.breaker_window, now)
    fleet.investigation.explained = troubles.explained(ctx.world, fleet, lately | fleet.suspects)
    if len(lately - fleet.investigation.explained) > breaker_allows(guards.breaker_share, fleet.policy.desired):
        fleet.storm_calm = None
        fleet.storm = fleet.storm or not ctx.sight.blind
    elif fleet.storm:
        fleet.storm_calm = now if fleet.storm_calm is None else fleet.storm_calm
        if now - fleet.storm_calm >= guards.breaker_quiet:
            fleet.storm = False
            fleet.half_open_until = now + guards.half_open


def tell(ctx: Context, fleet: Fleet) -> None:
    """Tell that a storm has begun or ended: in the story of the shared trouble where one stands, else by itself."""
    if fleet.storm == fleet.storm_told:
        return
    fleet.storm_told = fleet.storm
    guards, name, desired = ctx.settings.guards, fleet.policy.name, fleet.policy.desired
    count = len(fleet.sick_lately(guards.breaker_window, ctx.now.boot) - fleet.investigation.explained)
    if fleet.storm:
        share = f"breaker: at most {breaker_allows(guards.breaker_share, desired)} of {desired}"
        kind, text = "storm.begun", f"{name}: {count} machines are sick ({share}); nobody is removed"
    else:
        kind, text = "storm.ended", f"{name}: the storm is over, {count} machines are sick; one is healed at a time"
    trouble = troubles.of(ctx.world, name)
    if trouble is None:
        ctx.say(kind, text, name)
    else:
        ctx.note(trouble, "incident.note", text)


def add(ctx: Context, fleet: Fleet) -> None:
    """Launch machines besides those wanted while too few serve, and let go of those that nobody needs any more."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if trouble is None:
        fleet.investigation.short_since = None
        _let_go(ctx, fleet)
        return
    if trouble.verdict not in ADDED_FOR or fleet.policy.group:
        return
    tried = [w for w in _rescues(ctx, fleet) if w.incident == trouble.id]
    coming = [w for w in tried if w.state is WorkflowState.RUNNING]
    serve = [w for w in tried if w.state is WorkflowState.DONE]
    failed = [w for w in tried if w.state is WorkflowState.FAILED]
    room = _room(ctx, fleet, trouble)
    proved = sum(1 for w in (*serve, *_replacing(ctx, fleet, trouble)) if _is_proved(ctx, fleet, w.candidate))
    if proved >= min(TRIAL, room):
        _open_half(ctx, fleet, trouble, proved)
    if failed and not serve:
        if not coming and len(failed) >= min(TRIAL, room):
            text = f"{len(failed)} machines launched besides fail as well ({failed[-1].outcome}): no more are launched"
            incidents.escalate(ctx, trouble, text)
        if len(failed) + len(coming) >= min(TRIAL, room):
            return
    most = room if serve else min(TRIAL, room)
    wanted = _wanted(ctx, fleet, trouble)
    count = min(wanted - len(coming), most - len(tried))  # one that failed is kept for a while, and takes its room
    if _is_short(ctx, fleet, trouble, wanted) and count > 0:
        _launch(ctx, fleet, trouble, count)


def _is_short(ctx: Context, fleet: Fleet, trouble: Incident, wanted: int) -> bool:
    """Return whether too few have served for so long, without a break, that a new machine comes in time to help."""
    place = trouble.verdict in troubles.PLACES
    if wanted <= 0 or fleet.shared_calm is not None or not (place or fleet.sick):
        fleet.investigation.short_since = None
        return False
    if fleet.investigation.short_since is None:
        fleet.investigation.short_since = ctx.now.boot
    guards = ctx.settings.guards
    return ctx.now.boot - fleet.investigation.short_since >= (
        guards.zone_rescue_after if place else guards.rescue_after
    )


def _replacing(ctx: Context, fleet: Fleet, trouble: Incident) -> list[Workflow]:
    """Return the healings that the storm has overtaken: their new machines prove as much as those launched besides.

    In a fleet so small that they bring it back to its floor nothing else is launched, so nothing else can prove it.
    """
    if trouble.verdict in troubles.PLACES:
        return []
    running = (ctx.world.need(Workflow, number) for number in sorted(ctx.world.running[fleet.policy.name]))
    return [w for w in running if w.kind is WorkflowKind.REMEDIATE and w.candidate]


def _is_proved(ctx: Context, fleet: Fleet, name: str) -> bool:
    """Return whether a new machine has served well for a while: what made the others sick might take its time."""
    instance, chart = ctx.world.get(Instance, name), fleet.charts.get(name)
    if instance is None or chart is None or instance.lifecycle not in SERVING or not chart.serving:
        return False
    long = ctx.since(instance.since) >= ctx.settings.judgement.probation_quiet
    return long or instance.lifecycle is Lifecycle.IN_SERVICE


def _room(ctx: Context, fleet: Fleet, trouble: Incident) -> int:
    guards = ctx.settings.guards
    share = guards.zone_surge if trouble.verdict in troubles.PLACES else guards.rescue_share
    return max(1, ceil(share * fleet.policy.desired))


def _wanted(ctx: Context, fleet: Fleet, trouble: Incident) -> int:
    """Return how many machines too few serve."""
    guards, desired = ctx.settings.guards, fleet.policy.desired
    floor = floors(desired, guards.lb_floor, guards.serving_floor)[1]
    evacuated = trouble.verdict in troubles.PLACES and guards.zone_evacuate
    return (desired if evacuated else floor) - capacity.at_work(fleet, ctx.now.boot)


def _launch(ctx: Context, fleet: Fleet, trouble: Incident, count: int) -> None:
    if not {place.zone for place in fleet.policy.places} - troubles.bad_zones(ctx.world, ctx.sight, fleet):
        return  # no zone is left that is well
    facts = facts_of(ctx, fleet, incident=trouble)
    held = tuple(r for r in holding_fill(facts) if r.guard != "extra_machines")
    if facts.blind or held:
        incidents.hold(ctx, trouble, "launch besides", held)
        return
    incidents.hold(ctx, trouble, "launch besides", ())
    for _ in range(count):
        plans.begin(ctx, fleet, WorkflowKind.RESCUE, trouble.id)
    serve = capacity.at_work(fleet, ctx.now.boot)
    text = f"{serve} of {fleet.policy.desired} serve: {count} launched besides, nobody is removed"
    ctx.note(ctx.world.need(Incident, trouble.id), "incident.step", text)


def _open_half(ctx: Context, fleet: Fleet, trouble: Incident, count: int) -> None:
    """New machines withstand it: heal one at a time, while it lasts and a while longer."""
    if ctx.now.boot >= fleet.half_open_until:
        new = "1 new machine serves" if count == 1 else f"{count} new machines serve"
        text = f"{new} well: half-open, one is healed at a time where nothing else holds"
        ctx.note(trouble, "incident.note", text)
    fleet.half_open_until = ctx.now.boot + ctx.settings.guards.half_open


def _rescues(ctx: Context, fleet: Fleet) -> list[Workflow]:
    return [ctx.world.need(Workflow, number) for number in sorted(ctx.world.rescues[fleet.policy.name])]


def surplus(ctx: Context, fleet: Fleet) -> set[str]:
    """Return the machines that were added and fill no slot, nor are kept aside already."""
    added = {w.candidate for w in _rescues(ctx, fleet)} & ctx.world.members[fleet.policy.name]
    there = (Lifecycle.WITHDRAWN, *SERVING)
    known = (ctx.world.need(Instance, i) for i in added)
    return {i.id for i in known if i.slot is None and i.lifecycle in there}


def lend(ctx: Context, fleet: Fleet, workflow: Workflow) -> bool:
    """Let one that was added be the replacement that a healing is about to launch; return whether one is.

    It came up, and has served well: it has been through every step of a launch but the last, which looks again.
    """
    skipped = [step for step in workflow.plan if step.subject is Subject.CANDIDATE and step.verb is not Verb.CONFIRM]
    confirmed = any(step.verb is Verb.CONFIRM and step.subject is Subject.CANDIDATE for step in workflow.plan)
    if workflow.kind is not WorkflowKind.REMEDIATE or workflow.slot is None or not confirmed:
        return False
    spare = next((name for name in sorted(surplus(ctx, fleet)) if _may_stay(ctx, fleet, workflow, name)), "")
    if not spare:
        return False
    why = f"{spare} was launched besides, and serves well"
    for step in skipped:
        row = Step(workflow.id, step.name, workflow.attempt, StepStatus.SKIPPED, ctx.now.wall, done_at=ctx.now.wall)
        ctx.world.put(replace(row, outcome=Refused(why)))
    ctx.world.put(replace(workflow, candidate=spare))
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.step", f"nothing need be launched: {why}")
    return True


def _may_stay(ctx: Context, fleet: Fleet, workflow: Workflow, name: str) -> bool:
    """Return whether a machine that was added is as good as the one that would be launched now."""
    instance, chart = ctx.world.need(Instance, name), fleet.chart(name)
    if name in ctx.world.by_instance or instance.image != workflow.image or notices.is_leaving(chart.machine):
        return False
    return chart.finding.health is Health.HEALTHY and _is_proved(ctx, fleet, name)


def _let_go(ctx: Context, fleet: Fleet) -> None:
    """Take one machine after another out that was added, and that no slot needs now that all is well."""
    name, spare = fleet.policy.name, surplus(ctx, fleet)
    if not spare or spare & ctx.world.by_instance.keys():
        return
    for instance in sorted(spare):
        known = ctx.world.need(Instance, instance)
        if known.lifecycle is Lifecycle.WITHDRAWN and fleet.chart(instance).finding.health is Health.HEALTHY:
            _set_aside(ctx, fleet, known)
            return
    busy = fleet.storm or fleet.sick or fleet.suspects or ctx.world.free_slots[name] or ctx.world.running[name]
    if busy or ctx.now.boot < fleet.half_open_until or fleet.serving <= fleet.policy.desired:
        return
    leaving = next((i for i in sorted(spare) if ctx.world.need(Instance, i).lifecycle in SERVING), None)
    if leaving is None or holding(Act.WITHDRAW, facts_of(ctx, fleet, instance=ctx.world.need(Instance, leaving))):
        return
    plans.begin(ctx, fleet, WorkflowKind.WITHDRAW, 0, patient=leaving)
    where = incidents.place_of(ctx.world.need(Instance, leaving))
    ctx.say("storm.surplus", f"{where} was launched in a storm that is over, and is no longer needed", name)


def _set_aside(ctx: Context, fleet: Fleet, instance: Instance) -> None:
    """Hand one over to those that are kept, at the end of its time: there is nothing to be learnt from it."""
    kept = quarantine.keep(ctx, fleet, instance.id, 0, "launched in a storm, and no longer needed")
    ctx.world.put(replace(kept, expires_at=ctx.now.wall))
    ctx.move(instance, Lifecycle.BOOT_FAILED)


def is_surplus(ctx: Context, fleet: Fleet, instance: Instance) -> bool:
    """Return whether a machine leaves because no slot needs it: then it does not come back by being well."""
    if instance.slot is not None or troubles.of(ctx.world, instance.fleet) is not None:
        return False
    return any(w.candidate == instance.id for w in _rescues(ctx, fleet))
