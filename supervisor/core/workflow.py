"""Carries a frozen plan on, step by step: intent, effect, answer. A crash between any two lines resumes here.

The rules, in the order in which they bite:
1. A step that takes something away is gated again right before its intent, whatever was decided at the beginning.
2. The intent, with the whole request, is committed before the command is dispatched.
3. A step without an answer is sent again unchanged, until the answer is definite.
4. A new attempt has a new token, and begins only after the old one's definite no.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import diagnosis, dossiers, groups, images, incidents, plans, quarantine, storm
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, Reading, holding
from supervisor.core.journal import PlannedStep, Step, StepStatus, Subject, Verb, Workflow, WorkflowKind, WorkflowState
from supervisor.core.machine import TargetHealth
from supervisor.core.model import Incident, IncidentState, Instance, Moment, Quarantine, Resolution, Slot
from supervisor.core.requests import (
    DESTRUCTIVE,
    Launch,
    Refused,
    Terminate,
    Throttled,
)
from supervisor.core.settings import RemediationPolicy
from supervisor.core.signals import Perform
from supervisor.core.terms import GONE, SERVING, Health, Lifecycle

WAITS = frozenset({Verb.WARM, Verb.CONFIRM, Verb.LAPSE})
ACT_OF: dict[Verb, Act] = {
    Verb.WITHDRAW: Act.WITHDRAW,
    Verb.CAPTURE: Act.KEEP,
    Verb.LAUNCH: Act.LAUNCH,
    Verb.REGISTER: Act.REGISTER,
    Verb.ISOLATE: Act.ISOLATE,
    Verb.RESTORE: Act.KEEP,
    Verb.RESTART: Act.RESTART,
    Verb.STOP: Act.KEEP,
    Verb.MARK: Act.KEEP,
    Verb.UNMARK: Act.KEEP,
    Verb.TERMINATE: Act.TERMINATE,
    Verb.SWEEP: Act.SWEEP,
}
BACKOFF_CAP = 60.0


def advance(ctx: Context, fleet: Fleet, number: int) -> None:
    """Carry one workflow on as far as it goes now."""
    while True:
        workflow = ctx.world.need(Workflow, number)
        if workflow.state is not WorkflowState.RUNNING:
            return
        if _abandon_if_recovered(ctx, fleet, workflow) or quarantine.is_called_off(ctx, fleet, workflow):
            return
        step = workflow.step
        if step is None:
            finish(ctx, fleet, workflow)
            return
        row = ctx.world.get(Step, workflow.id, step.name, workflow.attempt)
        if row is not None and row.status in (StepStatus.DONE, StepStatus.SKIPPED):
            ctx.world.put(replace(workflow, position=workflow.position + 1))
            continue
        moved = _wait(ctx, fleet, workflow, step, row) if step.verb in WAITS else _act(ctx, fleet, workflow, step, row)
        if not moved:
            return


def _abandon_if_recovered(ctx: Context, fleet: Fleet, workflow: Workflow) -> bool:
    """Stop a remediation whose patient is well again before anything was launched or restarted."""
    if workflow.kind is not WorkflowKind.REMEDIATE:
        return False
    chart = fleet.charts.get(workflow.patient)
    if chart is None or chart.finding.health is not Health.HEALTHY:
        return False
    for step in workflow.plan:
        row = ctx.world.get(Step, workflow.id, step.name, workflow.attempt)
        if row is not None and row.status in (StepStatus.INTENT, StepStatus.UNCLEAR):
            return False  # an effect is on its way: the answer comes first
        if step.verb in (Verb.LAUNCH, Verb.RESTART, Verb.ISOLATE) and (workflow.attempt > 1 or row is not None):
            return False
    plans.end(ctx, fleet, workflow, WorkflowState.ABANDONED, "the instance recovered by itself")
    plans.settle_instance(ctx, fleet, workflow.patient)
    incident = ctx.world.need(Incident, workflow.incident)
    patient = ctx.world.need(Instance, workflow.patient)
    if patient.lifecycle is not Lifecycle.WITHDRAWN:
        incidents.close(
            ctx, incident, Resolution.RECOVERED, f"{workflow.patient} recovered by itself; nothing was done"
        )
    return True


def _subject(ctx: Context, workflow: Workflow, step: PlannedStep) -> Instance | None:
    name = workflow.patient if step.subject is Subject.PATIENT else workflow.candidate
    return ctx.world.get(Instance, name) if name else None


def _act(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, row: Step | None) -> bool:
    """Write the intent of an act, or send it again; return whether the plan moved on."""
    if row is not None:
        if fleet.inventory_at is not None and not _is_barred(ctx, fleet, workflow, step, row):
            _send(ctx, row)  # after a start, first what the cloud says, then what the journal says
        return False
    subject = _subject(ctx, workflow, step)
    if step.verb not in (Verb.LAUNCH, Verb.SWEEP) and (subject is None or subject.lifecycle in GONE):
        return _skip(ctx, workflow, step, "the machine is gone")
    if step.verb is Verb.MARK and _is_marked(ctx, workflow):
        return _skip(ctx, workflow, step, "it is marked already")
    if step.verb is Verb.LAUNCH and workflow.retry_at is not None and ctx.now.wall < workflow.retry_at:
        return False
    if step.verb is Verb.LAUNCH and storm.lend(ctx, fleet, workflow):
        return True
    held = _held(ctx, fleet, workflow, step, subject)
    incident = ctx.world.get(Incident, workflow.incident)
    if held:
        if step.optional and all(reading.guard == "lb_floor" for reading in held):
            return _skip(ctx, workflow, step, held[0].sentence())
        guards = {reading.guard for reading in held}
        if step.verb in (Verb.ISOLATE, Verb.LAUNCH) and guards <= quarantine.ROOM:
            quarantine.make_room(ctx, fleet, guards, incident)
        if diagnosis.ask_others(ctx, fleet, subject, held):
            return False
        if incident is not None and incident.state is not IncidentState.CLOSED:
            incidents.hold(ctx, incident, step.name, held)
        return False
    if step.verb is Verb.LAUNCH and not ctx.bucket.take(ctx.settings.guards, ctx.now.boot):
        return False  # its turn comes: they are asked for one after another
    _unhold(ctx, workflow)
    before = str(subject.lifecycle) if subject else ""
    request = plans.request_for(ctx, fleet, workflow, step, subject)
    ctx.world.put(Step(workflow.id, step.name, workflow.attempt, StepStatus.INTENT, ctx.now.wall, request, tries=0))
    if isinstance(request, Launch):
        ctx.world.put(replace(workflow, zone=request.zone, retry_at=None))
        _count_lineage(ctx, workflow)
    elif isinstance(request, Terminate) and subject is not None:
        ctx.move(subject, Lifecycle.RETIRING)
    if step.verb is Verb.ISOLATE and incident is not None and workflow.patient == incident.instance:
        dossiers.begin(ctx, fleet, incident, Moment.REMOVAL)
    target = subject.id if subject else workflow.patient or workflow.fleet
    ctx.audit(f"step.{step.name}", target, actor=workflow.actor, reason=_why(incident), before=before)
    _send(ctx, ctx.world.need(Step, workflow.id, step.name, workflow.attempt))
    return False


def _is_barred(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, row: Step) -> bool:
    """Whether an act that certainly had no effect yet (a pause, too many calls) must not be sent on: it is held now."""
    if not isinstance(row.outcome, Throttled) or not isinstance(row.request, DESTRUCTIVE):
        return False
    held = _held(ctx, fleet, workflow, step, _subject(ctx, workflow, step))
    incident = ctx.world.get(Incident, workflow.incident)
    if held and incident is not None and incident.state is not IncidentState.CLOSED:
        incidents.hold(ctx, incident, step.name, held)
    return bool(held)


def _unhold(ctx: Context, workflow: Workflow) -> None:
    """Nothing holds the workflow's incident any more."""
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.held:
        ctx.world.put(replace(incident, held=(), held_why=()))


def _why(incident: Incident | None) -> str:
    return "" if incident is None else f"incident {incident.id}: {incident.cause}"


def _send(ctx: Context, row: Step) -> None:
    key = (row.workflow, row.name, row.attempt)
    if key in ctx.flying or row.request is None:
        return
    if ctx.holders:
        return  # paused: an unanswered step waits as well, and is sent again when everyone has resumed
    delay = 0.0 if row.tries == 0 else min(BACKOFF_CAP, 2.0 ** min(row.tries, 6))
    ctx.flying.add(key)
    ctx.turn.commands.append(Perform(row.workflow, row.name, row.attempt, row.request, delay))


def _skip(ctx: Context, workflow: Workflow, step: PlannedStep, why: str) -> bool:
    ctx.world.put(
        Step(
            workflow.id,
            step.name,
            workflow.attempt,
            StepStatus.SKIPPED,
            ctx.now.wall,
            done_at=ctx.now.wall,
            outcome=Refused(why),
        )
    )
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.step", f"{step.name} left out: {why}")
    return True


def _held(
    ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, subject: Instance | None
) -> tuple[Reading, ...]:
    incident = ctx.world.get(Incident, workflow.incident)
    instance = subject if step.verb is not Verb.LAUNCH else None
    facts = facts_of(ctx, fleet, instance=instance, slot=workflow.slot, incident=incident, workflow=workflow)
    readings = holding(ACT_OF[step.verb], facts)
    # An operator's word for one machine outranks every guard but the pause.
    if workflow.kind is WorkflowKind.RELEASE:
        readings = tuple(r for r in readings if r.guard == "pause")
    return readings


def _count_lineage(ctx: Context, workflow: Workflow) -> None:
    if workflow.slot is None:
        return
    slot = ctx.world.need(Slot, workflow.fleet, workflow.slot)
    if workflow.kind is WorkflowKind.REMEDIATE or slot.served_at is not None:
        window = ctx.settings.guards.lineage_window
        recent = tuple(at for at in slot.lineage if ctx.since(at) < window)
        ctx.world.put(replace(slot, lineage=(*recent, ctx.now.wall)))


def _wait(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, row: Step | None) -> bool:
    """Look whether a wait is over; return whether the plan moved on."""
    if row is None:
        row = ctx.world.put(Step(workflow.id, step.name, workflow.attempt, StepStatus.INTENT, ctx.now.wall))
    if step.verb is Verb.LAPSE:
        return _lapse(ctx, workflow, row)
    subject = _subject(ctx, workflow, step)
    chart = fleet.charts.get(subject.id) if subject else None
    judgement = ctx.settings.judgement
    begun = ctx.to_boot(row.intent_at)
    limit = fleet.boots.deadline(judgement, begun) if step.verb is Verb.WARM else judgement.confirm_deadline
    if subject is None or chart is None or subject.lifecycle in GONE:
        why = f"its machine is gone ({subject.ended})" if subject and subject.ended else "its machine is gone"
        _wait_failed(ctx, fleet, workflow, row, why, hopeless=subject is not None and subject.hopeless)
        return False
    if chart.confirmed_stopped:
        _wait_failed(ctx, fleet, workflow, row, chart.finding.reason)
        return False
    if step.verb is Verb.WARM:
        over = subject.lifecycle is Lifecycle.WARMING and chart.finding.ready
    else:
        over = _is_confirmed(fleet, subject)
    if over:
        _unhold(ctx, workflow)
        ctx.world.put(replace(row, status=StepStatus.DONE, done_at=ctx.now.wall))
        ctx.world.put(replace(workflow, position=workflow.position + 1))
        incident = ctx.world.get(Incident, workflow.incident)
        if step.verb is Verb.CONFIRM:
            _now_serves(ctx, fleet, ctx.world.need(Workflow, workflow.id), subject)
            return True
        if (
            step.subject is Subject.CANDIDATE
            and row.intent_at > ctx.started.wall
            and workflow.kind is not WorkflowKind.ADOPT
        ):
            fleet.boots.note(ctx.since(row.intent_at), ctx.now.boot)  # one that we have seen from its launch on
        if incident is not None and incident.state is not IncidentState.CLOSED:
            ctx.note(incident, "incident.step", f"{subject.id} (zone {subject.zone}) passed its startup checks")
        return True
    if ctx.waited(row.intent_at) >= limit:
        incident = ctx.world.get(Incident, workflow.incident)
        held = holding(Act.GIVE_UP, facts_of(ctx, fleet, instance=subject, incident=incident, workflow=workflow))
        if held:  # unknown is no failure: the machine is not at fault when nobody looks
            if incident is not None and incident.state is not IncidentState.CLOSED:
                incidents.hold(ctx, incident, f"give up {subject.id}", held)
            return False
        if incident is not None and incident.held:  # it speaks again: from now on it has its time
            _unhold(ctx, workflow)
            ctx.world.put(replace(row, intent_at=ctx.now.wall))
            return False
        _wait_failed(ctx, fleet, workflow, row, f"not {_goal(step)} after {limit:.0f}s ({chart.finding.reason})")
    return False


def _is_marked(ctx: Context, workflow: Workflow) -> bool:
    kept = ctx.world.get(Quarantine, workflow.patient)
    return kept is not None and kept.marked_at is not None


def _lapse(ctx: Context, workflow: Workflow, row: Step) -> bool:
    """Wait until the notice of a machine's end has run out."""
    kept = ctx.world.get(Quarantine, workflow.patient)
    ends = quarantine.ends_at(ctx, kept) if kept is not None and kept.ended_at is None else None
    if ends is not None and ctx.now.wall < ends:
        return False
    ctx.world.put(replace(row, status=StepStatus.DONE, done_at=ctx.now.wall))
    return True


def _goal(step: PlannedStep) -> str:
    return "ready" if step.verb is Verb.WARM else "healthy in the load balancer"


def _is_confirmed(fleet: Fleet, subject: Instance) -> bool:
    chart = fleet.charts.get(subject.id)
    if chart is None or chart.machine is None or not chart.registered_seen:
        return False
    well = chart.machine.target in (TargetHealth.HEALTHY, TargetHealth.UNKNOWN)
    return chart.machine.registered is True and well and chart.finding.health is Health.HEALTHY


def _now_serves(ctx: Context, fleet: Fleet, workflow: Workflow, instance: Instance) -> None:
    """The newcomer serves: it takes the slot, and the incident is resolved."""
    name = fleet.policy.name
    slot = workflow.slot
    if workflow.kind is WorkflowKind.RELEASE:
        slot = min(ctx.world.free_slots[name] - {s for f, s in ctx.world.by_slot if f == name}, default=None)
    if instance.lifecycle not in SERVING:  # nobody registered it here: its group did
        instance = ctx.move(instance, Lifecycle.PROBATION)
    launched = bool(workflow.candidate) and not instance.served  # one that was lent has served before
    instance = ctx.world.put(replace(instance, served=True, slot=slot))
    if slot is not None:
        place = ctx.world.need(Slot, name, slot)
        ctx.world.put(replace(place, occupant=instance.id, retry_at=None, served_at=ctx.now.wall, needs_human=""))
        if instance.lifecycle is Lifecycle.IN_SERVICE:
            plans.settle_slot(ctx, name, slot)
    if launched:
        _launches_work(ctx, name)
        fleet.came_up[instance.image] = max(fleet.came_up.get(instance.image, instance.created_at), instance.created_at)
        images.launch_served(ctx, fleet, workflow)
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is None or incident.state is IncidentState.CLOSED:
        return
    if workflow.kind is WorkflowKind.REMEDIATE and workflow.candidate:
        text = f"{instance.id} (zone {instance.zone}, image {instance.version}) serves in place of {workflow.patient}"
        incidents.resolve(ctx, incident, Resolution.REPLACED, text, instance.id)
    elif workflow.kind is WorkflowKind.REMEDIATE:
        incidents.resolve(ctx, incident, Resolution.RESTARTED, f"{instance.id} serves again after a restart")
    elif workflow.kind is WorkflowKind.RETURN:
        incidents.resolve(ctx, incident, Resolution.RECOVERED, f"{instance.id} recovered by itself and serves again")
    elif workflow.kind in (WorkflowKind.FILL, WorkflowKind.ADOPT) and incident.instance:
        text = f"{instance.id} (zone {instance.zone}) serves in place of {incident.instance}"
        incidents.resolve(ctx, incident, Resolution.REPLACED, text, instance.id)
    else:
        ctx.note(incident, "incident.step", f"{instance.id} (zone {instance.zone}) serves")


def _launches_work(ctx: Context, fleet: str) -> None:
    """A launch came through: the row of failures is broken, in the whole fleet. Slots that need a human still do."""
    for number in sorted(ctx.world.slots_of[fleet]):
        slot = ctx.world.need(Slot, fleet, number)
        if slot.failures:
            ctx.world.put(replace(slot, failures=0))


def _wait_failed(
    ctx: Context, fleet: Fleet, workflow: Workflow, row: Step, why: str, *, hopeless: bool = False
) -> None:
    step = next(planned for planned in workflow.plan if planned.name == row.name)
    ctx.world.put(replace(row, status=StepStatus.FAILED, done_at=ctx.now.wall, outcome=Refused(why)))
    if step.subject is Subject.CANDIDATE:
        candidate_failed(ctx, fleet, workflow, why, hopeless=hopeless)
    else:
        patient_failed(ctx, fleet, workflow, why)


def candidate_failed(ctx: Context, fleet: Fleet, workflow: Workflow, why: str, *, hopeless: bool = False) -> None:
    """A newcomer never served: keep it as an exemplar, let the one before it go, and try again if the slot may.

    `hopeless`: no launch will succeed until a person has changed something, so none is tried, in no slot.
    """
    if fleet.policy.group and workflow.kind is WorkflowKind.ADOPT:
        groups.leave_to_it(ctx, fleet, workflow, why)
        return
    guards, name = ctx.settings.guards, fleet.policy.name
    candidate = ctx.world.get(Instance, workflow.candidate) if workflow.candidate else None
    incident = ctx.world.need(Incident, workflow.incident)
    if candidate is not None and candidate.lifecycle not in GONE:
        quarantine.keep_exemplar(ctx, fleet, workflow, candidate, why)
    ctx.note(
        incident, "incident.step", f"launch {workflow.attempt} failed: {workflow.candidate or 'no machine'}: {why}"
    )
    fleet.last_launch_failure = ctx.now.boot
    failures = 1
    if workflow.slot is not None:
        slot = ctx.world.need(Slot, name, workflow.slot)
        # Of many launched together those that fail are known last: beside others that came up they are no row.
        since = fleet.came_up.get(candidate.image) if candidate is not None else None
        lone = (
            not hopeless
            and candidate is not None
            and since is not None
            and candidate.created_at <= since
            and not slot.failures
        )
        failures = 0 if lone else max(slot.failures + 1, guards.launch_failures if hopeless else 0)
        slot = ctx.world.put(replace(slot, failures=failures))
        if candidate is not None and not hopeless:
            workflow = images.launch_failed(ctx, ctx.world.need(Workflow, workflow.id), why)
        if hopeless or failures >= guards.lineage_limit or ctx.lineage(slot) >= guards.lineage_limit:
            said = f"another launch would fail as well: {why}" if hopeless else f"{failures} launches in a row failed"
            ctx.world.put(replace(slot, needs_human=said if hopeless else f"{said}: {why}"))
            plans.end(ctx, fleet, workflow, WorkflowState.FAILED, why)
            text = f"{said} — slot {slot.number}: `sickbay retry {name} {slot.number}` tries again"
            incidents.escalate(ctx, ctx.world.need(Incident, incident.id), text)
            return
    if workflow.kind in (WorkflowKind.ADOPT, WorkflowKind.RESCUE):
        plans.end(ctx, fleet, workflow, WorkflowState.FAILED, why)
        return
    wait = guards.launch_retry[min(max(failures - 1, 0), len(guards.launch_retry) - 1)]
    launch = next(i for i, step in enumerate(workflow.plan) if step.verb is Verb.LAUNCH)
    ctx.world.put(
        replace(workflow, position=launch, attempt=workflow.attempt + 1, candidate="", zone="", retry_at=ctx.at(wait))
    )


def patient_failed(ctx: Context, fleet: Fleet, workflow: Workflow, why: str) -> None:
    """A workflow could not bring its own patient back."""
    patient = ctx.world.get(Instance, workflow.patient)
    plans.end(ctx, fleet, workflow, WorkflowState.FAILED, why)
    incident = ctx.world.get(Incident, workflow.incident)
    if workflow.kind is WorkflowKind.RELEASE:
        if incident is not None:
            ctx.note(
                incident, "incident.note", f"release of {workflow.patient} failed: {why}; it goes back into quarantine"
            )
        if patient is not None and patient.lifecycle not in GONE:
            ctx.move(patient, Lifecycle.WITHDRAWN)
            again = RemediationPolicy(
                "quarantine", (plans.planned(Verb.ISOLATE),), removes=False, starts_from=frozenset()
            )
            plans.begin(ctx, fleet, WorkflowKind.REMEDIATE, workflow.incident, patient=patient.id, remediation=again)
        return
    if patient is not None and patient.lifecycle in (Lifecycle.WARMING, Lifecycle.LAUNCHING):
        ctx.move(patient, Lifecycle.WITHDRAWN)
    if incident is None or incident.state is IncidentState.CLOSED:
        return
    if workflow.kind is WorkflowKind.REMEDIATE:
        ladder = tuple(rung.kind for rung in fleet.policy.ladder)
        incidents.next_rung(ctx, incident, workflow.remediation, why, ladder)
    else:
        ctx.note(incident, "incident.note", f"{workflow.kind} of {workflow.patient} failed: {why}")


def finish(ctx: Context, fleet: Fleet, workflow: Workflow) -> None:
    """Every step is done."""
    plans.end(ctx, fleet, workflow, WorkflowState.DONE, "done")
    incident = ctx.world.get(Incident, workflow.incident)
    open_incident = incident is not None and incident.state is not IncidentState.CLOSED
    if workflow.kind is WorkflowKind.RELEASE:
        quarantine.end_quarantine(ctx, workflow.patient, "released")
        ctx.say("quarantine.released", f"{workflow.patient} is back from quarantine", workflow.fleet)
    if not open_incident or incident is None:
        return
    isolated = any(step.verb is Verb.ISOLATE for step in workflow.plan)
    if workflow.kind is WorkflowKind.REMEDIATE:
        if workflow.candidate:
            incidents.close(ctx, incident, Resolution.REPLACED, f"{workflow.candidate} replaced {workflow.patient}")
        elif isolated and groups.owes(ctx, fleet, workflow.slot):
            pass  # the incident goes on until a new member serves
        elif isolated:
            incidents.close(ctx, incident, Resolution.SET_ASIDE, f"{workflow.patient} is set aside")
        else:
            incidents.close(ctx, incident, Resolution.RESTARTED, f"{workflow.patient} serves again")
    elif workflow.kind is WorkflowKind.RETURN:
        incidents.close(ctx, incident, Resolution.RECOVERED, f"{workflow.patient} serves again")
    elif workflow.kind in (WorkflowKind.FILL, WorkflowKind.ADOPT) and incident.instance:
        incidents.close(ctx, incident, Resolution.REPLACED, f"{workflow.candidate} replaced {incident.instance}")
