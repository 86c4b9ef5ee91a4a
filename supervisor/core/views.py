"""What people and programs may read of the engine's state: plain values, ready for JSON. Reading changes nothing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import islice

from supervisor.core import quarantine
from supervisor.core.cards import card
from supervisor.core.context import Context
from supervisor.core.documents import (
    CardDoc,
    CheckDoc,
    DecisionDoc,
    ExplainDoc,
    FleetDoc,
    HolderDoc,
    IncidentDoc,
    InstanceDoc,
    OverviewDoc,
    QuarantineDoc,
    ReadingDoc,
    StepDoc,
    StoryDoc,
    WorkflowDoc,
)
from supervisor.core.evidence import Evidence
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, Reading, holding, read
from supervisor.core.journal import Step, Workflow
from supervisor.core.model import Holder, Image, Incident, Instance, Quarantine, Resolution
from supervisor.core.policy import Fill, Hold, Nothing, Remediate, Return, Withdraw, decide_instance
from supervisor.core.requests import Refused, Throttled, Unclear
from supervisor.core.terms import SERVING, Health, Lifecycle


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def overview(ctx: Context, most: int | None = None) -> OverviewDoc:
    """Return the whole state in short: supervisor and fleets. `most` bounds each fleet's instances, see `fleet_view`."""
    return {**headline(ctx), "fleets": [fleet_view(ctx, ctx.fleets[name], most) for name in sorted(ctx.fleets)]}


def headline(ctx: Context) -> OverviewDoc:
    """Return what concerns everything, without a single fleet: cheap, however large they are."""
    return {
        "mode": str(ctx.settings.mode),
        "paused": [_holder(h) for h in ctx.world.all(Holder)],
        "blind": ctx.sight.blind,
        "started_at": _time(ctx.started.wall),
        "fleets": [],
        "unmanaged": _unmanaged(ctx),
    }


def _holder(holder: Holder) -> HolderDoc:
    return {
        "name": holder.name,
        "reason": holder.reason,
        "actor": holder.actor,
        "since": _time(holder.since),
        "until": _time(holder.until),
    }


def _unmanaged(ctx: Context) -> list[str]:
    """Return the fleets that the journal knows and the configuration does not: left untouched."""
    return sorted(name for name, members in ctx.world.members.items() if members and name not in ctx.fleets)


def fleet_view(ctx: Context, fleet: Fleet, most: int | None = None) -> FleetDoc:
    """Return one fleet, with its instances; of more than `most`, only so many of those that stand out."""
    name = fleet.policy.name
    members = [ctx.world.need(Instance, m) for m in sorted(ctx.world.members[name])]
    shown = members
    if most is not None and len(members) > most:
        shown = list(islice((m for m in members if _stands_out(ctx, fleet, m)), most))
    good = _good_image(ctx, name)
    return {
        "name": name,
        "environment": fleet.policy.environment,
        "state": str(fleet.state) if fleet.state else "unknown",
        "mode": str(ctx.mode_of(fleet)),
        "desired": fleet.policy.desired,
        "serving": fleet.serving,
        "suspect": sorted(fleet.suspects),
        "sick": sorted(fleet.sick),
        "storm": fleet.storm,
        "lifecycles": dict(sorted(Counter(str(m.lifecycle) for m in members).items())),
        "image": None if good is None else {"id": good.id, "version": good.version},
        "configured_image": {"id": fleet.policy.image, "version": fleet.policy.version},
        "quarantined": len(ctx.world.kept[name]),
        "open_incidents": sorted(ctx.world.open_of[name]),
        "last_healed_at": _time(_last_healed(ctx, name)),
        "inventory": {
            "age_seconds": None if fleet.inventory_at is None else round(ctx.now.boot - fleet.inventory_at, 3),
            "error": fleet.inventory_error,
        },
        "amnesty": {
            "clean_rounds": fleet.clean_rounds(ctx.now.boot),
            "needed": ctx.settings.judgement.amnesty_rounds,
        },
        "instances": [instance_view(ctx, fleet, m, good) for m in shown],
    }


def _stands_out(ctx: Context, fleet: Fleet, instance: Instance) -> bool:
    """Return whether somebody may want to look at an instance: not simply well, or something is done with it."""
    chart = fleet.charts.get(instance.id)
    if chart is None or chart.finding.health is not Health.HEALTHY or instance.lifecycle not in SERVING:
        return True
    machine = chart.machine
    if machine is not None and (machine.impaired or machine.notices or machine.held):
        return True
    return instance.held_until is not None or instance.id in ctx.world.by_instance


def _good_image(ctx: Context, fleet: str) -> Image | None:
    return next((i for i in ctx.world.all(Image) if i.fleet == fleet and i.last_known_good), None)


def _last_healed(ctx: Context, fleet: str) -> datetime | None:
    """Return when healing was last proved: a machine was replaced, restarted or filled in."""
    healed = (Resolution.REPLACED, Resolution.RESTARTED, Resolution.FILLED)
    ours = (i for i in ctx.world.values(Incident) if i.fleet == fleet and i.resolution in healed)
    return max((i.resolved_at for i in ours if i.resolved_at is not None), default=None)


def instance_view(ctx: Context, fleet: Fleet | None, instance: Instance, good: Image | None) -> InstanceDoc:
    """Return one instance in short. `good` is the fleet's last known good image."""
    chart = fleet.charts.get(instance.id) if fleet else None
    machine = chart.machine if chart else None
    health, reason = _health(instance, chart.finding.health if chart else None, chart.finding.reason if chart else "")
    running = ctx.world.workflow_of(instance.id)
    return {
        "id": instance.id,
        "fleet": instance.fleet,
        "lifecycle": str(instance.lifecycle),
        "health": health,
        "reason": reason,
        "zone": instance.zone,
        "slot": instance.slot,
        "address": instance.address,
        "image": instance.image,
        "version": instance.version,
        "image_status": "unknown" if good is None else "current" if instance.image == good.id else "outdated",
        "registered": machine.registered if machine else None,
        "load_balancer": str(machine.target) if machine else "unknown",
        "machine": str(machine.state) if machine else "unknown",
        "created_at": _time(instance.created_at),
        "since": _time(instance.since),
        "held_until": _time(instance.held_until),
        "hold_reason": instance.hold_reason,
        "held": ctx.hold_on(instance),
        "impaired": machine.impaired if machine else "",
        "notices": list(machine.notices) if machine else [],
        "doing": _doing(running),
        "incident": ctx.world.open_incidents.get((instance.fleet, instance.id, "")),
    }


def _health(instance: Instance, health: Health | None, reason: str) -> tuple[str, str]:
    if instance.lifecycle in (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED, Lifecycle.RETIRED):
        return "unknown", f"not watched: {instance.lifecycle}"
    return (str(health), reason) if health else ("unknown", "no results yet")


def _doing(workflow: Workflow | None) -> str:
    if workflow is None:
        return ""
    step = workflow.step
    what = workflow.remediation or str(workflow.kind)
    return f"{what}: {step.name} ({workflow.position + 1} of {len(workflow.plan)})" if step else f"{what}: finishing"


def incident_view(ctx: Context, incident: Incident) -> IncidentDoc:
    """Return one incident without its story."""
    recovered = incident.resolved_at
    return {
        "id": incident.id,
        "fleet": incident.fleet,
        "instance": incident.instance,
        "kind": str(incident.kind),
        "state": str(incident.state),
        "cause": incident.cause,
        "suspected_at": _time(incident.suspected_at),
        "opened_at": _time(incident.opened_at),
        "resolved_at": _time(recovered),
        "closed_at": _time(incident.closed_at),
        "resolution": str(incident.resolution),
        "replacement": incident.replacement,
        "held_by": list(incident.held),
        "version": incident.version,
        "approval": None
        if incident.approval is None
        else {
            "actor": incident.approval.actor,
            "granted": incident.approval.granted,
            "expires_at": _time(incident.approval.expires_at),
        },
        "seconds_to_detect": (incident.opened_at - incident.suspected_at).total_seconds(),
        "seconds_to_recover": None if recovered is None else (recovered - incident.suspected_at).total_seconds(),
        "card": _card(ctx, incident),
    }


def _card(ctx: Context, incident: Incident) -> CardDoc:
    shown = card(ctx, incident)
    return {
        "tone": str(shown.tone),
        "headline": shown.headline,
        "impact": shown.impact,
        "held": list(shown.held),
        "ask": shown.ask,
        "facts": [{"label": label, "value": value} for label, value in shown.facts],
    }


def story_view(ctx: Context, incident: Incident) -> StoryDoc:
    """Return one incident with its story and its workflows."""
    return {
        **incident_view(ctx, incident),
        "story": [{"at": _time(n.at), "text": n.text} for n in incident.notes],
        "workflows": [_workflow_view(ctx, w) for w in ctx.world.all(Workflow) if w.incident == incident.id],
    }


def _workflow_view(ctx: Context, workflow: Workflow) -> WorkflowDoc:
    steps: list[StepDoc] = []
    for attempt in range(1, workflow.attempt + 1):
        for planned in workflow.plan:
            row = ctx.world.get(Step, workflow.id, planned.name, attempt)
            if row is not None:
                steps.append(_step_view(row))
    return {
        "id": workflow.id,
        "kind": str(workflow.kind),
        "remediation": workflow.remediation,
        "state": str(workflow.state),
        "patient": workflow.patient,
        "candidate": workflow.candidate,
        "slot": workflow.slot,
        "plan": [step.name for step in workflow.plan],
        "position": workflow.position,
        "attempt": workflow.attempt,
        "steps": steps,
        "outcome": workflow.outcome,
    }


def _step_view(row: Step) -> StepDoc:
    why = row.outcome.reason if isinstance(row.outcome, Refused | Throttled | Unclear) else ""
    return {
        "name": row.name,
        "attempt": row.attempt,
        "status": str(row.status),
        "intent_at": _time(row.intent_at),
        "done_at": _time(row.done_at),
        "tries": row.tries,
        "reason": why,
    }


def incidents_view(ctx: Context, *, closed: bool, limit: int) -> list[IncidentDoc]:
    """Return incidents, newest first."""
    if closed:
        found = list(ctx.world.all(Incident))
    else:
        numbers = sorted(number for opened in ctx.world.open_of.values() for number in opened)
        found = [ctx.world.need(Incident, number) for number in numbers]
    return [incident_view(ctx, i) for i in islice(reversed(found), limit)]


def quarantine_view(ctx: Context, kept: Quarantine) -> QuarantineDoc:
    """Return one quarantined machine with its last results."""
    instance = ctx.world.get(Instance, kept.instance)
    return {
        "instance": kept.instance,
        "fleet": kept.fleet,
        "incident": kept.incident,
        "cause": kept.cause,
        "lifecycle": str(instance.lifecycle) if instance else "unknown",
        "zone": instance.zone if instance else "",
        "isolated_at": _time(kept.isolated_at),
        "stops_at": _time(kept.stop_at),
        "expires_at": _time(kept.expires_at),
        "stopped": kept.stopped,
        "held_until": _time(instance.held_until) if instance else None,
        "held": ctx.hold_on(instance),
        "ends_at": None if kept.ended_at else _time(quarantine.ends_at(ctx, kept)),
        "ended_at": _time(kept.ended_at),
        "ended_by": kept.ended_by,
        "results": list(kept.results),
        "capture": kept.capture,
    }


def quarantines_view(ctx: Context, *, ended: bool = False) -> list[QuarantineDoc]:
    """Return the quarantined machines, oldest first."""
    found = [q for q in ctx.world.all(Quarantine) if ended or q.ended_at is None]
    return [quarantine_view(ctx, q) for q in sorted(found, key=lambda q: (q.isolated_at, q.instance))]


def explain(ctx: Context, instance: Instance) -> ExplainDoc:
    """Return why an instance is judged as it is, and every guard with its value and threshold."""
    fleet = ctx.fleets.get(instance.fleet)
    incident = ctx.world.incident_of(instance.fleet, instance.id)
    running = ctx.world.workflow_of(instance.id)
    view: ExplainDoc = {
        "instance": instance_view(ctx, fleet, instance, _good_image(ctx, instance.fleet)),
        "decision": {"what": "nothing", "why": f"fleet {instance.fleet} is not configured: it is left alone"},
        "checks": [],
        "incident": incident_view(ctx, incident) if incident else None,
        "workflow": _workflow_view(ctx, running) if running else None,
        "guards": {},
    }
    if fleet is None:
        return view
    chart = fleet.charts.get(instance.id)
    if chart is not None:
        view["checks"] = [_check_view(ctx, chart.checks[name]) for name in sorted(chart.checks)]
    facts = ctx.facts(fleet, instance=instance, incident=incident)
    for act in (Act.REMEDIATE, Act.WITHDRAW, Act.LAUNCH, Act.ISOLATE):
        view["guards"][str(act)] = [_reading(r) for r in read(act, facts)]
    view["decision"] = _decision(ctx, fleet, instance, running)
    return view


def _check_view(ctx: Context, e: Evidence) -> CheckDoc:
    now = ctx.now.boot
    return {
        "name": e.check.name,
        "role": str(e.role),
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
    facts = ctx.facts(fleet, instance=instance, incident=incident)
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
