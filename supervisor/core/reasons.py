"""Why things are judged as they are: the verdict with its evidence, what is waited for, every guard with its value.

Plain values, ready for JSON, like `views`; taken when somebody asks, and reading changes nothing.
"""

from __future__ import annotations

from itertools import islice

from supervisor.core import troubles
from supervisor.core.cards import ASIDE
from supervisor.core.context import Context
from supervisor.core.documents import (
    ChangeDoc,
    CheckDoc,
    DecisionDoc,
    ExplainDoc,
    FleetExplainDoc,
    IncidentDoc,
    JudgedDoc,
    ReadingDoc,
    ScoreDoc,
)
from supervisor.core.duration import words
from supervisor.core.evidence import Evidence
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, Facts, Reading, holding, read
from supervisor.core.health import Chart
from supervisor.core.journal import Workflow
from supervisor.core.model import Change, CheckStanding, Incident, IncidentKind, Instance
from supervisor.core.policy import Fill, Hold, Nothing, Remediate, Return, Withdraw, decide_instance
from supervisor.core.terms import SERVING, Cause, ChangeKind, Health, Lifecycle, Role, Standing
from supervisor.core.verdict import Verdict
from supervisor.core.views import change_view, incident_view, instance_view, verdict_view, workflow_view

BEST = 3  # explanations that are shown
SHOWN_CHANGES = 10
ACTS = (Act.REMEDIATE, Act.WITHDRAW, Act.LAUNCH, Act.ISOLATE)


def explain(ctx: Context, instance: Instance) -> ExplainDoc:
    """Return why an instance is judged as it is, and every guard with its value and threshold."""
    fleet = ctx.fleets.get(instance.fleet)
    incident = ctx.world.incident_of(instance.fleet, instance.id)
    running = ctx.world.workflow_of(instance.id)
    view: ExplainDoc = {
        "instance": instance_view(ctx, fleet, instance, ctx.world.good_image(instance.fleet)),
        "verdict": None,
        "decision": {"what": "nothing", "why": f"fleet {instance.fleet} is not configured: it is left alone"},
        "waits_for": [],
        "shared": _shared(ctx, instance.fleet),
        "checks": [],
        "incident": incident_view(ctx, incident) if incident else None,
        "workflow": workflow_view(ctx, running) if running else None,
        "guards": {},
    }
    if fleet is None:
        return view
    facts = facts_of(ctx, fleet, instance=instance, incident=incident)
    chart = fleet.charts.get(instance.id)
    if chart is not None:
        view["checks"] = [_check_view(ctx, fleet, chart.checks[name]) for name in sorted(chart.checks)]
        view["waits_for"] = _waits(ctx, chart, facts)
    view["verdict"] = _judged(ctx, fleet, fleet.verdict_on(instance.id), facts)
    view["guards"] = _guards(facts)
    view["decision"] = _decision(ctx, fleet, instance, running)
    return view


def explain_fleet(ctx: Context, fleet: Fleet) -> FleetExplainDoc:
    """Return what is wrong with a fleet, how sure that is, and what holds."""
    facts = facts_of(ctx, fleet)
    return {
        "name": fleet.policy.name,
        "state": str(fleet.state) if fleet.state else "unknown",
        "mode": str(ctx.mode_of(fleet)),
        "desired": fleet.policy.desired,
        "serving": fleet.serving,
        "sick": sorted(fleet.sick),
        "suspect": sorted(fleet.suspects),
        "verdict": _judged(ctx, fleet, fleet.verdict, facts),
        "decision": _fleet_decision(ctx, fleet, facts),
        "waits_for": [*_fleet_waits(facts), *_shared_waits(ctx, fleet)],
        "shared": _shared(ctx, fleet.policy.name),
        "guards": _guards(facts),
    }


def _shared(ctx: Context, fleet: str) -> list[IncidentDoc]:
    found = (ctx.world.need(Incident, number) for number in sorted(ctx.world.open_of[fleet]))
    return [incident_view(ctx, i) for i in found if i.kind is IncidentKind.SHARED]


def _guards(facts: Facts) -> dict[str, list[ReadingDoc]]:
    return {str(act): [_reading(r) for r in read(act, facts)] for act in ACTS}


def _judged(ctx: Context, fleet: Fleet, verdict: Verdict, facts: Facts) -> JudgedDoc:
    return {
        **verdict_view(ctx, verdict),
        "needed": facts.odds_needed,
        "explanations": [
            {
                "cause": str(e.cause),
                "words": e.words,
                "probability": round(e.probability, 4),
                "evidence": list(e.evidence),
            }
            for e in islice(verdict.ranked, BEST)
        ],
        "challenged": not facts.challenge,
        "challenge": facts.challenge or facts.challenge_words,
        "changes": _changes(ctx, fleet),
    }


def _changes(ctx: Context, fleet: Fleet) -> list[ChangeDoc]:
    """Return the changes that are recent enough to have to do with it, newest first."""
    explaining, name = ctx.settings.explaining, fleet.policy.name
    recent = [
        c
        for c in ctx.world.values(Change)
        if c.fleet in ("", name)
        and ctx.since(c.at) <= (explaining.image_window if c.kind is ChangeKind.IMAGE else explaining.change_window)
    ]
    return [change_view(c) for c in sorted(recent, key=lambda c: (c.at, c.id), reverse=True)[:SHOWN_CHANGES]]


def _waits(ctx: Context, chart: Chart, facts: Facts) -> list[str]:
    """Return what must pass, or be seen, before the answer on an instance changes."""
    judgement, now = ctx.settings.judgement, ctx.now.boot
    found: list[str] = []
    if chart.finding.health is Health.SUSPECT:
        for name in sorted(chart.checks):
            e = chart.checks[name]
            if e.role is not Role.LIVENESS or e.failing_since is None:
                continue
            if e.score < e.weights.condemns_at:
                found.append(f"{name}: its suspicion is {e.score:.1f}, and condemns at {e.weights.condemns_at:.1f}")
            left = judgement.sick_after - (now - e.failing_since)
            if left > 0:
                found.append(f"{name}: its first failure must be {words(judgement.sick_after)} old, {words(left)} more")
    if chart.finding.health in (Health.SUSPECT, Health.SICK):
        found += _fleet_waits(facts)
    well = chart.finding.health is Health.HEALTHY
    if not well and chart.finding.look_at is not None and chart.finding.look_at > now:
        found.append(f"it is judged afresh in {words(chart.finding.look_at - now)}, sooner when a check answers")
    return found


def _fleet_waits(facts: Facts) -> list[str]:
    found: list[str] = []
    if facts.blind:
        found.append("the supervisor must see again")
    if facts.fresh_rounds < facts.fresh_rounds_needed:
        found.append(f"{facts.fresh_rounds} of {facts.fresh_rounds_needed} clean rounds have been seen")
    if facts.challenge:
        found.append(facts.challenge)
    return found


def _shared_waits(ctx: Context, fleet: Fleet) -> list[str]:
    """Return how long a shared trouble must have been past to be over."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    if trouble is None or fleet.shared_calm is None:
        return []
    quiet, lasts = troubles.quiet_for(trouble, ctx.settings.guards), ctx.now.boot - fleet.shared_calm
    return [f"{trouble.about} must have been well for {words(quiet)} to be over, {words(max(0.0, quiet - lasts))} more"]


def _fleet_decision(ctx: Context, fleet: Fleet, facts: Facts) -> DecisionDoc:
    if fleet.verdict.cause is not Cause.INSTANCE:
        held = [r.sentence() for r in holding(Act.REMEDIATE, facts)]
        about = verdict_view(ctx, fleet.verdict)["words"]
        return {"what": "hold", "why": "; ".join([f"{about} is at fault, not single machines", *held])}
    running = [ctx.world.need(Workflow, number) for number in sorted(ctx.world.running[fleet.policy.name])]
    running = [w for w in running if w.kind not in ASIDE]
    if running:
        told = (f"{w.remediation or w.kind}{' of ' + w.patient if w.patient else ''}" for w in running)
        return {"what": "act", "why": f"under way: {', '.join(islice(told, 5))}"}
    unwell = fleet.sick | fleet.suspects
    held = [r.sentence() for r in holding(Act.REMEDIATE, facts)]
    if not unwell:
        would = f"; were one sick now, these would hold: {'; '.join(held)}" if held else ""
        return {"what": "nothing", "why": f"nobody is suspect{would}"}
    if held:
        return {"what": "hold", "why": "; ".join(held)}
    return {"what": "watch", "why": "each is judged for itself; `sickbay explain INSTANCE` tells of one"}


def _check_view(ctx: Context, fleet: Fleet, e: Evidence) -> CheckDoc:
    now = ctx.now.boot
    standing = ctx.world.get(CheckStanding, fleet.policy.name, e.check.name)
    voted = Standing.GOOD if standing is None else standing.standing
    return {
        "name": e.check.name,
        "role": str(e.role),
        "scope": str(e.check.scope),
        "depends_on": list(e.check.depends_on),
        "version": e.check.version,
        "standing": str(voted),
        "scores": _scores(e),
        "status": str(e.status) if e.status else "none yet",
        "text": e.text,
        "age_seconds": None if e.last is None else round(now - e.last, 3),
        "stale": e.is_stale(now),
        "passes_in_a_row": e.passes,
        "failures_in_a_row": e.fails,
        "suspicion": round(e.score, 2),
        "condemns_at": round(e.weights.condemns_at, 2),
        "failing_for_seconds": None if e.failing_since is None else round(now - e.failing_since, 3),
    }


def _scores(e: Evidence) -> list[ScoreDoc]:
    """Return every score that a check keeps of an instance: each is one line here, and shows everywhere."""
    return [_score("fast", e.score, e.weights.condemns_at), _score("slow", e.gray, e.weights.gray_condemns_at)]


def _score(name: str, value: float, condemns_at: float) -> ScoreDoc:
    return {"name": name, "value": round(value, 2), "condemns_at": round(condemns_at, 2)}


def _reading(reading: Reading) -> ReadingDoc:
    return {
        "guard": reading.guard,
        "holds": reading.holds,
        "value": reading.value,
        "threshold": reading.threshold,
    }


def _decision(ctx: Context, fleet: Fleet, instance: Instance, running: Workflow | None) -> DecisionDoc:
    chart = fleet.charts.get(instance.id)
    if running is not None:
        step = running.step
        return {
            "what": "act",
            "why": f"{running.remediation or running.kind} is under way, at {step.name if step else 'its end'}",
        }
    if instance.lifecycle in (Lifecycle.RETIRING, Lifecycle.RETIRED):
        return {"what": "nothing", "why": f"{instance.lifecycle}: it is gone"}
    if chart is None or instance.lifecycle in (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED):
        return {"what": "nothing", "why": f"{instance.lifecycle}: it is kept, not judged"}
    incident = ctx.world.incident_of(instance.fleet, instance.id)
    facts = facts_of(ctx, fleet, instance=instance, incident=incident)
    rung = incident.rung if incident else 0
    decision = decide_instance(chart.finding, instance.lifecycle, facts, fleet.policy.ladder, rung, under_way=False)
    match decision:
        case Hold():
            return {"what": "hold", "why": "; ".join(r.sentence() for r in decision.readings)}
        case Remediate():
            return {"what": decision.remediation.kind, "why": chart.finding.reason}
        case Withdraw() | Return() | Fill():
            return {"what": type(decision).__name__.lower(), "why": chart.finding.reason}
        case Nothing():
            held = [r.sentence() for r in holding(Act.REMEDIATE, facts)] if instance.lifecycle in SERVING else []
            would = f"; were it sick now, these would hold: {'; '.join(held)}" if held else ""
            return {"what": "nothing", "why": decision.reason + would}
