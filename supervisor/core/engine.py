"""The engine: (state, signals, now) -> a turn. Deterministic, without I/O; the same in production and in simulation.

    signals -> evidence -> health -> guards -> decision -> workflow -> one turn (changes, commands, events)

The loop commits the turn's changes and then calls `settle`; when the commit is refused it calls `rollback`. Nothing
the engine decided may be done before it is committed.
"""

from __future__ import annotations

import heapq
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from supervisor.core import incidents, inventory, operator, workflow
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.guards import breaker_allows
from supervisor.core.health import Chart, Surroundings, judge, judge_startup, suspect_since
from supervisor.core.model import (
    COMING,
    SERVING,
    BootTime,
    FleetState,
    Health,
    Image,
    Incident,
    IncidentKind,
    IncidentState,
    Instance,
    Lifecycle,
    Now,
    OutboxMessage,
    Record,
    Removal,
    Resolution,
    Slot,
    TargetHealth,
    Workflow,
    WorkflowKind,
)
from supervisor.core.policy import Fill, Hold, Nothing, Remediate, Return, Withdraw, decide_instance, decide_slot
from supervisor.core.settings import Settings
from supervisor.core.signals import (
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    MessageTold,
    Noticed,
    OperatorAsked,
    Perform,
    Reply,
    Result,
    ResultsReported,
    SentinelReported,
    SettingsLoaded,
    Signal,
    StepFinished,
    Turn,
    Woke,
)
from supervisor.core.world import World
from supervisor.errors import OperatorError

IDLE_ALLOWED = 2.0  # the loop wakes at least each second; what is beyond this was lost
WALL_JUMP = 30.0
RECHECK = 1.0  # while a guard holds: several of them change with time alone
CROWD = 32  # sick at once, beyond which they are looked at in turn
CROWD_PAUSE = 0.25
AGAIN = 0.05  # a decision changed something that another one reads
LEDGER_KEPT = 8 * 86400.0
DEAD_AFTER = 30  # tries of one message


class Engine:
    """Everything known, and the judgement over it. One writer: nobody else changes this state."""

    def __init__(self, records: Iterable[Record], settings: Settings, now: Now) -> None:
        """Wake up with what the store holds. Whatever was in flight is sent again at the first step."""
        self.ctx = Context(World(records), settings, now)
        self._heap: list[tuple[BootTime, str]] = []
        self._was_blind = False
        self._rate = 0.0
        self._discard_before: BootTime = float("-inf")
        identity = self.ctx.world.identity
        self.ctx.world.put(replace(identity, seen_at=now.wall))
        self._configure(settings)
        for instance in list(self.ctx.world.all(Instance)):
            fleet = self.ctx.fleets.get(instance.fleet)
            if fleet is not None and instance.lifecycle is not Lifecycle.RETIRED:
                self.ctx.track(fleet, instance)
        for incident in self.ctx.world.all(Incident):
            fleet = self.ctx.fleets.get(incident.fleet)
            if fleet is not None and incident.instance:
                fleet.turned_sick[incident.instance] = self.ctx.to_boot(incident.opened_at)

    # -- one step

    def step(self, signals: Sequence[Signal], now: Now) -> Turn:
        """Take a batch of signals and decide. Follow with `settle` or `rollback`."""
        ctx = self.ctx
        ctx.now = now
        turn = ctx.turn
        self._watch_clocks(now)
        for signal in signals:
            self._take(signal)
        self._look(now.boot)
        ctx.sight.expect(self._rate, now.boot, ctx.settings.guards)
        self._watch_sight()
        operator.expire_holders(ctx)
        for name in sorted(ctx.fleets):
            fleet = ctx.fleets[name]
            if not fleet.dirty and (fleet.look is None or fleet.look > now.boot):
                continue
            if len(fleet.sick) > CROWD and now.boot - fleet.decided_at < CROWD_PAUSE:
                fleet.look = fleet.decided_at + CROWD_PAUSE
                continue
            self._decide(fleet)
        turn.changes, turn.deletes = ctx.world.changes()
        turn.next_look = self._next_look()
        return turn

    def settle(self) -> None:
        """The turn is on disk: go on from here."""
        self.ctx.world.settle()
        self.ctx.turn = Turn()

    def rollback(self) -> None:
        """The turn was refused: nothing of it happened."""
        ctx = self.ctx
        for command in ctx.turn.commands:
            if isinstance(command, Perform):
                ctx.flying.discard((command.workflow, command.step, command.attempt))
        ctx.world.rollback()
        ctx.turn = Turn()
        for name, fleet in ctx.fleets.items():
            members = ctx.world.members[name]
            for stranger in sorted(fleet.charts.keys() - members):
                ctx.forget(fleet, stranger)
            for member in sorted(members):
                ctx.track(fleet, ctx.world.need(Instance, member))

    def _next_look(self) -> BootTime | None:
        while self._heap and self._is_outdated(*self._heap[0]):
            heapq.heappop(self._heap)
        times = [f.look for f in self.ctx.fleets.values() if f.look is not None]
        if self._heap:
            times.append(self._heap[0][0])
        return min(times, default=None)

    # -- signals

    def _take(self, signal: Signal) -> None:
        ctx = self.ctx
        match signal:
            case ResultsReported():
                self._results(signal.results)
            case InventorySeen():
                fleet = ctx.fleets.get(signal.fleet)
                if fleet is not None and signal.asked >= self._discard_before:
                    for name in inventory.seen(ctx, fleet, signal):
                        self._refresh(fleet, name)
            case InventoryFailed():
                fleet = ctx.fleets.get(signal.fleet)
                if fleet is not None:
                    inventory.failed(ctx, fleet, signal.reason)
            case StepFinished():
                owner = ctx.world.get(Workflow, signal.workflow)
                workflow.answered(ctx, ctx.fleets.get(owner.fleet) if owner else None, signal)
            case OperatorAsked():
                try:
                    ctx.turn.replies.append(Reply(signal.request, True, operator.asked(ctx, signal)))
                except OperatorError as error:
                    ctx.turn.replies.append(Reply(signal.request, False, str(error)))
            case SentinelReported():
                ctx.sight.sentinels[signal.name] = (signal.ok, signal.detail)
            case KillSwitchSeen():
                operator.kill_switch(ctx, signal)
            case SettingsLoaded():
                self._configure(signal.settings)
            case MessageTold():
                self._told(signal)
            case Noticed():
                ctx.say(signal.kind, signal.text)
            case Woke():
                pass
            case _:
                assert_never(signal)

    def _results(self, results: Sequence[Result]) -> None:
        """Take a batch of results. The hot path: a pass of a healthy instance costs one dictionary look-up or two."""
        owners = self.ctx.owners
        self.ctx.sight.count(len(results))
        for result in results:
            fleet = owners.get(result.instance)
            if fleet is None or result.sent < self._discard_before:
                continue
            chart = fleet.charts[result.instance]
            evidence = chart.checks.get(result.check)
            if evidence is None or not chart.observed:
                continue
            quiet = evidence.is_quiet
            evidence.take(result)
            if not (quiet and evidence.is_quiet and chart.finding.health is Health.HEALTHY):
                self._refresh(fleet, result.instance)

    def _told(self, signal: MessageTold) -> None:
        message = self.ctx.world.get(OutboxMessage, signal.message)
        if message is None:
            return
        if signal.ok:
            self.ctx.world.delete(message)
        else:
            tries = message.tries + 1
            self.ctx.world.put(replace(message, tries=tries, dead=tries >= DEAD_AFTER))

    # -- judging one instance

    def _refresh(self, fleet: Fleet, name: str) -> None:
        """Judge one instance afresh, and plan when to look again."""
        ctx = self.ctx
        instance = ctx.world.get(Instance, name)
        chart = fleet.charts.get(name)
        if instance is None or chart is None or instance.lifecycle in inventory.SET_ASIDE:
            return
        now = ctx.now.boot
        if instance.lifecycle in COMING:
            finding = judge_startup(chart, ctx.settings.judgement, now)
        else:
            finding = judge(chart, ctx.settings.judgement, self._surroundings(fleet, chart), now)
        edge = fleet.set_finding(chart, finding)
        fleet.set_serving(
            chart, serving=inventory.is_serving(chart, instance, healthy=finding.health is Health.HEALTHY)
        )
        if edge:
            ctx.observe(fleet, instance)
        look = finding.look_at
        if instance.lifecycle is Lifecycle.PROBATION:
            ends = self._leave_probation(fleet, instance, chart)
            look = ends if look is None else min(look, ends)
        if look is not None and look != chart.look:
            chart.look = look
            heapq.heappush(self._heap, (look, name))

    def _surroundings(self, fleet: Fleet, chart: Chart) -> Surroundings:
        sees = not self.ctx.sight.blind and self._amnesty_over(fleet)
        first = suspect_since(chart)
        patience = self.ctx.settings.judgement.silence_alone_after
        fresh = fleet.inventory_at is not None and self.ctx.now.boot - fleet.inventory_at <= fleet.inventory_limit
        fresh = fresh and not fleet.inventory_error
        if not sees or not fresh or first is None or self.ctx.now.boot - first < patience:
            return Surroundings(may_condemn=sees, cloud_fresh=fresh, peers_well=False)
        peers = [c for c in fleet.charts.values() if c is not chart and c.observed]
        well = sum(1 for c in peers if c.finding.health is Health.HEALTHY)
        return Surroundings(True, True, not peers or well >= self.ctx.settings.guards.fresh_round * len(peers))

    def _amnesty_over(self, fleet: Fleet) -> bool:
        return fleet.clean_rounds(self.ctx.now.boot) >= self.ctx.settings.judgement.amnesty_rounds

    def _leave_probation(self, fleet: Fleet, instance: Instance, chart: Chart) -> BootTime:
        """Move an instance out of probation when its time is over; else return when to look again."""
        ctx, judgement = self.ctx, self.ctx.settings.judgement
        left = judgement.probation - ctx.since(instance.since)
        fails = [e.last_fail for e in chart.checks.values() if e.last_fail is not None]
        quiet_left = max(fails, default=float("-inf")) + judgement.probation_quiet - ctx.now.boot
        wait = max(left, quiet_left)
        if wait > 0:
            return ctx.now.boot + wait
        if chart.finding.health is Health.HEALTHY and chart.serving and not ctx.world.workflow_of(instance.id):
            ctx.move(instance, Lifecycle.IN_SERVICE)
            workflow.settle_slot(ctx, fleet.policy.name, instance.slot)
            workflow.settle_instance(ctx, fleet, instance.id)
        return ctx.now.boot + RECHECK

    def _look(self, now: BootTime) -> None:
        """Judge every instance whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            fleet = self.ctx.owners.get(name)
            if fleet is None or fleet.charts[name].look != at:
                continue
            chart = fleet.charts[name]
            chart.look = None
            self._refresh(fleet, name)

    def _is_outdated(self, at: BootTime, name: str) -> bool:
        fleet = self.ctx.owners.get(name)
        return fleet is None or fleet.charts[name].look != at

    # -- the supervisor's own senses

    def _watch_clocks(self, now: Now) -> None:
        ctx, judgement = self.ctx, self.ctx.settings.judgement
        lost, jump = ctx.sight.gap(now, IDLE_ALLOWED)
        if lost > 0:
            ctx.sight.restart_window(now.boot)
        if lost > judgement.gap_discard:
            self._discard_before = now.boot
        if lost > judgement.gap_amnesty:
            self._amnesty(f"{lost:.0f}s were lost (suspended or starved)")
        elif abs(jump) > WALL_JUMP:
            self._amnesty(f"the wall clock jumped by {jump:+.0f}s")

    def _watch_sight(self) -> None:
        blind = self.ctx.sight.blind
        if blind and not self._was_blind:
            self.ctx.say("sight.lost", f"cannot see: {blind}; nothing is condemned or removed meanwhile")
        if self._was_blind and not blind:
            self._amnesty("sight is back")
        self._was_blind = bool(blind)

    def _amnesty(self, why: str) -> None:
        rounds = self.ctx.settings.judgement.amnesty_rounds
        self.ctx.say(
            "amnesty.begun", f"{why}: all suspicion starts afresh, {rounds} clean rounds before the next removal"
        )
        for fleet in self.ctx.fleets.values():
            fleet.begin_amnesty(self.ctx.now.boot)

    def _configure(self, settings: Settings) -> None:
        """Take new settings. A fleet that is no longer configured is left alone, untouched."""
        ctx = self.ctx
        ctx.settings = settings
        for name in [n for n in ctx.fleets if n not in settings.fleets]:
            for chart in list(ctx.fleets[name].charts.values()):
                ctx.unobserve(ctx.fleets[name], chart.id)
                ctx.forget(ctx.fleets[name], chart.id)
            del ctx.fleets[name]
        for name, policy in settings.fleets.items():
            fleet = ctx.fleets.get(name)
            if fleet is None:
                fleet = ctx.fleets[name] = Fleet(policy, settings.judgement, ctx.now.boot)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            else:
                fleet.observed = 0
                fleet.configure(policy, settings.judgement)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            if not any(i.fleet == name for i in ctx.world.values(Image)):
                ctx.world.put(Image(name, policy.image, policy.version, True, ctx.now.wall))
            elif ctx.world.get(Image, name, policy.image) is None:
                ctx.world.put(Image(name, policy.image, policy.version, False, ctx.now.wall))

    # -- deciding for a fleet

    def _decide(self, fleet: Fleet) -> None:
        """Judge the present of one fleet and act on it; idempotent, so it may run as often as it likes."""
        fleet.dirty = False
        fleet.decided_at = self.ctx.now.boot
        self._ensure_slots(fleet)
        self._watch_storm(fleet)
        for name in self._patients(fleet):
            self._decide_instance(fleet, name)
        self._close_recovered(fleet)
        self._fill(fleet)
        self._retain(fleet)
        for _ in range(3):  # what one workflow ends, another may wait for
            before = fleet.dirty
            fleet.dirty = False
            for number in sorted(self.ctx.world.running[fleet.policy.name]):
                workflow.advance(self.ctx, fleet, number)
            if not fleet.dirty:
                fleet.dirty = before
                break
        self._state(fleet)
        self._rate = sum(f.observed * sum(1.0 / c.interval for c in f.policy.checks) for f in self.ctx.fleets.values())
        fleet.look = self._fleet_look(fleet)
        if fleet.dirty:
            fleet.look = self.ctx.now.boot + AGAIN
        fleet.dirty = False

    def _patients(self, fleet: Fleet) -> list[str]:
        """Return whom to decide about: all of them, or, of a crowd, as many as one look affords, in turn."""
        everyone = fleet.sick | fleet.unready | fleet.withdrawn
        if len(everyone) <= CROWD:
            return sorted(everyone)
        waiting = sorted(everyone - self.ctx.world.by_instance.keys())
        start = bisect(waiting, fleet.cursor)
        chosen = [*waiting[start:], *waiting[:start]][:CROWD]
        fleet.cursor = chosen[-1] if chosen else ""
        return chosen

    def _watch_storm(self, fleet: Fleet) -> None:
        """Tell when a storm begins and ends: its many incidents fold into these two messages."""
        guards = self.ctx.settings.guards
        allowed = breaker_allows(guards.breaker_share, fleet.policy.desired)
        count = len(fleet.sick_lately(guards.breaker_window, self.ctx.now.boot))
        name = fleet.policy.name
        if count > allowed and not fleet.storm:
            fleet.storm = True
            text = f"{name}: {count} machines are sick (breaker: at most {allowed} of {fleet.policy.desired}); nobody is removed"
            self.ctx.say("storm.begun", text, name)
        elif count <= allowed and fleet.storm:
            fleet.storm = False
            self.ctx.say("storm.ended", f"{name}: the storm is over, {count} machines are sick", name)

    def _ensure_slots(self, fleet: Fleet) -> None:
        world, name, desired = self.ctx.world, fleet.policy.name, fleet.policy.desired
        numbers = world.slots_of[name]
        if len(numbers) != desired or (numbers and max(numbers) >= desired):
            for number in range(desired):
                if number not in numbers:
                    world.put(Slot(name, number))
            for number in sorted(n for n in numbers if n >= desired):
                slot = world.need(Slot, name, number)
                if slot.occupant is None and (name, number) not in world.by_slot:
                    world.delete(slot)
        if world.free_slots[name]:
            self._place_spares(fleet)

    def _place_spares(self, fleet: Fleet) -> None:
        """Let a serving machine without a slot (released, adopted, or from a slot beyond the desired size) fill one."""
        world, name = self.ctx.world, fleet.policy.name
        free = sorted(s for s in world.free_slots[name] if s < fleet.policy.desired and (name, s) not in world.by_slot)
        if not free:
            return
        for member in sorted(world.members[name]):
            instance = world.need(Instance, member)
            spare = instance.slot is None or instance.slot >= fleet.policy.desired
            if spare and instance.lifecycle in SERVING and instance.served and member not in world.by_instance:
                number = free.pop(0)
                old = world.get(Slot, name, instance.slot) if instance.slot is not None else None
                if old is not None and old.occupant == member:
                    world.put(replace(old, occupant=None))
                world.put(replace(world.need(Slot, name, number), occupant=member))
                world.put(replace(instance, slot=number))
                if not free:
                    return

    def _decide_instance(self, fleet: Fleet, name: str) -> None:
        ctx = self.ctx
        instance = ctx.world.get(Instance, name)
        chart = fleet.charts.get(name)
        if (
            instance is None
            or chart is None
            or instance.lifecycle in COMING
            or instance.lifecycle in inventory.SET_ASIDE
        ):
            return
        incident = ctx.world.incident_of(fleet.policy.name, name)
        if chart.finding.health is Health.SICK and incident is None:
            if fleet.storm and len(ctx.world.open_of[fleet.policy.name]) >= CROWD:
                return  # told by the storm's own message; single incidents open when it is over
            incident = incidents.open_sick(ctx, fleet, instance)
        under_way = ctx.world.workflow_of(name) is not None
        if incident is not None and incident.state is IncidentState.ESCALATED and chart.finding.health is Health.SICK:
            return
        facts = ctx.facts(fleet, instance=instance, incident=incident)
        rung = incident.rung if incident else 0
        decision = decide_instance(
            chart.finding, instance.lifecycle, facts, fleet.policy.ladder, rung, under_way=under_way
        )
        match decision:
            case Remediate():
                if incident is not None:
                    workflow.begin_remediation(ctx, fleet, incident, instance, decision.remediation)
            case Withdraw():
                workflow.begin(ctx, fleet, WorkflowKind.WITHDRAW, incident.id if incident else 0, patient=name)
                ctx.say(
                    "instance.withdrawn",
                    f"{incidents.place_of(instance)} is not ready: {chart.finding.reason}; it leaves the load balancer",
                    instance.fleet,
                )
            case Return():
                number = incident.id if incident else 0
                workflow.begin(ctx, fleet, WorkflowKind.RETURN, number, slot=instance.slot, patient=name)
            case Hold():
                if incident is not None and incident.state is not IncidentState.ESCALATED:
                    incidents.hold(ctx, incident, f"{decision.what} {name}", decision.readings)
            case Nothing() | Fill():
                pass
            case _:
                assert_never(decision)

    def _close_recovered(self, fleet: Fleet) -> None:
        """Close the incidents whose instance is well again without us."""
        ctx = self.ctx
        for number in sorted(ctx.world.open_of[fleet.policy.name]):
            incident = ctx.world.need(Incident, number)
            if incident.kind is not IncidentKind.SICK or incident.instance in ctx.world.by_instance:
                continue
            instance = ctx.world.get(Instance, incident.instance)
            chart = fleet.charts.get(incident.instance)
            well = chart is not None and chart.finding.health is Health.HEALTHY
            if instance is not None and instance.lifecycle in SERVING and well:
                workflow.settle_instance(ctx, fleet, incident.instance)
                text = f"{incident.instance} recovered by itself; nothing was removed"
                incidents.close(ctx, incident, Resolution.RECOVERED, text)
            elif instance is not None and instance.lifecycle is Lifecycle.QUARANTINED:
                incidents.close(ctx, incident, Resolution.SET_ASIDE, f"{incident.instance} is set aside")

    def _fill(self, fleet: Fleet) -> None:
        """Launch what is missing: first boot, a raised desired size, a vanished machine. Nobody need be sick."""
        ctx, name = self.ctx, fleet.policy.name
        if fleet.inventory_at is None:
            return
        free = sorted(s for s in ctx.world.free_slots[name] if s < fleet.policy.desired)
        empty = [s for s in free if (name, s) not in ctx.world.by_slot]
        lost = {
            instance.slot: incident
            for number in sorted(ctx.world.open_of[name])
            if (incident := ctx.world.need(Incident, number)).instance
            and (instance := ctx.world.get(Instance, incident.instance)) is not None
            and instance.lifecycle is Lifecycle.RETIRED
            and instance.slot is not None
        }
        for slot in empty:
            if slot not in lost and not self._amnesty_over(fleet):
                continue  # an inventory may still bring the machine that belongs here
            incident = lost[slot] if slot in lost else incidents.open_missing(ctx, fleet, len(empty))
            facts = ctx.facts(fleet, slot=slot, incident=incident)
            match decide_slot(facts):
                case Fill():
                    workflow.begin(ctx, fleet, WorkflowKind.FILL, incident.id, slot=slot)
                    if incident.held:
                        ctx.world.put(replace(ctx.world.need(Incident, incident.id), held=()))
                case Hold() as held:
                    self._hold_fill(fleet, incident, slot, held)
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
            ):
                incidents.close(ctx, lost_incident, Resolution.REPLACED, f"slot {slot} is filled again")

    def _hold_fill(self, fleet: Fleet, incident: Incident, slot: int, held: Hold) -> None:
        ctx = self.ctx
        if any(r.guard in ("needs_human", "lineage") for r in held.readings):
            if incident.instance:
                incidents.escalate(ctx, incident, "; ".join(r.sentence() for r in held.readings))
            return
        incidents.hold(ctx, ctx.world.need(Incident, incident.id), f"launch into slot {slot}", held.readings)

    def _retain(self, fleet: Fleet) -> None:
        """Stop and end quarantines whose time has come; never one that is held."""
        ctx = self.ctx
        for kept in ctx.kept(fleet):
            instance = ctx.world.get(Instance, kept.instance)
            if instance is None or kept.instance in ctx.world.by_instance:
                continue
            held = instance.held_until is not None and instance.held_until > ctx.now.wall
            if held:
                continue
            if kept.expires_at <= ctx.now.wall:
                workflow.begin(ctx, fleet, WorkflowKind.PURGE, kept.incident, patient=kept.instance)
            elif not kept.stopped and kept.stop_at <= ctx.now.wall:
                workflow.begin(ctx, fleet, WorkflowKind.STOP, kept.incident, patient=kept.instance)
        for removal in [r for r in ctx.world.values(Removal) if r.settled_at is not None]:
            if ctx.since(removal.at) > LEDGER_KEPT:
                ctx.world.delete(removal)

    def _state(self, fleet: Fleet) -> None:
        ctx, name = self.ctx, fleet.policy.name
        if not self._amnesty_over(fleet) or fleet.inventory_at is None or ctx.sight.blind:
            return  # unknown is not down
        serving = fleet.serving + sum(1 for n in fleet.suspects if _may_serve(fleet.charts[n]))
        open_incidents = [
            i
            for i in (ctx.world.need(Incident, n) for n in ctx.world.open_of[name])
            if i.state is not IncidentState.RESOLVED
        ]
        if serving == 0 and fleet.policy.desired > 0:
            state = FleetState.DOWN
        elif serving >= fleet.policy.desired and not open_incidents:
            state = FleetState.OPTIMAL
        else:
            state = FleetState.DEGRADED
        if state is not fleet.state:
            if not (fleet.state is None and state is FleetState.DOWN and not ctx.world.members[name]):
                ctx.say("fleet.state", f"{name} is {state.upper()}: {serving} of {fleet.policy.desired} serve", name)
            fleet.state = state

    def _fleet_look(self, fleet: Fleet) -> BootTime | None:
        """Return when this fleet must be looked at again, if nothing happens before."""
        ctx, name, now = self.ctx, fleet.policy.name, self.ctx.now.boot
        looks: list[BootTime] = []
        busy = ctx.world.running[name] or ctx.world.open_of[name] or not self._amnesty_over(fleet)
        if busy or fleet.sick or fleet.unready or fleet.withdrawn or ctx.holders:
            looks.append(now + RECHECK)
        for kept in ctx.kept(fleet):
            due = kept.expires_at if kept.stopped else min(kept.stop_at, kept.expires_at)
            looks.append(max(now + RECHECK, ctx.to_boot(due)))
        return min(looks, default=None)


def _may_serve(chart: Chart) -> bool:
    """Return whether a suspect still serves as far as its load balancer is concerned."""
    machine = chart.machine
    return machine is not None and machine.registered is True and machine.target is not TargetHealth.UNHEALTHY
