"""What people and programs may read of the engine's state: plain values, ready for JSON. Reading changes nothing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import islice

from supervisor.core import dossiers, quarantine
from supervisor.core.cards import card
from supervisor.core.context import Context
from supervisor.core.documents import (
    CardDoc,
    ChangeDoc,
    DossierDoc,
    FleetDoc,
    HolderDoc,
    IncidentDoc,
    InstanceDoc,
    MetricDoc,
    OverviewDoc,
    QuarantineDoc,
    StepDoc,
    StoryDoc,
    VerdictDoc,
    WorkflowDoc,
)
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Step, Workflow
from supervisor.core.measured import Measured
from supervisor.core.model import Change, Dossier, Holder, Image, Incident, Instance, Quarantine, Resolution
from supervisor.core.requests import Refused, Throttled, Unclear
from supervisor.core.terms import SERVING, Health, Lifecycle
from supervisor.core.verdict import Verdict


def time_of(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601."""
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
        "started_at": time_of(ctx.started.wall),
        "fleets": [],
        "unmanaged": _unmanaged(ctx),
    }


def _holder(holder: Holder) -> HolderDoc:
    return {
        "name": holder.name,
        "reason": holder.reason,
        "actor": holder.actor,
        "since": time_of(holder.since),
        "until": time_of(holder.until),
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
    good = ctx.world.good_image(name)
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
        "verdict": verdict_view(ctx, fleet.verdict),
        "lifecycles": dict(sorted(Counter(str(m.lifecycle) for m in members).items())),
        "image": None if good is None else {"id": good.id, "version": good.version},
        "configured_image": {"id": fleet.policy.image, "version": fleet.policy.version},
        "quarantined": len(ctx.world.kept[name]),
        "open_incidents": sorted(ctx.world.open_of[name]),
        "last_healed_at": time_of(_last_healed(ctx, name)),
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


def verdict_view(ctx: Context, verdict: Verdict) -> VerdictDoc:
    """Return a verdict in short."""
    return {
        "cause": str(verdict.cause),
        "label": verdict.label,
        "value": verdict.value,
        "words": verdict.words,
        "probability": round(verdict.probability, 4),
        "since": time_of(ctx.now.wall - timedelta(seconds=max(0.0, ctx.now.boot - verdict.since))),
        "sentence": verdict.sentence,
    }


def changes_view(ctx: Context, limit: int) -> list[ChangeDoc]:
    """Return what was changed, newest first."""
    found = sorted(ctx.world.values(Change), key=lambda c: (c.at, c.id), reverse=True)
    return [change_view(change) for change in found[:limit]]


def change_view(change: Change) -> ChangeDoc:
    """Return one change."""
    return {
        "id": change.id,
        "at": time_of(change.at),
        "kind": str(change.kind),
        "target": change.target,
        "text": change.text,
        "actor": change.actor,
        "fleet": change.fleet,
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


def _last_healed(ctx: Context, fleet: str) -> datetime | None:
    """Return when healing was last proved: a machine was replaced, restarted or filled in."""
    healed = (Resolution.REPLACED, Resolution.RESTARTED, Resolution.FILLED)
    ours = (i for i in ctx.world.values(Incident) if i.fleet == fleet and i.resolution in healed)
    return max((i.resolved_at for i in ours if i.resolved_at is not None), default=None)


def metrics_view(ctx: Context, measured: Measured, instance: str) -> list[MetricDoc]:
    """Return the numbers that an instance's checks measured of late."""
    now = ctx.now
    return [
        {
            "check": check,
            "label": label,
            "points": [
                {"at": time_of(now.wall + timedelta(seconds=at - now.boot)), "value": value}
                for at, value in zip(series.at, series.values, strict=True)
            ],
        }
        for check, label, series in measured.of(instance)
    ]


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
        "created_at": time_of(instance.created_at),
        "since": time_of(instance.since),
        "held_until": time_of(instance.held_until),
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
        "about": incident.about,
        "verdict": str(incident.verdict),
        "sure": round(incident.sure, 4),
        "state": str(incident.state),
        "cause": incident.cause,
        "suspected_at": time_of(incident.suspected_at),
        "opened_at": time_of(incident.opened_at),
        "resolved_at": time_of(recovered),
        "closed_at": time_of(incident.closed_at),
        "resolution": str(incident.resolution),
        "replacement": incident.replacement,
        "held_by": list(incident.held),
        "version": incident.version,
        "approval": None
        if incident.approval is None
        else {
            "actor": incident.approval.actor,
            "granted": incident.approval.granted,
            "expires_at": time_of(incident.approval.expires_at),
        },
        "acknowledged_by": incident.acknowledged_by,
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
    """Return one incident with its story, its dossiers and its workflows."""
    before = dossiers.alike(ctx, incident)
    return {
        **incident_view(ctx, incident),
        "fingerprint": incident.fingerprint,
        "alike": [other.id for other in before],
        "alike_in_words": dossiers.alike_in_words(before),
        "dossiers": [_dossier_view(dossier) for dossier in dossiers.of(ctx, incident)],
        "story": [{"at": time_of(n.at), "text": n.text} for n in incident.notes],
        "workflows": [workflow_view(ctx, w) for w in ctx.world.all(Workflow) if w.incident == incident.id],
    }


def _dossier_view(dossier: Dossier) -> DossierDoc:
    return {
        "moment": str(dossier.moment),
        "at": time_of(dossier.at),
        "why": dossier.why,
        "signature": dossier.signature,
        "checks": [
            {"name": c.name, "status": c.status, "since": time_of(c.since), "text": c.text} for c in dossier.checks
        ],
        "cloud": dossier.cloud,
        "changes": list(dossier.changes),
        "log": list(dossier.log),
        "log_at": time_of(dossier.log_at),
        "log_trouble": dossier.log_trouble,
        "telling": dossier.telling,
    }


def workflow_view(ctx: Context, workflow: Workflow) -> WorkflowDoc:
    """Return a workflow with its steps."""
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
        "intent_at": time_of(row.intent_at),
        "done_at": time_of(row.done_at),
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
        "isolated_at": time_of(kept.isolated_at),
        "stops_at": time_of(kept.stop_at),
        "expires_at": time_of(kept.expires_at),
        "stopped": kept.stopped,
        "held_until": time_of(instance.held_until) if instance else None,
        "held": ctx.hold_on(instance),
        "ends_at": None if kept.ended_at else time_of(quarantine.ends_at(ctx, kept)),
        "ended_at": time_of(kept.ended_at),
        "ended_by": kept.ended_by,
        "results": list(kept.results),
        "capture": kept.capture,
    }


def quarantines_view(ctx: Context, *, ended: bool = False) -> list[QuarantineDoc]:
    """Return the quarantined machines, oldest first."""
    found = [q for q in ctx.world.all(Quarantine) if ended or q.ended_at is None]
    return [quarantine_view(ctx, q) for q in sorted(found, key=lambda q: (q.isolated_at, q.instance))]
