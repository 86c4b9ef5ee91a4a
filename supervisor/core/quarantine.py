"""Machines that were set aside and kept: the record, the room for them, and the end of their time.

The end has two phases. It is announced first, by a mark on the machine itself; it comes when the notice has run out.
A hold in between takes the mark back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from supervisor.core import plans
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Step, StepStatus, Verb, Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, Instance, Quarantine
from supervisor.core.terms import Lifecycle, Seconds

ROOM = frozenset({"quarantine_cap", "quarantine_cost", "extra_machines"})
"""The guards that hold for want of room: `make_room` answers them."""
DEFERRED: Seconds = 3600.0
"""A refused end, or one that was called off, is not tried again before."""


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
        ctx.audit(f"quarantine.{how}", instance, reason=kept.cause, before="kept", after=how)


def retain(ctx: Context, fleet: Fleet) -> None:
    """Stop and end quarantines whose time has come; never one that is held: what was announced to it is called off."""
    for kept in ctx.kept(fleet):
        instance = ctx.world.get(Instance, kept.instance)
        if instance is None or kept.instance in ctx.world.by_instance:
            continue
        held = ctx.hold_on(instance)
        if held and kept.marked_at is not None:
            call_off(ctx, fleet, kept, held)
        elif held:
            continue
        elif kept.expires_at <= ctx.now.wall:
            plans.begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=kept.instance)
        elif not kept.stopped and kept.stop_at <= ctx.now.wall:
            plans.begin(ctx, fleet, WorkflowKind.STOP, kept.incident, patient=kept.instance)


def announced(ctx: Context, instance: str, state: str) -> None:
    """Note the mark on a machine, and tell people while they may still say no; '' is no mark."""
    kept = ctx.world.get(Quarantine, instance)
    if kept is None:
        return
    kept = ctx.world.put(replace(kept, marked_at=ctx.now.wall if state else None))
    ends = ends_at(ctx, kept)
    if ends is not None and ends > ctx.now.wall:
        text = f"{instance} is destroyed at {ends:%Y-%m-%d %H:%M} UTC; `sickbay hold {instance}` keeps it"
        ctx.say("quarantine.ending", text, kept.fleet)


def ends_at(ctx: Context, kept: Quarantine) -> datetime | None:
    """Return when a machine may be destroyed at the earliest; None while its end is not announced.

    At once where an operator asked, or where it never served. When the wall clock was set meanwhile, the notice counts
    from there: nobody loses it to a clock.
    """
    if kept.marked_at is None:
        return None
    instance = ctx.world.get(Instance, kept.instance)
    running = ctx.world.workflow_of(kept.instance)
    asked = running is not None and running.kind is WorkflowKind.PURGE and running.actor != "sickbay"
    if asked or (instance is not None and instance.lifecycle is Lifecycle.BOOT_FAILED):
        return kept.marked_at
    since = kept.marked_at if ctx.clock_set is None else max(kept.marked_at, ctx.clock_set)
    return since + timedelta(seconds=ctx.settings.retention.notice)


def is_called_off(ctx: Context, fleet: Fleet, workflow: Workflow) -> bool:
    """End a purge that must not go on: somebody holds the machine, or its time has not come after all.

    Not while an act is on its way: the answer comes first.
    """
    kept = ctx.world.get(Quarantine, workflow.patient)
    if workflow.kind is not WorkflowKind.PURGE or kept is None or kept.ended_at is not None or is_acting(ctx, workflow):
        return False
    why = ctx.hold_on(ctx.world.get(Instance, workflow.patient))
    if not why and workflow.actor == "sickbay" and kept.expires_at > ctx.now.wall:
        why = f"it is kept until {kept.expires_at:%Y-%m-%d %H:%M} UTC"
    if why:
        call_off(ctx, fleet, kept, why)
    return bool(why)


def is_acting(ctx: Context, workflow: Workflow) -> bool:
    """Return whether a workflow's present step was sent and has no definite answer."""
    row = ctx.world.get(Step, workflow.id, workflow.step.name, workflow.attempt) if workflow.step else None
    return row is not None and row.request is not None and row.status in (StepStatus.INTENT, StepStatus.UNCLEAR)


def is_lapsing(workflow: Workflow) -> bool:
    """Return whether a workflow only waits for the notice of an end."""
    return workflow.step is not None and workflow.step.verb is Verb.LAPSE


def outrank(ctx: Context, fleet: Fleet, instance: str, actor: str) -> None:
    """End the waiting for a notice: an operator has said what becomes of the machine."""
    running = ctx.world.workflow_of(instance)
    if running is not None and is_lapsing(running):
        plans.end(ctx, fleet, running, WorkflowState.ABANDONED, f"{actor} decides")


def call_off(ctx: Context, fleet: Fleet, kept: Quarantine, why: str) -> None:
    """Call an announced end off, in one commit; the mark is taken from the machine by a workflow of its own."""
    running = ctx.world.workflow_of(kept.instance)
    if running is not None:
        plans.end(ctx, fleet, running, WorkflowState.ABANDONED, why)
    instance = ctx.world.get(Instance, kept.instance)
    until = instance.held_until if instance is not None else None
    full = kept.isolated_at + timedelta(seconds=ctx.settings.retention.kept)
    later = max(moment for moment in (kept.expires_at, ctx.at(DEFERRED), full, until) if moment is not None)
    ctx.world.put(replace(kept, marked_at=None, expires_at=later))
    if kept.marked_at is not None:
        plans.begin(ctx, fleet, WorkflowKind.KEEP, kept.incident, patient=kept.instance)
        ctx.say("quarantine.kept", f"{kept.instance} is not destroyed: {why}", kept.fleet)


def make_room(ctx: Context, fleet: Fleet, guards: Collection[str], newer: Incident | None) -> None:
    """Let a kept machine go for a newer one: healing outranks evidence, a hold outranks healing.

    First the oldest of those of whose kind another one is kept, or is to come: `newer` is its incident. Then the oldest.

    With the notice, as any other end: the newer one is out of the load balancer meanwhile, and loses nothing by
    waiting. Where only money is short, stopping is enough, and its disk stays.
    """
    under_way = {ctx.world.need(Workflow, number).kind for number in ctx.world.running[fleet.policy.name]}
    if under_way & {WorkflowKind.PURGE, WorkflowKind.STOP}:
        return
    for kept in _dispensable(ctx, fleet, newer):
        if kept.instance in ctx.world.by_instance or ctx.hold_on(ctx.world.get(Instance, kept.instance)):
            continue
        if "quarantine_cap" in guards:
            ctx.world.put(replace(kept, expires_at=min(kept.expires_at, ctx.now.wall)))
            plans.begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=kept.instance)
            return
        if not kept.stopped:
            plans.begin(ctx, fleet, WorkflowKind.STOP, kept.incident, patient=kept.instance)
            return


def _dispensable(ctx: Context, fleet: Fleet, newer: Incident | None) -> list[Quarantine]:
    """Return the kept machines in the order in which they may go: doubles first, each time the oldest first."""
    kept = ctx.kept(fleet)
    kinds = [_kind(ctx, one) for one in kept]
    times = Counter(kinds)
    if newer is not None:
        times[newer.fingerprint] += 1
    doubles = [bool(kind) and times[kind] > 1 for kind in kinds]
    return [one for _, one in sorted(zip(doubles, kept, strict=True), key=lambda pair: not pair[0])]


def _kind(ctx: Context, kept: Quarantine) -> str:
    """Return the kind of trouble that a kept machine is an example of; '' where nobody knows."""
    instance = ctx.world.get(Instance, kept.instance)
    if instance is not None and instance.lifecycle is Lifecycle.BOOT_FAILED:
        return f"never served, {instance.image}"  # it is not what its incident was about
    incident = ctx.world.get(Incident, kept.incident)
    return incident.fingerprint if incident is not None and incident.instance == kept.instance else ""


def keep_exemplar(ctx: Context, fleet: Fleet, workflow: Workflow, candidate: Instance, why: str) -> None:
    """Keep a candidate that never served, and let the exemplar before it go."""
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
        if not ctx.hold_on(ctx.world.get(Instance, kept.instance)):
            ctx.world.put(replace(kept, expires_at=min(kept.expires_at, ctx.now.wall)))
            plans.begin(ctx, fleet, WorkflowKind.PURGE, workflow.incident, patient=kept.instance)
    keep(ctx, fleet, candidate.id, workflow.incident, f"never served: {why}")
    if registered:
        # It got as far as the load balancer: take it out before anything else.
        ctx.world.put(replace(ctx.world.need(Workflow, workflow.id), candidate=""))
        plans.begin(ctx, fleet, WorkflowKind.WITHDRAW, workflow.incident, patient=candidate.id)
