"""Machines that were set aside and kept: the record, the room for them, and the end of their time."""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import plans
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.model import (
    Instance,
    Lifecycle,
    Quarantine,
    Workflow,
    WorkflowKind,
)


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


def make_room(ctx: Context, fleet: Fleet) -> None:
    """Let the oldest kept machine go for a newer one: healing outranks evidence, a hold outranks healing."""
    if any(ctx.world.need(Workflow, n).kind is WorkflowKind.PURGE for n in ctx.world.running[fleet.policy.name]):
        return
    for kept in ctx.kept(fleet):
        instance = ctx.world.get(Instance, kept.instance)
        held = instance is not None and instance.held_until is not None and instance.held_until > ctx.now.wall
        if not held and kept.instance not in ctx.world.by_instance:
            plans.begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=kept.instance)
            return


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
        plans.begin(ctx, fleet, WorkflowKind.PURGE, workflow.incident, patient=kept.instance)
    keep(ctx, fleet, candidate.id, workflow.incident, f"never served: {why}")
    if registered:
        # It got as far as the load balancer: take it out before anything else.
        ctx.world.put(replace(ctx.world.need(Workflow, workflow.id), candidate=""))
        plans.begin(ctx, fleet, WorkflowKind.WITHDRAW, workflow.incident, patient=candidate.id)
