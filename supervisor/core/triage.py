"""Decides for one fleet: whom to heal, what to fill, what to keep, and in which state it is.

Level-triggered: it judges the present, so it may run as often as it likes. Of a crowd it looks at a few in turn; a
storm's many incidents fold into two messages.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import replace
from typing import assert_never

from supervisor.core import (
    attrition,
    capacity,
    diagnosis,
    fill,
    images,
    incidents,
    inventory,
    notices,
    plans,
    quarantine,
    shadow,
    shared,
    storm,
    workflow,
)
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import share
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance, Removal, Resolution, Slot
from supervisor.core.policy import Fill, Hold, Nothing, Remediate, Return, Withdraw, decide_instance
from supervisor.core.terms import COMING, SERVING, BootTime, FleetState, Health, Lifecycle

RECHECK = 1.0  # seconds, while a guard holds: several of them change with time alone
TICK = 1e-6  # seconds: nearer than a clock can tell is now, or a loop that sleeps so briefly never gets there
SELDOM = 10.0  # seconds, while something is waited for that does not hurry
AGAIN = 0.05  # seconds: a decision changed something that another one reads
CROWD = 32  # sick at once, beyond which they are looked at in turn
CROWD_PAUSE = 0.25  # seconds between two looks at a crowd
RETURNING = 0.1  # of the fleet, that go back into the load balancer at the same time
LEDGER_KEPT = 8 * 86400.0


def is_amnesty_over(ctx: Context, fleet: Fleet) -> bool:
    """Return whether enough clean rounds have passed to believe what is seen."""
    return fleet.is_amnesty_over(ctx.now.boot, ctx.settings.judgement)


def is_due(ctx: Context, fleet: Fleet) -> bool:
    """Return whether this fleet wants a look now; a crowd waits a little."""
    if not fleet.dirty and (fleet.look is None or fleet.look > ctx.now.boot + TICK):
        return False
    if len(fleet.sick) > CROWD and ctx.now.boot - fleet.decided_at < CROWD_PAUSE:
        fleet.look = fleet.decided_at + CROWD_PAUSE
        return False
    return True


def decide(ctx: Context, fleet: Fleet) -> None:
    """Judge the present of one fleet and act on it; idempotent, so it may run as often as it likes."""
    fleet.dirty = False
    fleet.decided_at = ctx.now.boot
    _ensure_slots(ctx, fleet)
    diagnosis.diagnose(ctx, fleet)
    shadow.watch(ctx, fleet)
    images.watch(ctx, fleet)
    storm.watch(ctx, fleet)
    shared.watch(ctx, fleet)
    storm.tell(ctx, fleet)
    for name in _patients(ctx, fleet):
        _decide_instance(ctx, fleet, name)
    _close_recovered(ctx, fleet)
    fill.fill(ctx, fleet)
    storm.add(ctx, fleet)
    quarantine.retain(ctx, fleet)
    _trim_ledger(ctx)
    for _ in range(3):  # what one workflow ends, another may wait for
        before = fleet.dirty
        fleet.dirty = False
        for number in sorted(ctx.world.running[fleet.policy.name]):
            workflow.advance(ctx, fleet, number)
        if not fleet.dirty:
            fleet.dirty = before
            break
    _state(ctx, fleet)
    fleet.look = _fleet_look(ctx, fleet)
    if fleet.dirty:
        fleet.look = ctx.now.boot + AGAIN
    fleet.dirty = False


def _patients(ctx: Context, fleet: Fleet) -> list[str]:
    """Return whom to decide about: all of them, or, of a crowd, as many as one look affords, in turn."""
    everyone = fleet.sick | fleet.unready | fleet.withdrawn
    if len(everyone) <= CROWD:
        return sorted(everyone)
    waiting = sorted(everyone - ctx.world.by_instance.keys())
    start = bisect(waiting, fleet.cursor)
    chosen = [*waiting[start:], *waiting[:start]][:CROWD]
    fleet.cursor = chosen[-1] if chosen else ""
    return chosen


def _ensure_slots(ctx: Context, fleet: Fleet) -> None:
    world, name, desired = ctx.world, fleet.policy.name, fleet.policy.desired
    numbers = world.slots_of[name]
    known = (desired, world.slot_changes)
    if ctx.slots_known.get(name) != known and numbers == set(range(desired)):
        ctx.slots_known[name] = known
    if ctx.slots_known.get(name) != known:
        for number in range(desired):
            if number not in numbers:
                world.put(Slot(name, number))
        for number in sorted(n for n in numbers if n >= desired):
            slot = world.need(Slot, name, number)
            if slot.occupant is None and (name, number) not in world.by_slot:
                world.delete(slot)
    if world.free_slots[name]:
        _place_spares(ctx, fleet)


def _place_spares(ctx: Context, fleet: Fleet) -> None:
    """Let a serving machine without a slot (released, adopted, or from a slot beyond the desired size) fill one."""
    world, name = ctx.world, fleet.policy.name
    free = sorted(s for s in world.free_slots[name] if s < fleet.policy.desired and (name, s) not in world.by_slot)
    if not free:
        return
    for member in sorted(world.members[name]):
        instance = world.need(Instance, member)
        if notices.is_leaving(fleet.chart(member).machine):
            continue
        spare = instance.slot is None or instance.slot >= fleet.policy.desired
        if spare and instance.lifecycle in SERVING and instance.served and member not in world.by_instance:
            number = free.pop(0)
            ctx.vacate(instance)
            world.put(replace(world.need(Slot, name, number), occupant=member))
            world.put(replace(instance, slot=number))
            if not free:
                return


def _decide_instance(ctx: Context, fleet: Fleet, name: str) -> None:
    instance = ctx.world.get(Instance, name)
    chart = fleet.charts.get(name)
    if instance is None or chart is None or instance.lifecycle in COMING or instance.lifecycle in inventory.SET_ASIDE:
        return
    incident = ctx.world.incident_of(fleet.policy.name, name)
    if incident is None and instance.slot is None and notices.is_leaving(chart.machine):
        return  # the cloud takes it back, and its slot is filled already
    if chart.finding.health is Health.SICK and incident is None:
        if shared.told_by(ctx, fleet, instance) is not None:
            fleet.turned_sick.setdefault(name, ctx.now.boot)
            return  # single incidents open when the shared trouble is over
        incident = incidents.open_sick(ctx, fleet, instance)
    under_way = ctx.world.workflow_of(name) is not None
    if incident is not None and incident.state is IncidentState.ESCALATED and chart.finding.health is Health.SICK:
        return
    facts = facts_of(ctx, fleet, instance=instance, incident=incident)
    rung = incident.rung if incident else 0
    decision = decide_instance(chart.finding, instance.lifecycle, facts, fleet.policy.rungs, rung, under_way=under_way)
    match decision:
        case Remediate():
            if incident is not None:
                plans.begin_remediation(ctx, fleet, incident, instance, decision.remediation)
        case Withdraw():
            plans.begin(ctx, fleet, WorkflowKind.WITHDRAW, incident.id if incident else 0, patient=name)
            ctx.say(
                "instance.withdrawn",
                f"{incidents.place_of(instance)} is not ready: {chart.finding.reason}; it leaves the load balancer",
                instance.fleet,
            )
        case Return() if storm.is_surplus(ctx, fleet, instance) or not _may_return(ctx, fleet):
            pass
        case Return():
            number = incident.id if incident else 0
            plans.begin(ctx, fleet, WorkflowKind.RETURN, number, slot=instance.slot, patient=name)
        case Hold():
            if set(decision.guards) <= quarantine.ROOM:
                quarantine.make_room(ctx, fleet, decision.guards, incident)
            if diagnosis.ask_others(ctx, fleet, instance, decision.readings):
                return
            if incident is not None and incident.state is not IncidentState.ESCALATED:
                incidents.hold(ctx, incident, f"{decision.what} {name}", decision.readings)
        case Nothing() | Fill():
            pass
        case _:
            assert_never(decision)


def _may_return(ctx: Context, fleet: Fleet) -> bool:
    """Return whether one more may go back into the load balancer: after a long trouble they come one after another."""
    running = (ctx.world.need(Workflow, number) for number in ctx.world.running[fleet.policy.name])
    returning = sum(1 for w in running if w.kind is WorkflowKind.RETURN)
    return returning < share(RETURNING, fleet.policy.desired)


def _close_recovered(ctx: Context, fleet: Fleet) -> None:
    """Close the incidents whose instance is well again without us."""
    for number in sorted(ctx.world.open_of[fleet.policy.name]):
        incident = ctx.world.need(Incident, number)
        if incident.kind is not IncidentKind.SICK or incident.instance in ctx.world.by_instance:
            continue
        instance = ctx.world.get(Instance, incident.instance)
        chart = fleet.charts.get(incident.instance)
        well = chart is not None and chart.finding.health is Health.HEALTHY
        if instance is not None and instance.lifecycle in SERVING and well:
            plans.settle_instance(ctx, fleet, incident.instance)
            text = f"{incident.instance} recovered by itself; nothing was removed"
            incidents.close(ctx, incident, Resolution.RECOVERED, text)
        elif instance is not None and instance.lifecycle is Lifecycle.QUARANTINED:
            if fleet.policy.group and instance.slot in ctx.world.slots_of[fleet.policy.name]:
                continue  # until a new member serves in its place
            incidents.close(ctx, incident, Resolution.SET_ASIDE, f"{incident.instance} is set aside")


def _trim_ledger(ctx: Context) -> None:
    settled = [r for r in ctx.world.values(Removal) if r.settled_at is not None]
    old = [r for r in settled if ctx.since(r.at) > LEDGER_KEPT]
    for removal in old:
        ctx.world.delete(removal)
    for name in sorted({removal.fleet for removal in old} & ctx.fleets.keys()):
        attrition.count(ctx, ctx.fleets[name])


def _state(ctx: Context, fleet: Fleet) -> None:
    name = fleet.policy.name
    if not is_amnesty_over(ctx, fleet) or fleet.inventory_at is None or ctx.sight.blind:
        return  # unknown is not down
    found = (ctx.world.need(Incident, n) for n in ctx.world.open_of[name])
    open_incidents = [i for i in found if i.state is not IncidentState.RESOLVED]
    doubtful = len(fleet.suspects) + len(fleet.unknown) + len(fleet.sick)
    is_short = bool(open_incidents) or fleet.serving + doubtful < fleet.policy.desired
    if fleet.state is FleetState.DEGRADED and fleet.serving > 0 and is_short:
        return  # of a crowd of suspects nobody need be counted: it would change nothing
    serving = capacity.serving(fleet)
    if serving == 0 and fleet.policy.desired > 0:
        state = FleetState.DOWN
    elif serving >= fleet.policy.desired and not open_incidents:
        state = FleetState.OPTIMAL
    else:
        state = FleetState.DEGRADED
    if state is not fleet.state:
        if not (fleet.state is None and state is FleetState.DOWN and not ctx.world.members[name]):
            # Who only may serve counts for the state, and is told apart where that is bad news.
            sure = fleet.serving if state is FleetState.DEGRADED else serving
            full = sure >= fleet.policy.desired
            why = f", incident {open_incidents[0].id} is open" if full and open_incidents else ""
            told = f"{capacity.words(sure, fleet.policy.desired, serving - sure)}{why}"
            ctx.say("fleet.state", f"{name} is {state.upper()}: {told}", name)
        fleet.state = state


def _fleet_look(ctx: Context, fleet: Fleet) -> BootTime | None:
    """Return when this fleet must be looked at again, if nothing happens before."""
    name, now = fleet.policy.name, ctx.now.boot
    looks: list[BootTime] = []
    running = [ctx.world.need(Workflow, number) for number in ctx.world.running[name]]
    lapsing = {w.patient for w in running if quarantine.is_lapsing(w)}
    busy = len(running) > len(lapsing) or ctx.world.open_of[name] or not is_amnesty_over(ctx, fleet)
    if busy or diagnosis.is_watching(fleet) or fleet.sick or fleet.unready or fleet.withdrawn or ctx.holders:
        looks.append(now + RECHECK)
    if fleet.muted or storm.surplus(ctx, fleet):
        looks.append(
            now + SELDOM
        )  # a check that is watched, a machine too many: neither reports when its time has come
    for kept in ctx.kept(fleet):
        due = kept.expires_at if kept.stopped else min(kept.stop_at, kept.expires_at)
        if kept.instance in lapsing:
            due = quarantine.ends_at(ctx, kept) or due
        looks.append(max(now + RECHECK, ctx.to_boot(due)))
    return min(looks, default=None)
