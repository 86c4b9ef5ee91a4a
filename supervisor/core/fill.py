"""Launches what is missing: first boot, a raised desired size, a vanished machine. Nobody need be sick.

Called by triage after it has looked at the sick.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import groups, incidents, plans
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.journal import WorkflowKind
from supervisor.core.model import Incident, Resolution
from supervisor.core.policy import Fill, Hold, decide_slot


def fill(ctx: Context, fleet: Fleet) -> None:
    """Launch what is missing: first boot, a raised desired size, a vanished machine. Nobody need be sick."""
    name = fleet.policy.name
    if fleet.inventory_at is None:
        return
    free = sorted(s for s in ctx.world.free_slots[name] if s < fleet.policy.desired)
    empty = [s for s in free if (name, s) not in ctx.world.by_slot]
    lost = incidents.awaiting(ctx, fleet)
    if fleet.policy.group:
        groups.adopt_late(ctx, fleet, empty)
        empty = [s for s in empty if (name, s) not in ctx.world.by_slot]
    for slot in empty:
        if slot not in lost and not fleet.is_amnesty_over(ctx.now.boot, ctx.settings.judgement):
            continue  # an inventory may still bring the machine that belongs here
        incident = lost[slot] if slot in lost else incidents.open_missing(ctx, fleet, len(empty))
        facts = facts_of(ctx, fleet, slot=slot, incident=incident)
        match decide_slot(facts):
            case Fill():
                plans.begin(ctx, fleet, WorkflowKind.FILL, incident.id, slot=slot)
                if incident.held:
                    ctx.world.put(replace(ctx.world.need(Incident, incident.id), held=(), held_why=()))
            case Hold() as held:
                what = f"launch into slot {slot}" if slot in lost else f"launch {len(empty)}"
                _hold_fill(ctx, incident, what, held)
                groups.give_up(ctx, fleet, slot, incident.id, held.guards)
            case _:
                pass
    missing = ctx.world.incident_of(name, "")
    if missing is not None and not free:
        incidents.resolve(ctx, missing, Resolution.FILLED, f"{name}: every machine is there")
        missing = ctx.world.need(Incident, missing.id)
        incidents.close(
            ctx, missing, Resolution.FILLED, f"{name} is complete: {fleet.policy.desired} of {fleet.policy.desired}"
        )
    for slot, lost_incident in sorted(lost.items(), key=lambda item: item[1].id):
        if (
            slot not in free
            and lost_incident.instance not in ctx.world.by_instance
            and (name, slot) not in ctx.world.by_slot
            and (not fleet.policy.group or groups.has_delivered(ctx, fleet, slot, lost_incident))
        ):
            current = ctx.world.need(Incident, lost_incident.id)
            incidents.close(ctx, current, Resolution.REPLACED, f"slot {slot} is filled again")


def _hold_fill(ctx: Context, incident: Incident, what: str, held: Hold) -> None:
    if any(r.guard in ("needs_human", "lineage") for r in held.readings):
        if incident.instance:
            incidents.escalate(ctx, incident, "; ".join(r.sentence() for r in held.readings))
        return
    incidents.hold(ctx, ctx.world.need(Incident, incident.id), what, held.readings)
