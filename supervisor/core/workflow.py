"""Carries a frozen plan on, step by step: intent, effect, answer. A crash between any two lines resumes here.

The rules, in the order in which they bite:
1. A step that takes something away is gated again right before its intent, whatever was decided at the beginning.
2. The intent, with the whole request, is committed before the command is dispatched.
3. A step without an answer is sent again unchanged, until the answer is definite.
4. A new attempt has a new token, and begins only after the old one's definite no.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import incidents
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, Reading, holding
from supervisor.core.model import (
    GONE,
    Health,
    Image,
    Incident,
    IncidentState,
    Instance,
    Lifecycle,
    PlannedStep,
    Quarantine,
    Removal,
    Resolution,
    Slot,
    Step,
    StepStatus,
    Subject,
    TargetHealth,
    Verb,
    Workflow,
    WorkflowKind,
    WorkflowState,
)
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Terminate,
    Throttled,
    Unclear,
)
from supervisor.core.settings import RemediationPolicy
from supervisor.core.signals import Perform, StepFinished

WAITS = frozenset({Verb.WARM, Verb.CONFIRM})
ACT_OF: dict[Verb, Act] = {
    Verb.WITHDRAW: Act.WITHDRAW,
    Verb.CAPTURE: Act.KEEP,
    Verb.LAUNCH: Act.LAUNCH,
    Verb.REGISTER: Act.REGISTER,
    Verb.ISOLATE: Act.ISOLATE,
    Verb.RESTORE: Act.KEEP,
    Verb.RESTART: Act.RESTART,
    Verb.STOP: Act.KEEP,
    Verb.TERMINATE: Act.TERMINATE,
}
BACKOFF_CAP = 60.0
CAPACITY_MEMORY = 600.0


def _step(verb: Verb, subject: Subject = Subject.PATIENT, *, optional: bool = False) -> PlannedStep:
    return PlannedStep(str(verb), verb, subject, optional)


FILL = (
    _step(Verb.LAUNCH, Subject.CANDIDATE),
    _step(Verb.WARM, Subject.CANDIDATE),
    _step(Verb.REGISTER, Subject.CANDIDATE),
    _step(Verb.CONFIRM, Subject.CANDIDATE),
)
PLANS: dict[WorkflowKind, tuple[PlannedStep, ...]] = {
    WorkflowKind.FILL: FILL,
    WorkflowKind.ADOPT: FILL[1:],
    WorkflowKind.WITHDRAW: (_step(Verb.WITHDRAW),),
    WorkflowKind.RETURN: (_step(Verb.REGISTER), _step(Verb.CONFIRM)),
    WorkflowKind.RELEASE: (_step(Verb.RESTORE), _step(Verb.WARM), _step(Verb.REGISTER), _step(Verb.CONFIRM)),
    WorkflowKind.STOP: (_step(Verb.STOP),),
    WorkflowKind.PURGE: (_step(Verb.TERMINATE),),
}
"""The engine's own plans; those of remediations come from their plugins."""


# ---------------------------------------------------------------------------------------------- beginning


def begin(
    ctx: Context,
    fleet: Fleet,
    kind: WorkflowKind,
    incident: int,
    *,
    slot: int | None = None,
    patient: str = "",
    candidate: str = "",
    remediation: RemediationPolicy | None = None,
    actor: str = "sickbay",
) -> Workflow:
    """Freeze a plan in the journal."""
    image = last_known_good(ctx, fleet)
    workflow = ctx.world.put(
        Workflow(
            id=ctx.world.next_id(),
            incident=incident,
            fleet=fleet.policy.name,
            kind=kind,
            remediation=remediation.kind if remediation else "",
            slot=slot,
            patient=patient,
            candidate=candidate,
            image=image.id,
            version=image.version,
            plan=remediation.plan if remediation else PLANS[kind],
            opened_at=ctx.now.wall,
            actor=actor,
        )
    )
    fleet.dirty = True
    return workflow


def begin_remediation(
    ctx: Context, fleet: Fleet, incident: Incident, instance: Instance, rung: RemediationPolicy
) -> Workflow:
    """Begin to heal: the plan, and the entry in the budget ledger, in one commit."""
    workflow = begin(
        ctx,
        fleet,
        WorkflowKind.REMEDIATE,
        incident.id,
        slot=instance.slot,
        patient=instance.id,
        remediation=rung,
    )
    if rung.removes:
        _charge(ctx, instance, workflow)
    steps = ", ".join(step.name for step in workflow.plan)
    incident = ctx.world.put(replace(incident, held=()))
    ctx.note(incident, "incident.acting", f"{rung.kind}: {steps}")
    return workflow


def _charge(ctx: Context, instance: Instance, workflow: Workflow) -> None:
    """Write a removal into the ledger; a second try for the same instance costs no second credit."""
    for number in sorted(ctx.world.unsettled[instance.fleet]):
        removal = ctx.world.need(Removal, number)
        if removal.instance == instance.id:
            ctx.world.put(replace(removal, workflow=workflow.id, at=ctx.now.wall))
            return
    ctx.world.put(
        Removal(
            id=ctx.world.next_id(),
            fleet=instance.fleet,
            zone=instance.zone,
            slot=instance.slot,
            instance=instance.id,
            workflow=workflow.id,
            at=ctx.now.wall,
        )
    )


def settle_slot(ctx: Context, fleet: str, slot: int | None) -> None:
    """Give the credit back: the slot's new machine has left probation."""
    for number in sorted(ctx.world.unsettled[fleet]):
        removal = ctx.world.need(Removal, number)
        if removal.slot == slot:
            ctx.world.put(replace(removal, settled_at=ctx.now.wall))


def last_known_good(ctx: Context, fleet: Fleet) -> Image:
    """Return the image that healing launches."""
    name = fleet.policy.name
    found = [i for i in ctx.world.all(Image) if i.fleet == name and i.last_known_good]
    if found:
        return found[0]
    return ctx.world.put(Image(name, fleet.policy.image, fleet.policy.version, True, ctx.now.wall))


# ---------------------------------------------------------------------------------------------- going on


def advance(ctx: Context, fleet: Fleet, number: int) -> None:
    """Carry one workflow on as far as it goes now."""
    while True:
        workflow = ctx.world.need(Workflow, number)
        if workflow.state is not WorkflowState.RUNNING:
            return
        if _abandon_if_recovered(ctx, fleet, workflow):
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
    end(ctx, fleet, workflow, WorkflowState.ABANDONED, "the instance recovered by itself")
    settle_instance(ctx, fleet, workflow.patient)
    incident = ctx.world.need(Incident, workflow.incident)
    patient = ctx.world.need(Instance, workflow.patient)
    if patient.lifecycle is not Lifecycle.WITHDRAWN:
        incidents.close(
            ctx, incident, Resolution.RECOVERED, f"{workflow.patient} recovered by itself; nothing was done"
        )
    return True


def settle_instance(ctx: Context, fleet: Fleet, instance: str) -> None:
    """Give the credit of an instance back that was not removed after all."""
    for number in sorted(ctx.world.unsettled[fleet.policy.name]):
        removal = ctx.world.need(Removal, number)
        if removal.instance == instance:
            ctx.world.put(replace(removal, settled_at=ctx.now.wall))


def _subject(ctx: Context, workflow: Workflow, step: PlannedStep) -> Instance | None:
    name = workflow.patient if step.subject is Subject.PATIENT else workflow.candidate
    return ctx.world.get(Instance, name) if name else None


# -- acts


def _act(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, row: Step | None) -> bool:
    """Write the intent of an act, or send it again; return whether the plan moved on."""
    if row is not None:
        _send(ctx, row)
        return False
    subject = _subject(ctx, workflow, step)
    if step.verb is not Verb.LAUNCH and (subject is None or subject.lifecycle in GONE):
        return _skip(ctx, workflow, step, "the machine is gone")
    if step.verb is Verb.LAUNCH and workflow.retry_at is not None and ctx.now.wall < workflow.retry_at:
        return False
    held = _held(ctx, fleet, workflow, step, subject)
    incident = ctx.world.get(Incident, workflow.incident)
    if held:
        if step.optional and all(reading.guard == "lb_floor" for reading in held):
            return _skip(ctx, workflow, step, held[0].sentence())
        if step.verb is Verb.ISOLATE and [r.guard for r in held] == ["quarantine_cap"]:
            make_room(ctx, fleet)
        if incident is not None and incident.state is not IncidentState.CLOSED:
            incidents.hold(ctx, incident, step.name, held)
        return False
    if incident is not None and incident.held:
        ctx.world.put(replace(incident, held=()))
    request = _request(ctx, fleet, workflow, step, subject)
    ctx.world.put(Step(workflow.id, step.name, workflow.attempt, StepStatus.INTENT, ctx.now.wall, request, tries=0))
    if isinstance(request, Launch):
        ctx.world.put(replace(workflow, zone=request.zone, retry_at=None))
        _count_lineage(ctx, workflow)
    elif isinstance(request, Terminate) and subject is not None:
        ctx.move(subject, Lifecycle.RETIRING)
    target = subject.id if subject else workflow.fleet
    ctx.audit(f"step.{step.name}", target, actor=workflow.actor, reason=_why(incident))
    _send(ctx, ctx.world.need(Step, workflow.id, step.name, workflow.attempt))
    return False


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
    facts = ctx.facts(fleet, instance=instance, slot=workflow.slot, incident=incident, workflow=workflow)
    readings = holding(ACT_OF[step.verb], facts)
    # An operator's word for one machine outranks every guard but the pause.
    if workflow.kind is WorkflowKind.RELEASE:
        readings = tuple(r for r in readings if r.guard == "pause")
    return readings


def make_room(ctx: Context, fleet: Fleet) -> None:
    """Let the oldest kept machine go for a newer one: healing outranks evidence, a hold outranks healing."""
    if any(ctx.world.need(Workflow, n).kind is WorkflowKind.PURGE for n in ctx.world.running[fleet.policy.name]):
        return
    for kept in ctx.kept(fleet):
        instance = ctx.world.get(Instance, kept.instance)
        held = instance is not None and instance.held_until is not None and instance.held_until > ctx.now.wall
        if not held and kept.instance not in ctx.world.by_instance:
            begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=kept.instance)
            return


def _count_lineage(ctx: Context, workflow: Workflow) -> None:
    if workflow.slot is None:
        return
    slot = ctx.world.need(Slot, workflow.fleet, workflow.slot)
    if workflow.kind is WorkflowKind.REMEDIATE or slot.served_at is not None:
        window = ctx.settings.guards.lineage_window
        recent = tuple(at for at in slot.lineage if ctx.since(at) < window)
        ctx.world.put(replace(slot, lineage=(*recent, ctx.now.wall)))


def _request(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, subject: Instance | None) -> Request:
    name = fleet.policy.name
    if step.verb is Verb.LAUNCH:
        zone = choose_zone(ctx, fleet, workflow)
        token = ctx.token(name, workflow.incident, workflow.id, step.name, workflow.attempt, zone)
        identity = ctx.world.identity
        tags = (
            ("sickbay:fleet", name),
            ("sickbay:incident", str(workflow.incident)),
            ("sickbay:launch-id", token),
            ("sickbay:supervisor", f"{identity.uid}/{identity.counter}"),
        )
        return Launch(name, workflow.image, workflow.version, zone, token, tags)
    if subject is None:
        raise AssertionError(f"step {step.name} of workflow {workflow.id} has no subject")
    token = ctx.token(name, workflow.incident, workflow.id, step.name, workflow.attempt)
    match step.verb:
        case Verb.WITHDRAW:
            return Deregister(name, subject.id, token)
        case Verb.CAPTURE:
            return Capture(name, subject.id, token)
        case Verb.REGISTER:
            return Register(name, subject.id, token)
        case Verb.ISOLATE:
            return Isolate(name, subject.id, token, (("sickbay:state", "quarantined"),))
        case Verb.RESTORE:
            return Restore(name, subject.id, token)
        case Verb.RESTART:
            return Restart(name, subject.id, token)
        case Verb.STOP:
            return Stop(name, subject.id, token)
        case Verb.TERMINATE:
            return Terminate(name, subject.id, token)
        case Verb.WARM | Verb.CONFIRM:
            raise AssertionError(f"{step.verb} is a wait")


def choose_zone(ctx: Context, fleet: Fleet, workflow: Workflow) -> str:
    """Return the zone with the fewest machines; one that refused for want of capacity comes last for a while."""
    counts = dict.fromkeys(fleet.policy.zones, 0)
    for member in ctx.world.members[fleet.policy.name]:
        instance = ctx.world.need(Instance, member)
        away = (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED, Lifecycle.RETIRING)
        if instance.zone in counts and member != workflow.patient and instance.lifecycle not in away:
            counts[instance.zone] += 1
    for number in ctx.world.running[fleet.policy.name]:
        other = ctx.world.need(Workflow, number)
        if other.zone in counts and not other.candidate and other.id != workflow.id:
            counts[other.zone] += 1
    refused = {z for z, at in fleet.capacity_refused.items() if ctx.now.boot - at < CAPACITY_MEMORY}
    order = {zone: place for place, zone in enumerate(fleet.policy.zones)}
    return min(counts, key=lambda zone: (zone in refused, counts[zone], order[zone]))


# -- waits


def _wait(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, row: Step | None) -> bool:
    """Look whether a wait is over; return whether the plan moved on."""
    if row is None:
        row = ctx.world.put(Step(workflow.id, step.name, workflow.attempt, StepStatus.INTENT, ctx.now.wall))
    subject = _subject(ctx, workflow, step)
    chart = fleet.charts.get(subject.id) if subject else None
    judgement = ctx.settings.judgement
    limit = judgement.boot_deadline if step.verb is Verb.WARM else judgement.confirm_deadline
    if subject is None or chart is None or subject.lifecycle in GONE:
        _wait_failed(ctx, fleet, workflow, step, "its machine is gone")
        return False
    if chart.confirmed_stopped:
        _wait_failed(ctx, fleet, workflow, step, chart.finding.reason)
        return False
    if step.verb is Verb.WARM:
        over = subject.lifecycle is Lifecycle.WARMING and chart.finding.ready
    else:
        over = _is_confirmed(fleet, subject)
    if over:
        ctx.world.put(replace(row, status=StepStatus.DONE, done_at=ctx.now.wall))
        ctx.world.put(replace(workflow, position=workflow.position + 1))
        incident = ctx.world.get(Incident, workflow.incident)
        if step.verb is Verb.CONFIRM:
            _now_serves(ctx, fleet, ctx.world.need(Workflow, workflow.id), subject)
        elif incident is not None and incident.state is not IncidentState.CLOSED:
            ctx.note(incident, "incident.step", f"{subject.id} (zone {subject.zone}) passed its startup checks")
        return True
    if ctx.waited(row.intent_at) >= limit:
        _wait_failed(ctx, fleet, workflow, step, f"not {_goal(step)} after {limit:.0f}s ({chart.finding.reason})")
    return False


def _goal(step: PlannedStep) -> str:
    return "ready" if step.verb is Verb.WARM else "healthy in the load balancer"


def _is_confirmed(fleet: Fleet, subject: Instance) -> bool:
    chart = fleet.charts.get(subject.id)
    if chart is None or chart.machine is None or chart.registered_seen is None:
        return False
    well = chart.machine.target in (TargetHealth.HEALTHY, TargetHealth.UNKNOWN)
    return chart.machine.registered is True and well and chart.finding.health is Health.HEALTHY


def _now_serves(ctx: Context, fleet: Fleet, workflow: Workflow, instance: Instance) -> None:
    """The newcomer serves: it takes the slot, and the incident is resolved."""
    name = fleet.policy.name
    slot = workflow.slot
    if workflow.kind is WorkflowKind.RELEASE:
        slot = min(ctx.world.free_slots[name] - {s for f, s in ctx.world.by_slot if f == name}, default=None)
    instance = ctx.world.put(replace(instance, served=True, slot=slot))
    if slot is not None:
        place = ctx.world.need(Slot, name, slot)
        ctx.world.put(replace(place, occupant=instance.id, retry_at=None, served_at=ctx.now.wall))
    if workflow.candidate:
        _launches_work(ctx, name)
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


def _wait_failed(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, why: str) -> None:
    if step.subject is Subject.CANDIDATE:
        candidate_failed(ctx, fleet, workflow, why)
    else:
        patient_failed(ctx, fleet, workflow, why)


def candidate_failed(ctx: Context, fleet: Fleet, workflow: Workflow, why: str) -> None:
    """A newcomer never served: keep it as an exemplar, let the one before it go, and try again if the slot may."""
    guards, name = ctx.settings.guards, fleet.policy.name
    candidate = ctx.world.get(Instance, workflow.candidate) if workflow.candidate else None
    incident = ctx.world.need(Incident, workflow.incident)
    if candidate is not None and candidate.lifecycle not in GONE:
        _keep_exemplar(ctx, fleet, workflow, candidate, why)
    ctx.note(
        incident, "incident.step", f"launch {workflow.attempt} failed: {workflow.candidate or 'no machine'}: {why}"
    )
    fleet.last_launch_failure = ctx.now.boot
    failures = 1
    if workflow.slot is not None:
        slot = ctx.world.need(Slot, name, workflow.slot)
        failures = slot.failures + 1
        slot = ctx.world.put(replace(slot, failures=failures))
        if failures >= guards.lineage_limit or ctx.lineage(slot) >= guards.lineage_limit:
            ctx.world.put(replace(slot, needs_human=f"{failures} launches in a row failed: {why}"))
            end(ctx, fleet, workflow, WorkflowState.FAILED, why)
            incidents.escalate(
                ctx,
                incident,
                f"{failures} launches in a row failed in slot {slot.number}; "
                f"`sickbay retry {name} {slot.number}` tries again",
            )
            return
    if workflow.kind is WorkflowKind.ADOPT:
        end(ctx, fleet, workflow, WorkflowState.FAILED, why)
        return
    wait = guards.launch_retry[min(failures - 1, len(guards.launch_retry) - 1)]
    launch = next(i for i, step in enumerate(workflow.plan) if step.verb is Verb.LAUNCH)
    ctx.world.put(
        replace(workflow, position=launch, attempt=workflow.attempt + 1, candidate="", zone="", retry_at=ctx.at(wait))
    )


def _keep_exemplar(ctx: Context, fleet: Fleet, workflow: Workflow, candidate: Instance, why: str) -> None:
    registered = candidate.lifecycle not in (Lifecycle.LAUNCHING, Lifecycle.WARMING)
    ctx.move(candidate, Lifecycle.BOOT_FAILED, slot=None)
    earlier = [
        q
        for q in ctx.kept(fleet)
        if q.incident == workflow.incident
        and q.instance not in ctx.world.by_instance
        and (known := ctx.world.get(Instance, q.instance)) is not None
        and known.lifecycle is Lifecycle.BOOT_FAILED
    ]
    for kept in earlier:
        begin(ctx, fleet, WorkflowKind.PURGE, workflow.incident, patient=kept.instance)
    keep(ctx, fleet, candidate.id, workflow.incident, f"never served: {why}")
    if registered:
        # It got as far as the load balancer: take it out before anything else.
        ctx.world.put(replace(ctx.world.need(Workflow, workflow.id), candidate=""))
        begin(ctx, fleet, WorkflowKind.WITHDRAW, workflow.incident, patient=candidate.id)


def patient_failed(ctx: Context, fleet: Fleet, workflow: Workflow, why: str) -> None:
    """A workflow could not bring its own patient back."""
    patient = ctx.world.get(Instance, workflow.patient)
    end(ctx, fleet, workflow, WorkflowState.FAILED, why)
    incident = ctx.world.get(Incident, workflow.incident)
    if workflow.kind is WorkflowKind.RELEASE:
        if incident is not None:
            ctx.note(
                incident, "incident.note", f"release of {workflow.patient} failed: {why}; it goes back into quarantine"
            )
        if patient is not None and patient.lifecycle not in GONE:
            ctx.move(patient, Lifecycle.WITHDRAWN)
            again = RemediationPolicy("quarantine", (_step(Verb.ISOLATE),), removes=False, starts_from=frozenset())
            begin(ctx, fleet, WorkflowKind.REMEDIATE, workflow.incident, patient=patient.id, remediation=again)
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


# ---------------------------------------------------------------------------------------------- answers


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
    if fleet is not None:
        fleet.dirty = True


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
            chart.registered_seen, chart.registered_after = None, ctx.now.boot
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
            end_quarantine(ctx, request.instance, "purged" if workflow.actor != "sickbay" else "expired")
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
    if instance.slot is not None:
        slot = ctx.world.need(Slot, request.fleet, instance.slot)
        if slot.occupant == instance.id:
            ctx.world.put(replace(slot, occupant=None))
    known = ctx.world.get(Quarantine, instance.id)
    if known is None or known.ended_at is not None:
        keep(ctx, fleet, instance.id, workflow.incident, incident.cause if incident else "")
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
    ctx.move(instance, Lifecycle.QUARANTINED, slot=None)
    return f"{instance.id} is isolated and kept"


def keep(ctx: Context, fleet: Fleet, instance: str, incident: int, cause: str) -> Quarantine:
    """Write the quarantine record, with the last answers of every check."""
    chart = fleet.charts.get(instance)
    lines: list[str] = []
    for name, evidence in sorted(chart.checks.items()) if chart else ():
        lines += [f"{ctx.now.ago(at):%H:%M:%S} {name} {status}: {text}" for at, status, text in evidence.recent]
    retention = ctx.settings.retention
    return ctx.world.put(
        Quarantine(
            instance=instance,
            fleet=fleet.policy.name,
            incident=incident,
            cause=cause,
            isolated_at=ctx.now.wall,
            stop_at=ctx.at(retention.running),
            expires_at=ctx.at(retention.kept),
            results=tuple(lines),
        )
    )


def end_quarantine(ctx: Context, instance: str, how: str) -> None:
    """End a quarantine, if there is one."""
    kept = ctx.world.get(Quarantine, instance)
    if kept is not None and kept.ended_at is None:
        ctx.world.put(replace(kept, ended_at=ctx.now.wall, ended_by=how))
        ctx.audit(f"quarantine.{how}", instance)


def _refused(ctx: Context, fleet: Fleet, workflow: Workflow, row: Step, refused: Refused) -> None:
    """What a definite no means for the plan."""
    step = workflow.step
    if step is None or step.name != row.name:
        return
    incident = ctx.world.get(Incident, workflow.incident)
    if step.verb is Verb.LAUNCH and refused.capacity and len(fleet.capacity_refused) < len(fleet.policy.zones):
        fleet.capacity_refused[workflow.zone] = ctx.now.boot
        ctx.world.put(replace(workflow, attempt=workflow.attempt + 1, zone=""))
        if incident is not None:
            ctx.note(
                incident,
                "incident.step",
                f"no capacity in zone {workflow.zone} ({refused.reason}); another zone is tried",
            )
    elif step.subject is Subject.CANDIDATE:
        candidate_failed(ctx, fleet, workflow, refused.reason)
    elif step.optional:
        _skip_refused(ctx, workflow, row, refused)
    elif workflow.kind in (WorkflowKind.PURGE, WorkflowKind.STOP):
        end(ctx, fleet, workflow, WorkflowState.FAILED, refused.reason)
        patient = ctx.world.need(Instance, workflow.patient)
        if patient.lifecycle is Lifecycle.RETIRING:
            ctx.move(patient, Lifecycle.QUARANTINED)
        kept = ctx.world.get(Quarantine, workflow.patient)
        if kept is not None and kept.ended_at is None:
            later = ctx.at(3600.0)
            ctx.world.put(replace(kept, expires_at=max(kept.expires_at, later), stop_at=max(kept.stop_at, later)))
        ctx.say(
            "quarantine.failed", f"{workflow.kind} of {workflow.patient} was refused: {refused.reason}", workflow.fleet
        )
    else:
        patient_failed(ctx, fleet, workflow, f"{row.name} was refused: {refused.reason}")


def _skip_refused(ctx: Context, workflow: Workflow, row: Step, refused: Refused) -> None:
    ctx.world.put(replace(ctx.world.need(Step, row.workflow, row.name, row.attempt), status=StepStatus.SKIPPED))
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.step", f"{row.name} left out: {refused.reason}")


# ---------------------------------------------------------------------------------------------- the end


def end(ctx: Context, fleet: Fleet, workflow: Workflow, state: WorkflowState, outcome: str) -> Workflow:
    """End a workflow."""
    fleet.dirty = True
    current = ctx.world.need(Workflow, workflow.id)
    return ctx.world.put(replace(current, state=state, ended_at=ctx.now.wall, outcome=outcome))


def finish(ctx: Context, fleet: Fleet, workflow: Workflow) -> None:
    """Every step is done."""
    end(ctx, fleet, workflow, WorkflowState.DONE, "done")
    incident = ctx.world.get(Incident, workflow.incident)
    open_incident = incident is not None and incident.state is not IncidentState.CLOSED
    if workflow.kind is WorkflowKind.RELEASE:
        end_quarantine(ctx, workflow.patient, "released")
        ctx.say("quarantine.released", f"{workflow.patient} is back from quarantine", workflow.fleet)
    if not open_incident or incident is None:
        return
    isolated = any(step.verb is Verb.ISOLATE for step in workflow.plan)
    if workflow.kind is WorkflowKind.REMEDIATE:
        if workflow.candidate:
            incidents.close(ctx, incident, Resolution.REPLACED, f"{workflow.candidate} replaced {workflow.patient}")
        elif isolated:
            incidents.close(ctx, incident, Resolution.SET_ASIDE, f"{workflow.patient} is set aside")
        else:
            incidents.close(ctx, incident, Resolution.RESTARTED, f"{workflow.patient} serves again")
    elif workflow.kind is WorkflowKind.RETURN:
        incidents.close(ctx, incident, Resolution.RECOVERED, f"{workflow.patient} serves again")
    elif workflow.kind in (WorkflowKind.FILL, WorkflowKind.ADOPT) and incident.instance:
        incidents.close(ctx, incident, Resolution.REPLACED, f"{workflow.candidate} replaced {incident.instance}")
