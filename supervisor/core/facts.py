"""The numbers that the guards read, collected at one moment for one act."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from math import ceil

from supervisor.core import challenge, troubles
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Facts, breaker_allows, floors, share
from supervisor.core.health import Chart
from supervisor.core.journal import Step, Verb, Workflow, WorkflowKind
from supervisor.core.machine import MachineState, TargetHealth
from supervisor.core.model import CheckStanding, Incident, Instance, Permit, Quarantine, Removal, Slot
from supervisor.core.population import ZONES
from supervisor.core.spending import others
from supervisor.core.terms import COMING, Cause, Health, Seconds


def facts_of(
    ctx: Context,
    fleet: Fleet,
    *,
    instance: Instance | None = None,
    slot: int | None = None,
    incident: Incident | None = None,
    workflow: Workflow | None = None,
) -> Facts:
    """Collect the numbers that the guards read."""
    guards, judgement, policy = ctx.settings.guards, ctx.settings.judgement, fleet.policy
    world, name, now = ctx.world, fleet.policy.name, ctx.now.boot
    chart = fleet.charts.get(instance.id) if instance else None
    own = instance.id if instance else ""
    zone = instance.zone if instance else ""
    slot = instance.slot if instance is not None and slot is None else slot
    place = world.get(Slot, name, slot) if slot is not None else None
    lb_floor, serving_floor = floors(policy.desired, guards.lb_floor, guards.serving_floor)

    explained = fleet.investigation.explained
    lately = fleet.sick_lately(guards.breaker_window, now)
    sick = lately - explained if explained else lately
    allowed = breaker_allows(guards.breaker_share, policy.desired)
    if len(sick) > allowed:
        fleet.storm_seen = now
    calm_in = 0.0 if fleet.storm_seen is None else fleet.storm_seen + guards.breaker_quiet - now

    spent = ctx.spending(fleet)
    concurrent = share(guards.concurrent_share, policy.desired)
    half_open = now < fleet.half_open_until
    if now - ctx.started.boot < judgement.cold_start or half_open:
        concurrent = 1
    in_zone = max(1, policy.desired // max(1, len(policy.zones)))
    costly = [i for i in world.kept[name] - {own} if not world.need(Quarantine, i).stopped]
    try_again = fleet.last_launch_failure is None or now - fleet.last_launch_failure >= guards.launch_half_open
    own_number = workflow.id if workflow is not None else 0
    # One try at a time: who waits besides it learns from it.
    try_again = try_again and not any(w.zone and w.id != own_number for w in spent.under_way)
    suspect = ctx.suspect_image(name)
    launches = workflow.image if workflow is not None else suspect.id if suspect is not None else ""
    age = None if fleet.inventory_at is None else now - fleet.inventory_at
    verdict, explaining = fleet.verdict_on(own), ctx.settings.explaining
    asked_for = workflow is not None and workflow.actor != "sickbay"
    challenged, told = ("", "") if asked_for else challenge.reading(fleet, instance, now, explaining)
    return Facts(
        mode=ctx.mode_of(fleet),
        approved=_is_approved(ctx, incident),
        rejected=_rejected(ctx, incident),
        by_operator=asked_for,
        holders=ctx.holders,
        held=ctx.hold_on(instance),
        grace=_grace(ctx, fleet, instance),
        unheard=_unheard(chart, starting=instance is not None and instance.lifecycle in COMING),
        fresh_rounds=fleet.clean_rounds(now),
        fresh_rounds_needed=judgement.amnesty_rounds,
        blind=ctx.sight.blind,
        inventory_age=age,
        inventory_limit=fleet.inventory_limit,
        desired=policy.desired,
        serving=fleet.serving - (1 if chart is not None and chart.serving else 0),
        costs_capacity=_costs_capacity(chart),
        lb_floor=lb_floor,
        serving_floor=serving_floor,
        sick_lately=len(sick),
        unwell=fleet.unwell(guards.breaker_window, now) - sum(i in fleet.suspects or i in lately for i in explained),
        left_aside=len(explained),
        sick_allowed=allowed,
        breaker_quiet=max(0.0, calm_in),
        concurrent=spent.concurrent(own),
        concurrent_allowed=concurrent,
        zone=zone,
        zone_concurrent=spent.in_zone(zone, own),
        zone_allowed=share(guards.concurrent_zone_share, in_zone),
        credits=share(guards.concurrent_share, policy.desired) - others(spent.unsettled, own),
        hourly=others(spent.hour, own),
        hourly_allowed=share(guards.hourly_share, policy.desired, least=guards.hourly_least),
        daily=others(spent.day, own),
        daily_allowed=share(guards.daily_share, policy.desired, least=guards.daily_least),
        global_hourly=others(spent.everywhere, own),
        global_allowed=guards.global_hourly,
        lineage=ctx.lineage(place),
        lineage_allowed=guards.lineage_limit,
        cooldown_left=_cooldown(ctx, place),
        needs_human=place.needs_human if place else "",
        quarantined=len((world.kept[name] | _being_isolated(ctx, spent.under_way)) - {own}),
        quarantine_allowed=guards.quarantine_cap,
        launch_failures=spent.failures,
        launch_allowed=guards.launch_failures,
        launch_half_open=try_again and ctx.since(ctx.started.wall) >= guards.launch_half_open,
        instances=spent.instances,
        instances_allowed=guards.max_instances,
        group=policy.group,
        kept_cost=24 * policy.hourly_price * len(costly),
        kept_running=len(costly),
        machine_cost=24 * policy.hourly_price,
        cost_allowed=guards.quarantine_daily,
        verdict=Cause.INSTANCE if asked_for else verdict.cause,
        verdict_words="asked for by an operator" if asked_for else verdict.sentence or "nobody else is suspect",
        odds_needed=explaining.odds_for(policy),
        challenge=challenged,
        challenge_words=told or "asked for by an operator",
        acquitted=_acquitted(ctx, fleet, chart, workflow),
        explained=bool(fleet.verdict.ranked),
        shared=_shared(ctx, fleet, instance),
        zone_trouble=troubles.impaired(world).get(zone, "") if zone else "",
        waiver=_waiver(ctx, fleet, own),
        permit=_permit(ctx, name, workflow),
        half_open=half_open,
        waves=spent.waves(world, own),
        surprise_allowed=ctx.surprise_allowed(fleet),
        extra=spent.extra,
        extra_allowed=max(guards.extra_least, ceil(guards.extra_share * policy.desired)),
        image_trouble=f"{suspect.version or suspect.id}: {suspect.standing_why}"
        if suspect is not None and launches == suspect.id
        else "",
        is_control=suspect is not None and workflow is not None and launches != suspect.id,
    )


def _is_approved(ctx: Context, incident: Incident | None) -> bool:
    """Return whether a person has approved this incident as it stands, not too long ago."""
    if incident is None or incident.approval is None:
        return False
    return incident.approval.granted and ctx.now.wall < incident.approval.expires_at


def _rejected(ctx: Context, incident: Incident | None) -> str:
    """Return who has rejected this incident's remediation, not too long ago."""
    word = incident.approval if incident is not None else None
    return "" if word is None or word.granted or ctx.now.wall >= word.expires_at else word.actor


def _being_isolated(ctx: Context, running: Iterable[Workflow]) -> set[str]:
    """Return those whose isolation was ordered: several that are ordered at once must not overfill the quarantine."""
    steps = ((w, w.step) for w in running if w.patient)
    return {
        w.patient
        for w, step in steps
        if step is not None
        and step.verb is Verb.ISOLATE
        and ctx.world.get(Step, w.id, step.name, w.attempt) is not None
    }


def _shared(ctx: Context, fleet: Fleet, instance: Instance | None) -> str:
    trouble = troubles.covering(ctx.world, fleet, instance) if instance is not None else None
    return f"incident {trouble.id} about {trouble.about} is not over" if trouble is not None else ""


def _acquitted(ctx: Context, fleet: Fleet, chart: Chart | None, workflow: Workflow | None) -> str:
    """Say which check lost its vote since a healing began, whose patient nothing speaks against any more."""
    if workflow is None or workflow.kind is not WorkflowKind.REMEDIATE or not fleet.muted or chart is None:
        return ""
    if chart.finding.health not in (Health.HEALTHY, Health.UNKNOWN) or workflow.actor != "sickbay":
        return ""
    standings = (ctx.world.get(CheckStanding, fleet.policy.name, check) for check in sorted(fleet.muted))
    lost = [s.check for s in standings if s is not None and s.since >= workflow.opened_at]
    return f"check {', '.join(lost)} has no vote any more, and nothing else speaks against it" if lost else ""


def _permit(ctx: Context, fleet: str, workflow: Workflow | None) -> str:
    """Say whose word lets a healing begin; what began by it may end by it."""
    word = ctx.world.get(Permit, fleet)
    began = word is not None and workflow is not None and word.since <= workflow.opened_at < word.until
    if word is None or not (began and workflow is not None and workflow.kind is WorkflowKind.REMEDIATE):
        word = ctx.permit(fleet) if workflow is None else None
    return f"{word.actor} allows it until {word.until:%H:%M} UTC" if word is not None else ""


def _waiver(ctx: Context, fleet: Fleet, own: str) -> str:
    """Say why a machine may be healed although it is not plainly its own fault alone that makes it sick."""
    guards, verdict, name = ctx.settings.guards, fleet.verdict, fleet.policy.name
    if verdict.cause is Cause.COHORT:
        return "it is healed in waves"
    if verdict.cause is Cause.IMAGE and not troubles.accuses_good_image(ctx.world, fleet):
        return "another image takes its place"
    if verdict.cause in troubles.PLACES and fleet.shared_over:
        return f"{fleet.shared_over} is mostly well again: one at a time"
    if verdict.cause not in (Cause.UNEXPLAINED, Cause.FLEET) or verdict.label == ZONES:
        return ""
    if ctx.now.boot < fleet.half_open_until:
        return "new machines withstand it: half-open, one at a time"
    trouble = troubles.of(ctx.world, name)
    alone = sum(e.probability for e in verdict.ranked if e.cause is Cause.INSTANCE)
    patient = trouble is not None and ctx.since(trouble.opened_at) >= guards.unexplained_after
    every = timedelta(seconds=guards.unexplained_every)
    lately = any(
        r.fleet == name and r.instance != own and ctx.now.wall - r.at < every for r in ctx.world.values(Removal)
    )
    if verdict.cause is Cause.UNEXPLAINED and patient and alone >= 0.5 and not lately:
        return f"unexplained for long, each for itself at {alone:.2f}: one in {guards.unexplained_every:.0f}s"
    return ""


def _cooldown(ctx: Context, slot: Slot | None) -> Seconds:
    if slot is None or slot.served_at is None or not slot.lineage:
        return 0.0
    return max(0.0, ctx.settings.guards.cooldown - ctx.since(slot.served_at))


def _grace(ctx: Context, fleet: Fleet, instance: Instance | None) -> str:
    if instance is None or instance.lifecycle not in COMING:
        return ""
    limit = fleet.boots.deadline(ctx.settings.judgement, ctx.to_boot(instance.created_at))
    return f"{instance.lifecycle} for {ctx.since(instance.since):.0f}s of {limit:.0f}s"


def _unheard(chart: Chart | None, *, starting: bool) -> str:
    """Return why nobody can say how an instance is: its checks are silent themselves, or broken."""
    if chart is None or not chart.observed:
        return ""
    finding = chart.finding
    # One that starts is never more than unknown, even where its group has registered it already.
    serves = not starting and chart.machine is not None and chart.machine.registered is True
    return finding.reason if finding.unheard or (serves and finding.health is Health.UNKNOWN) else ""


def _costs_capacity(chart: Chart | None) -> bool:
    """Return whether the load balancer may still send traffic; unknown counts as yes."""
    machine = chart.machine if chart is not None else None
    if machine is None:
        return True
    if machine.state in (MachineState.STOPPED, MachineState.TERMINATED):
        return False
    return machine.registered is not False and machine.target is not TargetHealth.UNHEALTHY
