"""Fleets whose machines belong to an Auto Scaling group: the group launches and registers, we detach what is sick.

A machine that is set aside leaves the group, which then launches another one by itself. Nothing is launched here; the
incident waits for the group, and a person is asked when the group does not deliver.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from supervisor.core import incidents, plans
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentState, Instance, Quarantine, Resolution, Slot
from supervisor.core.terms import COMING


def owes(ctx: Context, fleet: Fleet, slot: int | None) -> bool:
    """Return whether the fleet's group has to fill a slot."""
    return bool(fleet.policy.group) and slot in ctx.world.slots_of[fleet.policy.name]


def has_delivered(ctx: Context, fleet: Fleet, slot: int, incident: Incident) -> bool:
    """Return whether a new member serves in a slot, and tell so; to be there is not enough."""
    place = ctx.world.get(Slot, fleet.policy.name, slot)
    if place is None or place.occupant is None:
        return place is None  # the fleet has become smaller: nobody is owed any more
    chart = fleet.charts.get(place.occupant)
    if chart is None or not chart.serving:
        return False
    newcomer = ctx.world.need(Instance, place.occupant)
    text = f"{newcomer.id} (zone {newcomer.zone}) serves in place of {incident.instance}"
    incidents.resolve(ctx, incident, Resolution.REPLACED, text, newcomer.id)
    return True


def give_up(ctx: Context, fleet: Fleet, slot: int, incident: int, guards: Collection[str]) -> None:
    """Ask for a human when the group has not delivered within the time in which a machine must have booted.

    Not while anything else holds: who can't see the fleet can't blame the group.
    """
    found = ctx.world.need(Incident, incident)
    if not fleet.policy.group or not set(guards) <= {"group", "mode"} or found.state is IncidentState.ESCALATED:
        return
    kept = ctx.world.get(Quarantine, found.instance) if found.instance else None
    since = found.opened_at if kept is None else max(found.opened_at, kept.isolated_at)
    patience = ctx.settings.judgement.boot_deadline
    if ctx.waited(since) >= patience:
        text = (
            f'Auto Scaling group "{fleet.policy.group}" has not filled slot {slot} within {patience:.0f}s, and nothing '
            "is launched here: look at the group's activity"
        )
        incidents.escalate(ctx, found, text)


def leave_to_it(ctx: Context, fleet: Fleet, workflow: Workflow, why: str) -> None:
    """A newcomer never served: it is the group's to keep or to end. Who serves later is taken in then."""
    plans.end(ctx, fleet, workflow, WorkflowState.FAILED, why)
    incident = ctx.world.get(Incident, workflow.incident)
    if incident is not None and incident.state is not IncidentState.CLOSED:
        text = f'{workflow.candidate} does not serve: {why}; it is left to Auto Scaling group "{fleet.policy.group}"'
        ctx.note(incident, "incident.step", text)


def adopt_late(ctx: Context, fleet: Fleet, empty: Iterable[int]) -> None:
    """Take those newcomers in after all that were left to the group, and are well now."""
    slots = iter(sorted(empty))
    awaited = incidents.awaiting(ctx, fleet)
    for name in sorted(ctx.world.members[fleet.policy.name]):
        instance, chart = ctx.world.need(Instance, name), fleet.charts.get(name)
        if instance.lifecycle not in COMING or chart is None or ctx.world.workflow_of(name) is not None:
            continue
        if not chart.finding.ready or chart.machine is None or not chart.machine.registered:
            continue
        slot = next(slots, None)
        if slot is None:
            return
        about = awaited.get(slot) or incidents.open_missing(ctx, fleet, len(ctx.world.free_slots[fleet.policy.name]))
        plans.begin(ctx, fleet, WorkflowKind.ADOPT, about.id, slot=slot, candidate=name)
