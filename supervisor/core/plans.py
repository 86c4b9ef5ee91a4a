"""The plans: what a workflow will do, frozen when it begins, and the whole request of each of its steps.

A removal is written into the budget ledger in the same commit that freezes its plan.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import attrition, troubles
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.journal import PlannedStep, Step, Subject, Verb, Workflow, WorkflowKind, WorkflowState
from supervisor.core.machine import Placement
from supervisor.core.model import Image, Incident, Instance, Quarantine, Removal
from supervisor.core.requests import (
    Capture,
    Deregister,
    Isolate,
    Launch,
    Mark,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
    Words,
)
from supervisor.core.settings import GROUPS_OWN, RemediationPolicy
from supervisor.core.terms import Cause, Lifecycle

CAPACITY_MEMORY = 600.0


def planned(verb: Verb, subject: Subject = Subject.PATIENT, *, optional: bool = False) -> PlannedStep:
    """Return one step of a plan, named after its verb."""
    return PlannedStep(str(verb), verb, subject, optional)


FILL = (
    planned(Verb.LAUNCH, Subject.CANDIDATE),
    planned(Verb.WARM, Subject.CANDIDATE),
    planned(Verb.REGISTER, Subject.CANDIDATE),
    planned(Verb.CONFIRM, Subject.CANDIDATE),
)
PLANS: dict[WorkflowKind, tuple[PlannedStep, ...]] = {
    WorkflowKind.FILL: FILL,
    WorkflowKind.RESCUE: FILL,
    WorkflowKind.ADOPT: FILL[1:],
    WorkflowKind.WITHDRAW: (planned(Verb.WITHDRAW),),
    WorkflowKind.RETURN: (planned(Verb.REGISTER), planned(Verb.CONFIRM)),
    WorkflowKind.RELEASE: (planned(Verb.RESTORE), planned(Verb.WARM), planned(Verb.REGISTER), planned(Verb.CONFIRM)),
    WorkflowKind.STOP: (planned(Verb.STOP),),
    WorkflowKind.PURGE: (planned(Verb.MARK), planned(Verb.LAPSE), planned(Verb.TERMINATE)),
    WorkflowKind.KEEP: (planned(Verb.UNMARK),),
    WorkflowKind.FENCE: (planned(Verb.WITHDRAW), planned(Verb.ISOLATE)),
    WorkflowKind.SWEEP: (planned(Verb.SWEEP),),
}
"""The engine's own plans; those of remediations come from their plugins."""


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
    leftover: str = "",
) -> Workflow:
    """Freeze a plan in the journal."""
    image = last_known_good(ctx, fleet)
    plan = remediation.plan if remediation else PLANS[kind]
    kept = ctx.world.get(Quarantine, patient)
    if kind is WorkflowKind.RELEASE and kept is not None and kept.marked_at is not None:
        plan = (*PLANS[WorkflowKind.KEEP], *plan)  # what is marked for its end never serves
    if fleet.policy.group:
        plan = tuple(step for step in plan if step.verb not in GROUPS_OWN)
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
            plan=plan,
            opened_at=ctx.now.wall,
            actor=actor,
            leftover=leftover,
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
        permit = ctx.permit(fleet.policy.name)
        if permit is not None:
            ctx.world.put(replace(permit, removals=permit.removals - 1))
    steps = ", ".join(step.name for step in workflow.plan)
    incident = ctx.world.put(replace(incident, held=(), held_why=()))
    ctx.note(incident, "incident.acting", f"{rung.kind}: {steps}")
    return workflow


def _charge(ctx: Context, instance: Instance, workflow: Workflow) -> None:
    """Write a removal into the ledger; a second try for the same instance costs no second credit."""
    for number in sorted(ctx.world.unsettled[instance.fleet]):
        removal = ctx.world.need(Removal, number)
        if removal.instance == instance.id:
            ctx.world.put(replace(removal, workflow=workflow.id, at=ctx.now.wall))
            return
    chart = ctx.charts.get(instance.id)
    ctx.world.put(
        Removal(
            id=ctx.world.next_id(),
            fleet=instance.fleet,
            zone=instance.zone,
            slot=instance.slot,
            instance=instance.id,
            workflow=workflow.id,
            at=ctx.now.wall,
            labels=chart.labels if chart is not None else (),
        )
    )
    attrition.count(ctx, ctx.fleets[instance.fleet])


def settle_slot(ctx: Context, fleet: str, slot: int | None) -> None:
    """Give the credit back: the slot's new machine has left probation."""
    for number in sorted(ctx.world.unsettled[fleet]):
        removal = ctx.world.need(Removal, number)
        if removal.slot == slot:
            ctx.world.put(replace(removal, settled_at=ctx.now.wall))


def settle_instance(ctx: Context, fleet: Fleet, instance: str) -> None:
    """Give the credit of an instance back that was not removed after all."""
    for number in sorted(ctx.world.unsettled[fleet.policy.name]):
        removal = ctx.world.need(Removal, number)
        if removal.instance == instance:
            ctx.world.put(replace(removal, settled_at=ctx.now.wall))


def last_known_good(ctx: Context, fleet: Fleet) -> Image:
    """Return the image that healing launches."""
    name = fleet.policy.name
    return ctx.world.good_image(name) or ctx.world.put(
        Image(name, fleet.policy.image, fleet.policy.version, True, ctx.now.wall)
    )


def end(ctx: Context, fleet: Fleet, workflow: Workflow, state: WorkflowState, outcome: str) -> Workflow:
    """End a workflow."""
    fleet.dirty = True
    current = ctx.world.need(Workflow, workflow.id)
    return ctx.world.put(replace(current, state=state, ended_at=ctx.now.wall, outcome=outcome))


def request_for(ctx: Context, fleet: Fleet, workflow: Workflow, step: PlannedStep, subject: Instance | None) -> Request:
    """Return the whole request of an act, as it will be journalled and sent."""
    name = fleet.policy.name
    if step.verb is Verb.LAUNCH:
        place = choose_placement(ctx, fleet, workflow)
        zone = place.zone
        token = ctx.token(name, workflow.incident, workflow.id, step.name, workflow.attempt, zone)
        identity = ctx.world.identity
        tags = (
            ("sickbay:fleet", name),
            ("sickbay:incident", str(workflow.incident)),
            ("sickbay:launch-id", token),
            ("sickbay:supervisor", f"{identity.uid}/{identity.counter}"),
        )
        image = ctx.world.get(Image, name, workflow.image)
        recipe = image.recipe if image is not None else ()
        return Launch(name, workflow.image, workflow.version, zone, token, tags, recipe + place.spec)
    token = ctx.token(name, workflow.incident, workflow.id, step.name, workflow.attempt)
    if step.verb is Verb.SWEEP:
        return Sweep(name, workflow.patient, token, workflow.leftover)
    if subject is None:
        raise AssertionError(f"step {step.name} of workflow {workflow.id} has no subject")
    match step.verb:
        case Verb.WITHDRAW:
            return Deregister(name, subject.id, token)
        case Verb.CAPTURE:
            return Capture(name, subject.id, token)
        case Verb.REGISTER:
            return Register(name, subject.id, token)
        case Verb.ISOLATE:
            return Isolate(name, subject.id, token, _aside(ctx))
        case Verb.RESTORE:
            return Restore(name, subject.id, token)
        case Verb.RESTART:
            return Restart(name, subject.id, token)
        case Verb.STOP:
            return Stop(name, subject.id, token)
        case Verb.TERMINATE:
            return Terminate(name, subject.id, token, waived="" if workflow.actor == "sickbay" else workflow.actor)
        case Verb.MARK:
            failed = subject.lifecycle is Lifecycle.BOOT_FAILED
            return Mark(name, subject.id, token, "failed-candidate" if failed else "expired")
        case Verb.UNMARK:
            return Mark(name, subject.id, token, "")
        case Verb.WARM | Verb.CONFIRM | Verb.LAPSE:
            raise AssertionError(f"{step.verb} is a wait")


def _aside(ctx: Context) -> Words:
    """What is written on a machine that is set aside, for whoever finds it. Its incident's tag stays its launch's."""
    until = ctx.at(ctx.settings.retention.kept).isoformat(timespec="seconds")
    return (("sickbay:state", "quarantined"), ("sickbay:expires-at", until))


def choose_placement(ctx: Context, fleet: Fleet, workflow: Workflow) -> Placement:
    """Return a place in the zone with the fewest machines; one that refused for want of capacity comes last for a while."""
    places = fleet.policy.places
    counts = dict.fromkeys((place.zone for place in places), 0)
    for member in ctx.world.members[fleet.policy.name]:
        instance = ctx.world.need(Instance, member)
        away = (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED, Lifecycle.RETIRING)
        if instance.zone in counts and member != workflow.patient and instance.lifecycle not in away:
            counts[instance.zone] += 1
    for number in ctx.world.running[fleet.policy.name]:
        other = ctx.world.need(Workflow, number)
        if other.zone in counts and not other.candidate and other.id != workflow.id:
            counts[other.zone] += 1
    refused = {place for place, at in fleet.capacity_refused.items() if ctx.now.boot - at < CAPACITY_MEMORY}
    order = {place: number for number, place in enumerate(places)}
    impaired, same = troubles.bad_zones(ctx.world, ctx.sight, fleet), _zone_of_control(ctx, workflow)

    def preference(place: Placement) -> tuple[bool | int, ...]:
        trouble = place.zone in impaired or _is_accused(fleet, place)
        return place.zone != same if same else False, trouble, place in refused, counts[place.zone], order[place]

    return min(places, key=preference)


def _is_accused(fleet: Fleet, place: Placement) -> bool:
    """Return whether a new machine would share with the sick what makes them sick: the type, the host, the subnet."""
    lot, verdict = fleet.lot, fleet.verdict
    if lot is not None and lot.label in place.spec:
        return True
    if verdict.cause is Cause.ZONE:
        return place.zone == verdict.value
    shared = verdict.cause in (Cause.COHORT, Cause.SUBNET)
    return shared and any(key == verdict.label and value == verdict.value for key, value in place.spec)


def _zone_of_control(ctx: Context, workflow: Workflow) -> str:
    """Return where a control launch must go: to where the image on trial has failed; '' for any other launch."""
    suspect = ctx.suspect_image(workflow.fleet)
    if suspect is None or workflow.image == suspect.id:
        return ""
    failed = ctx.world.get(Step, workflow.id, str(Verb.LAUNCH), workflow.attempt - 1)
    return failed.request.zone if failed is not None and isinstance(failed.request, Launch) else ""


def placement_of(fleet: Fleet, launch: Launch) -> Placement | None:
    """Return which of the fleet's places a launch was for; None when the configuration has changed since."""
    asked = set(launch.spec)
    return next((p for p in fleet.policy.places if p.zone == launch.zone and asked.issuperset(p.spec)), None)
