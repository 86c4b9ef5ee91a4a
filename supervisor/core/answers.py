"""Takes a cloud's answers into the journal: what an effect means for the records, and what a definite no does to a plan."""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import incidents, leftovers, plans, quarantine
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Step, StepStatus, Subject, Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentState, Instance, Quarantine
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Refused,
    Register,
    Restart,
    Restore,
    Stop,
    Terminate,
    Throttled,
    Unclear,
)
from supervisor.core.signals import StepFinished
from supervisor.core.terms import Lifecycle
from supervisor.core.workflow import candidate_failed, patient_failed


def answered(ctx: Context, fleet: Fleet | None, signal: StepFinished) -> None:
    """Take an executor's answer into the journal."""
    key = (signal.workflow, signal.step, signal.attempt)
    ctx.flying.discard(key)
    row = ctx.world.get(Step, *key)
    workflow = ctx.world.get(Workflow, signal.workflow)
    if row is None or workflow is None or row.status not in (StepStatus.INTENT, StepStatus.UNCLEAR):
        return
    tries = row.tries + 1
    match signal.outcome:
        case Done():
            ctx.world.put(
                replace(row, status=StepStatus.DONE, outcome=signal.outcome, done_at=ctx.now.wall, tries=tries)
            )
            if fleet is not None:
                _effect(ctx, fleet, workflow, row, signal.outcome)
        case Refused():
            ctx.world.put(
                replace(row, status=StepStatus.FAILED, outcome=signal.outcome, done_at=ctx.now.wall, tries=tries)
            )
            if fleet is not None:
                _refused(ctx, fleet, workflow, row, signal.outcome)
        case Throttled():
            if isinstance(row.request, Launch):
                ctx.bucket.throttled(ctx.now.boot)
            ctx.world.put(replace(row, outcome=signal.outcome, tries=tries))
        case Unclear():
            ctx.world.put(replace(row, status=StepStatus.UNCLEAR, outcome=signal.outcome, tries=tries))
            incident = ctx.world.get(Incident, workflow.incident)
            if tries == 1 and incident is not None and incident.state is not IncidentState.CLOSED:
                ctx.note(
                    incident,
                    "incident.step",
                    f"{row.name}: no clear answer ({signal.outcome.reason}); the same request is sent again",
                )
            if incident is not None and incident.state is IncidentState.OPEN:
                _ask_when_overdue(ctx, incident, row, signal.outcome)
    if fleet is not None:
        fleet.dirty = True


def _ask_when_overdue(ctx: Context, incident: Incident, row: Step, unclear: Unclear) -> None:
    """Ask for a human when an act stays unclear. The same request is sent on; nothing else takes its place."""
    limit = ctx.settings.judgement.unclear_deadline
    if ctx.since(row.intent_at) >= limit:
        text = f"{row.name} has had no clear answer for {ctx.since(row.intent_at):.0f}s (limit {limit:.0f}s): "
        incidents.escalate(ctx, incident, f"{text}{unclear.reason}; the same request is sent on, and no other")


def _effect(ctx: Context, fleet: Fleet, workflow: Workflow, row: Step, done: Done) -> None:
    """What an effect means for the records."""
    request = row.request
    incident = ctx.world.get(Incident, workflow.incident)
    told = ""
    match request:
        case Launch():
            known = ctx.world.get(Instance, done.instance)
            if known is None:
                known = ctx.world.put(
                    Instance(
                        id=done.instance,
                        fleet=request.fleet,
                        lifecycle=Lifecycle.LAUNCHING,
                        slot=None,
                        image=request.image,
                        version=request.version,
                        zone=request.zone,
                        address="",
                        created_at=ctx.now.wall,
                        since=ctx.now.wall,
                    )
                )
            ctx.track(fleet, known)
            ctx.world.put(replace(workflow, candidate=done.instance))
            told = f"launched {done.instance} (zone {request.zone}, image {request.version})"
        case Deregister():
            told = _move_patient(ctx, request.instance, Lifecycle.WITHDRAWN, "is out of the load balancer")
        case Register():
            instance = ctx.world.need(Instance, request.instance)
            chart = fleet.chart(request.instance)
            chart.registered_seen, chart.registered_after = False, ctx.now.boot
            fleet.astir.add(request.instance)
            ctx.move(instance, Lifecycle.PROBATION)
            told = f"{request.instance} is in the load balancer"
        case Isolate():
            told = _isolated(ctx, fleet, workflow, request)
        case Restart():
            instance = ctx.world.need(Instance, request.instance)
            ctx.move(instance, Lifecycle.WARMING)
            fleet.chart(request.instance).reset()
            told = f"{request.instance} was restarted"
        case Restore():
            instance = ctx.world.need(Instance, request.instance)
            ctx.move(instance, Lifecycle.WARMING, slot=None)
            fleet.chart(request.instance).reset()
            told = f"{request.instance} leaves quarantine and must pass its startup checks"
        case Capture():
            _captured(ctx, request, done)
            told = f"kept the log and states of {request.instance}"
        case Stop():
            kept = ctx.world.get(Quarantine, request.instance)
            if kept is not None:
                ctx.world.put(replace(kept, stopped=True))
        case Terminate():
            instance = ctx.world.need(Instance, request.instance)
            ctx.move(instance, Lifecycle.RETIRED, slot=None)
            quarantine.end_quarantine(ctx, request.instance, "purged" if workflow.actor != "sickbay" else "expired")
        case Mark():
            quarantine.announced(ctx, request.instance, request.state)
        case None:
            pass
    if told and incident is not None and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.step", told)


def _move_patient(ctx: Context, name: str, lifecycle: Lifecycle, words: str) -> str:
    instance = ctx.world.need(Instance, name)
    if instance.lifecycle in (Lifecycle.PROBATION, Lifecycle.IN_SERVICE):
        ctx.move(instance, lifecycle)
    return f"{name} {words}"


def _captured(ctx: Context, request: Capture, done: Done) -> None:
    """Remember where the evidence is until the quarantine record takes it over."""
    kept = ctx.world.get(Quarantine, request.instance)
    if kept is not None:
        ctx.world.put(replace(kept, capture=done.detail))


def _isolated(ctx: Context, fleet: Fleet, workflow: Workflow, request: Isolate) -> str:
    instance = ctx.world.need(Instance, request.instance)
    incident = ctx.world.get(Incident, workflow.incident)
    ctx.vacate(instance)
    known = ctx.world.get(Quarantine, instance.id)
    if known is None or known.ended_at is not None:
        quarantine.keep(ctx, fleet, instance.id, workflow.incident, incident.cause if incident else "")
    captures = [
        s
        for s in (
            ctx.world.get(Step, workflow.id, p.name, a) for p in workflow.plan for a in range(1, workflow.attempt + 1)
        )
        if s is not None and isinstance(s.request, Capture) and isinstance(s.outcome, Done)
    ]
    record = ctx.world.need(Quarantine, instance.id)
    if captures and isinstance(captures[-1].outcome, Done):
        ctx.world.put(replace(record, capture=captures[-1].outcome.detail))
    # In a group its incident goes on until a new member serves there: until then it is known by its slot.
    ctx.move(instance, Lifecycle.QUARANTINED, slot=instance.slot if fleet.policy.group else None)
    return f"{instance.id} is isolated and kept"


def _refused(ctx: Context, fleet: Fleet, workflow: Workflow, row: Step, refused: Refused) -> None:
    """What a definite no means for the plan."""
    step = workflow.step
    if step is None or step.name != row.name:
        return
    incident = ctx.world.get(Incident, workflow.incident)
    if isinstance(row.request, Launch) and refused.capacity and _go_elsewhere(ctx, fleet, row.request):
        ctx.world.put(replace(workflow, attempt=workflow.attempt + 1, zone=""))
        if incident is not None:
            where = ", ".join([f"zone {row.request.zone}", *(value for _, value in row.request.spec)])
            text = f"no capacity in {where} ({refused.reason}); the next place is tried"
            ctx.note(incident, "incident.step", text)
    elif step.subject is Subject.CANDIDATE:
        candidate_failed(ctx, fleet, workflow, refused.reason, hopeless=refused.hopeless)
    elif step.optional:
        _skip_refused(ctx, workflow, row, refused)
    elif workflow.kind is WorkflowKind.SWEEP:
        plans.end(ctx, fleet, workflow, WorkflowState.FAILED, refused.reason)
        leftovers.refused(ctx, fleet, workflow.patient, refused.reason)
    elif workflow.kind in (WorkflowKind.PURGE, WorkflowKind.STOP, WorkflowKind.KEEP):
        plans.end(ctx, fleet, workflow, WorkflowState.FAILED, refused.reason)
        patient = ctx.world.need(Instance, workflow.patient)
        if patient.lifecycle is Lifecycle.RETIRING:
            ctx.move(patient, Lifecycle.QUARANTINED if patient.served else Lifecycle.BOOT_FAILED)
        kept = ctx.world.get(Quarantine, workflow.patient)
        if kept is not None and kept.ended_at is None:
            later = ctx.at(quarantine.DEFERRED)
            ctx.world.put(replace(kept, expires_at=max(kept.expires_at, later), stop_at=max(kept.stop_at, later)))
        ctx.say(
            "quarantine.failed", f"{workflow.kind} of {workflow.patient} was refused: {refused.reason}", workflow.fleet
        )
    else:
        patient_failed(ctx, fleet, workflow, f"{row.name} was refused: {refused.reason}")


def _go_elsewhere(ctx: Context, fleet: Fleet, launch: Launch) -> bool:
    """Remember that a place has no capacity; return whether another one may have."""
    place = plans.placement_of(fleet, launch)
    if place is not None:
        fleet.capacity_refused[place] = ctx.now.boot
    since = ctx.now.boot - plans.CAPACITY_MEMORY
    return any(fleet.capacity_refused.get(other, since) <= since for other in fleet.policy.places)


def _skip_refused(ctx: Context, workflow: Workflow, row: Step, refused: Refused) -> None:
    ctx.world.put(replace(ctx.world.need(Step, row.workflow, row.name, row.attempt), status=StepStatus.SKIPPED))
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.step", f"{row.name} left out: {refused.reason}")
