"""Takes a cloud's list of machines: who runs, who stopped, who vanished, who is unknown to the journal.

A failed or partial answer never reaches this module as a list. A machine is gone only when it is absent twice, far
enough apart, and when not more are absent than could plausibly die at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from supervisor.core import incidents, notices, plans, quarantine, zombies
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.guards import breaker_allows
from supervisor.core.health import Chart
from supervisor.core.journal import Step, StepStatus, Verb, Workflow, WorkflowKind
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Holder, Instance, Slot
from supervisor.core.requests import Launch
from supervisor.core.signals import InventorySeen
from supervisor.core.terms import COMING, BootTime, Lifecycle

SET_ASIDE = frozenset({Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED, Lifecycle.RETIRING})
RESTORED = "restored-journal"
"""The holder that pauses all acting while the journal is an older copy of itself."""
RESTORED_GAP = 1_000_000  # more than a journal counts between the newest launch and its loss
LOST = "inventory"  # told once while it lasts
STEADY = 3  # answers in a row, after which it is over: a cloud that refuses most questions answers some
LAUNCH_PATIENCE = 5  # times longer before a machine we have just launched counts as vanished


def seen(ctx: Context, fleet: Fleet, signal: InventorySeen) -> list[str]:
    """Take one whole list; return the instances whose standing may have changed."""
    if not signal.machines and (known := [m for m in ctx.world.members[signal.fleet] if _was_seen(ctx, m)]):
        # Even a cloud that has lost a machine shows others, or its remains for a while.
        failed(ctx, fleet, f"its list is empty, though {len(known)} machines are known: unknown, not gone")
        return []
    fleet.inventory_error = ""
    fleet.inventories_in_a_row += 1
    if LOST in fleet.reported and fleet.inventories_in_a_row >= STEADY:
        fleet.reported.discard(LOST)
        ctx.say("inventory.back", f"{signal.fleet}: the cloud answers again", signal.fleet)
    fleet.inventory_at = signal.asked
    fleet.inventories += 1
    machines, members = signal.machines, ctx.world.members[signal.fleet]
    if fleet.inventories == 1:
        _compare_age(ctx, machines.values())
    if signal.before is None or signal.before is not fleet.listed:
        fleet.astir |= members | machines.keys()
    fleet.astir.update(signal.news)
    fleet.listed = machines
    names = sorted(fleet.astir)
    touched: list[str] = []
    absent: list[Instance] = []
    for name in names:
        machine = _shown(signal, name)
        if name not in members or _is_at_rest(ctx, fleet, name, machine):
            continue
        instance = ctx.world.need(Instance, name)
        if machine is None or machine.state is MachineState.TERMINATED:
            if _is_gone(ctx, fleet, instance, machine, signal.asked):
                absent.append(instance)
        elif _present(ctx, fleet, instance, machine, signal.asked):
            touched.append(name)
    _vanish(ctx, fleet, absent)
    for name in names:
        machine = _shown(signal, name)
        if name not in members and machine is not None:
            _unknown(ctx, fleet, machine)
    fleet.astir = {name for name in fleet.astir if not _is_at_rest(ctx, fleet, name, _shown(signal, name))}
    if fleet.inventories <= ctx.settings.judgement.amnesty_rounds:
        fleet.dirty = True
    return touched


def _shown(signal: InventorySeen, name: str) -> Machine | None:
    machine = signal.machines.get(name)
    return machine if machine is not None and machine.fleet == signal.fleet else None


def _is_at_rest(ctx: Context, fleet: Fleet, name: str, machine: Machine | None) -> bool:
    """Return whether a list that shows a machine, or does not, just as the last one did tells nothing of it.

    Most of a large fleet are at rest at any time. Who is not is in `fleet.astir`, and is looked at with every list.
    """
    chart = fleet.charts.get(name)
    if chart is None:
        return machine is None and name not in ctx.world.members[fleet.policy.name]
    return (
        machine is not None
        and machine is chart.machine
        and chart.observed  # unlike whoever is in quarantine
        and chart.absent_since is None
        and chart.stopped_since is None
        and machine.state is not MachineState.TERMINATED
        and not machine.isolated
        and (chart.registered_seen or machine.registered is None)
    )


def _was_seen(ctx: Context, member: str) -> bool:
    """Return whether the cloud has shown a machine: one just launched may not be in its list yet."""
    return ctx.world.need(Instance, member).lifecycle is not Lifecycle.LAUNCHING


def _compare_age(ctx: Context, machines: Iterable[Machine]) -> None:
    """Stop and ask when a machine was launched by a younger journal than ours: this one is a copy from before.

    What it says is then history. Numbers go on above those of the lost journal, so that no token is used twice.
    """
    identity = ctx.world.identity
    younger = max((number for m in machines if (number := _launched_at(m, identity.uid)) is not None), default=0)
    if younger <= identity.counter:
        return
    ctx.world.put(replace(identity, counter=younger + RESTORED_GAP))
    text = (
        f"this journal is an older copy: it has counted to {identity.counter}, and machines carry numbers up to "
        f"{younger}; nothing is touched until a person has compared `sickbay status` with the cloud, "
        f"then `sickbay resume --name {RESTORED}`"
    )
    ctx.world.put(Holder(RESTORED, "the journal is an older copy", "sickbay", ctx.now.wall))
    ctx.say("journal.restored", text)


def _launched_at(machine: Machine, uid: str) -> int | None:
    """Return our journal's number when it launched a machine; None for another's."""
    owner, _, number = machine.tag("sickbay:supervisor").partition("/")
    return int(number) if owner == uid and number.isdecimal() else None


def failed(ctx: Context, fleet: Fleet, reason: str) -> None:
    """Note that the cloud did not answer: unknown, never gone.

    It is told once the last answer is too old to act on. While we see nothing at all, that has been told.
    """
    fleet.inventories_in_a_row = 0
    late = fleet.inventory_at is None or ctx.now.boot - fleet.inventory_at > fleet.inventory_limit
    if late and LOST not in fleet.reported and not ctx.sight.blind:
        fleet.reported.add(LOST)
        ctx.say("inventory.lost", f"{fleet.policy.name}: the cloud's answer can't be used: {reason}", fleet.policy.name)
    fleet.inventory_error = reason
    fleet.inventory_failures += 1


def _present(ctx: Context, fleet: Fleet, instance: Instance, machine: Machine, asked: BootTime) -> bool:
    """Take one machine; return whether its instance must be judged afresh."""
    chart = fleet.charts.get(instance.id)
    if chart is None:
        return False
    chart.absent_since = None
    if machine.registered is not None and asked >= chart.registered_after:
        chart.registered_seen = True
    if _has_drifted(ctx, fleet, instance, machine):
        return False
    same = machine is chart.machine or machine == chart.machine
    if same and chart.stopped_since is None:
        chart.machine = machine
        return False
    notices.hear(ctx, fleet, instance, chart.machine, machine)
    chart.machine = machine
    fleet.dirty = True
    if instance.lifecycle in SET_ASIDE:
        return False
    if machine.state is MachineState.RUNNING:
        chart.stopped_since, chart.confirmed_stopped = None, False
        if instance.lifecycle is Lifecycle.LAUNCHING:
            ctx.move(instance, Lifecycle.WARMING, address=machine.address)
        elif instance.address != machine.address and machine.address:
            fleet.unwatch(chart)
            ctx.move(instance, instance.lifecycle, address=machine.address)
    elif machine.state is MachineState.STOPPED and not machine.stopped_by_user:
        if chart.stopped_since is None:
            chart.stopped_since = asked
        elif asked - chart.stopped_since >= ctx.settings.judgement.stopped_after:
            chart.confirmed_stopped = True
    elif machine.stopped_by_user and instance.id not in fleet.reported:
        fleet.reported.add(instance.id)
        notices.stopped(ctx, fleet, instance)
    return True


def _has_drifted(ctx: Context, fleet: Fleet, instance: Instance, machine: Machine) -> bool:
    """Believe the cloud where it is safer than the journal; return whether it was believed.

    Who is found isolated stays so: it is kept, like any other. Who should be and is not was changed by somebody: that
    is told, and left to people.
    """
    if machine.isolated == (instance.lifecycle is Lifecycle.QUARANTINED):
        return False
    settled = ctx.since(instance.since) >= ctx.settings.judgement.vanished_after  # a cloud's list lags behind
    if not settled or instance.id in ctx.world.by_instance:
        return False
    if machine.isolated and instance.lifecycle not in SET_ASIDE:
        ctx.vacate(instance)
        quarantine.keep(ctx, fleet, instance.id, 0, "it was found isolated, which the journal did not know")
        ctx.move(instance, Lifecycle.QUARANTINED, slot=None)
        _report(ctx, fleet, machine, "was found isolated and is kept in quarantine")
        return True
    if instance.lifecycle is Lifecycle.QUARANTINED and machine.state is MachineState.RUNNING:
        if zombies.fence(ctx, fleet, instance, machine):
            return True
        _report(ctx, fleet, machine, "is in quarantine and was found not isolated: somebody has changed that")
    return False


def _is_gone(ctx: Context, fleet: Fleet, instance: Instance, machine: Machine | None, asked: BootTime) -> bool:
    """Return whether an instance has been absent (or terminated) for long enough to be gone."""
    chart = fleet.charts.get(instance.id)
    if chart is None:
        return machine is not None  # it is being destroyed: terminated is what was wanted
    if machine is not None:
        chart.machine = machine
    if chart.absent_since is None:
        chart.absent_since = asked
        return False
    judgement = ctx.settings.judgement
    patience = judgement.stopped_after if machine is not None else judgement.vanished_after
    if instance.lifecycle is Lifecycle.LAUNCHING and machine is None:
        patience *= LAUNCH_PATIENCE
    return asked - chart.absent_since >= patience


def _vanish(ctx: Context, fleet: Fleet, absent: list[Instance]) -> None:
    guards = ctx.settings.guards
    # One that was still coming, and is shown as terminated, is no news about those that serve.
    died_young = {i.id for i in absent if i.lifecycle in COMING and _is_shown_dead(fleet, i)}
    taken = {i.id: machine for i in absent if notices.is_reclaimed(machine := _last_shown(fleet, i)) and machine}
    proved = died_young | taken.keys()
    wanted = [i for i in absent if i.lifecycle not in SET_ASIDE and i.id not in proved]
    allowed = breaker_allows(guards.breaker_share, fleet.policy.desired)
    lately = set(fleet.sick_lately(guards.breaker_window, ctx.now.boot))
    if wanted and len(lately | {i.id for i in wanted}) > allowed:
        told = "breaker:vanished"
        if told not in fleet.reported:
            fleet.reported.add(told)
            text = (
                f"{fleet.policy.name}: {len(wanted)} machines are missing from the cloud's list at once "
                f"(breaker: at most {allowed}); they are not counted as gone until this is understood"
            )
            ctx.say("inventory.doubtful", text, fleet.policy.name)
        absent = [i for i in absent if i.id in proved]
    else:
        fleet.reported.discard("breaker:vanished")
    for instance in absent:
        if instance.lifecycle not in SET_ASIDE and instance.id in taken:
            notices.reclaimed(ctx, fleet, instance, taken[instance.id])
        elif fleet.policy.group and instance.lifecycle in COMING and instance.slot is None:
            pass  # it never served, and the group has let it go
        elif instance.lifecycle not in SET_ASIDE and instance.id not in ctx.world.by_instance:
            incidents.open_vanished(ctx, fleet, instance)
            fleet.turned_sick[instance.id] = ctx.now.boot
        ctx.vacate(instance)
        quarantine.end_quarantine(ctx, instance.id, "vanished")
        last = _last_shown(fleet, instance)
        ended, hopeless = (last.reason, last.hopeless) if last is not None else ("", False)
        ctx.move(instance, Lifecycle.RETIRED, ended=ended, hopeless=hopeless)


def _last_shown(fleet: Fleet, instance: Instance) -> Machine | None:
    chart = fleet.charts.get(instance.id)
    return chart.machine if chart is not None else None


def _is_shown_dead(fleet: Fleet, instance: Instance) -> bool:
    last = _last_shown(fleet, instance)
    return last is not None and last.state is MachineState.TERMINATED


def _unknown(ctx: Context, fleet: Fleet, machine: Machine) -> None:
    """A machine of this fleet that the journal does not know: adopt it, never destroy it."""
    known = ctx.world.get(Instance, machine.id)
    if machine.state is MachineState.TERMINATED or (machine.state is MachineState.STOPPED and not machine.isolated):
        return
    if known is not None:
        settled = ctx.since(known.since) >= ctx.settings.judgement.vanished_after  # a cloud's list lags behind
        if settled and not zombies.rise(ctx, fleet, known, machine):
            _report(ctx, fleet, machine, "is running although it was retired: it is left alone")
        return
    if _is_ours_in_flight(ctx, fleet, machine):
        return
    if machine.isolated:
        _adopt(ctx, machine, Lifecycle.QUARANTINED, None)
        quarantine.keep(ctx, fleet, machine.id, 0, "adopted: it was already isolated")
        _report(ctx, fleet, machine, "was found isolated and is kept in quarantine")
        return
    if machine.group != fleet.policy.group:
        owner = f'to Auto Scaling group "{machine.group}"' if machine.group else "to no Auto Scaling group"
        _report(ctx, fleet, machine, f"carries the fleet's tag, but belongs {owner}: it is left alone")
        return
    name = fleet.policy.name
    taken = {slot for owner, slot in ctx.world.by_slot if owner == name}
    slot = min((s for s in ctx.world.free_slots[name] if s not in taken), default=None)
    if machine.registered and (not fleet.policy.group or machine.target is TargetHealth.HEALTHY):
        instance = _adopt(ctx, machine, Lifecycle.PROBATION, slot)
        ctx.track(fleet, instance)
        if slot is not None:
            place = ctx.world.need(Slot, name, slot)
            ctx.world.put(replace(place, occupant=machine.id, served_at=ctx.now.wall))
        _report(ctx, fleet, machine, "was found in the load balancer and is adopted")
    elif slot is not None and _is_meant_to_serve(fleet, machine):
        instance = _adopt(ctx, machine, Lifecycle.LAUNCHING, None)
        ctx.track(fleet, instance)
        lost = incidents.awaiting(ctx, fleet).get(slot) if fleet.policy.group else None
        about = lost or incidents.open_missing(ctx, fleet, len(ctx.world.free_slots[name]))
        plans.begin(ctx, fleet, WorkflowKind.ADOPT, about.id, slot=slot, candidate=machine.id)
        _report(ctx, fleet, machine, f"was found running and is brought into slot {slot}")
    else:
        _surplus(ctx, fleet, machine)


def _is_meant_to_serve(fleet: Fleet, machine: Machine) -> bool:
    """Return whether a machine outside the load balancer belongs into it: we launched it, or its group did.

    A person's machine from the same template carries the fleet's tag as well. Where there is no load balancer, nothing
    tells them apart, and who runs serves.
    """
    return bool(machine.tag("sickbay:launch-id") or fleet.policy.group or not fleet.policy.balanced)


def _surplus(ctx: Context, fleet: Fleet, machine: Machine) -> None:
    """One that nobody needs: left alone, unless we launched it; then it is kept aside, and ends as quarantines do."""
    first = fleet.surplus.setdefault(machine.id, ctx.now.boot)
    if not machine.tag("sickbay:launch-id"):
        words = "carries the fleet's tag, but is neither in the load balancer nor launched by Sickbay: it is left alone"
        _report(ctx, fleet, machine, words)
    elif ctx.now.boot - first >= ctx.settings.judgement.boot_deadline:
        del fleet.surplus[machine.id]
        _adopt(ctx, machine, Lifecycle.BOOT_FAILED, None)
        kept = quarantine.keep(ctx, fleet, machine.id, 0, "surplus: launched by Sickbay, and no slot needs it")
        _report(ctx, fleet, machine, f"is one too many: it is kept aside until {kept.expires_at:%Y-%m-%d %H:%M} UTC")


def _adopt(ctx: Context, machine: Machine, lifecycle: Lifecycle, slot: int | None) -> Instance:
    ctx.audit("instance.adopted", machine.id, reason=f"found {machine.state}, not in the journal")
    return ctx.world.put(
        Instance(
            id=machine.id,
            fleet=machine.fleet,
            lifecycle=lifecycle,
            slot=slot,
            image=machine.image,
            version=machine.version,
            zone=machine.zone,
            address=machine.address,
            created_at=ctx.now.wall,
            since=ctx.now.wall,
            served=lifecycle not in COMING and lifecycle is not Lifecycle.BOOT_FAILED,
        )
    )


def _is_ours_in_flight(ctx: Context, fleet: Fleet, machine: Machine) -> bool:
    """Return whether a launch of ours is still waiting for its answer and may have made this machine."""
    token = machine.tag("sickbay:launch-id")
    for number in sorted(ctx.world.running[fleet.policy.name]):
        running = ctx.world.need(Workflow, number)
        step = running.step
        if step is None or step.verb is not Verb.LAUNCH:
            continue
        row = ctx.world.get(Step, running.id, step.name, running.attempt)
        if row is None or row.status not in (StepStatus.INTENT, StepStatus.UNCLEAR):
            continue
        if isinstance(row.request, Launch) and row.request.token == token:
            return True
    return False


def _report(ctx: Context, fleet: Fleet, machine: Machine, words: str) -> None:
    key = f"unknown:{machine.id}"
    if key not in fleet.reported:
        fleet.reported.add(key)
        ctx.say(
            "instance.unknown", f"{fleet.policy.name} {machine.id} (zone {machine.zone}) {words}", fleet.policy.name
        )


def is_serving(chart: Chart, instance: Instance, *, healthy: bool) -> bool:
    """Return whether an instance is registered and healthy, so that the floors may count on it."""
    machine = chart.machine
    in_place = instance.lifecycle in (Lifecycle.PROBATION, Lifecycle.IN_SERVICE)
    return healthy and in_place and machine is not None and machine.registered is True and machine.target != "unhealthy"
