"""The engine: (state, signals, now) -> a turn. Deterministic, without I/O; the same in production and in simulation.

    signals -> evidence -> health -> guards -> decision -> workflow -> one turn (changes, commands, events)

The loop commits the turn's changes and then calls `settle`; when the commit is refused it calls `rollback`. Nothing
the engine decided may be done before it is committed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from supervisor.core import answers, changes, diagnosis, inventory, leftovers, operator, plans, triage
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart, Surroundings, judge, judge_startup, suspect_since
from supervisor.core.journal import Step, Workflow
from supervisor.core.model import Image, Incident, Instance, Offering, OutboxMessage, Record, Thread
from supervisor.core.settings import FleetPolicy, Settings
from supervisor.core.signals import (
    HeartbeatsReported,
    InstanceMoved,
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    LeftoversSeen,
    MessageTold,
    Noticed,
    OperatorAsked,
    Perform,
    Reply,
    Result,
    ResultsReported,
    SelfReported,
    Sense,
    SentinelReported,
    SettingsLoaded,
    Signal,
    StepFinished,
    StepMoved,
    Turn,
    Woke,
)
from supervisor.core.terms import COMING, SERVING, BootTime, Health, Lifecycle, Now, Seconds
from supervisor.core.world import World
from supervisor.errors import OperatorError

IDLE_ALLOWED = 2.0  # the loop wakes at least each second; what is beyond this was lost
WALL_JUMP = 30.0


class Engine:
    """Everything known, and the judgement over it. One writer: nobody else changes this state."""

    def __init__(self, records: Iterable[Record], settings: Settings, now: Now) -> None:
        """Wake up with what the store holds. Whatever was in flight is sent again at the first step."""
        self.ctx = Context(World(records), settings, now)
        self._heap: list[tuple[BootTime, str]] = []
        self._was_blind = False
        self._rate = 0.0
        self.batches = 0
        self.batches_age: Seconds = 0.0  # summed over batches: the age of the newest result when it was taken
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
            if triage.is_due(ctx, fleet):
                triage.decide(ctx, fleet)
                self._rate = _results_per_second(ctx)
                self._refresh_moved(fleet)
        turn.changes, turn.deletes = ctx.world.changes()
        for record in turn.changes:
            if isinstance(record, Step):
                turn.events.append(StepMoved(record, ctx.world.need(Workflow, record.workflow)))
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
            case LeftoversSeen():
                fleet = ctx.fleets.get(signal.fleet)
                if fleet is not None and signal.asked >= self._discard_before:
                    leftovers.seen(ctx, fleet, signal)
            case StepFinished():
                owner = ctx.world.get(Workflow, signal.workflow)
                answers.answered(ctx, ctx.fleets.get(owner.fleet) if owner else None, signal)
            case OperatorAsked():
                try:
                    ctx.turn.replies.append(Reply(signal.request, True, operator.asked(ctx, signal)))
                except OperatorError as error:
                    ctx.turn.replies.append(Reply(signal.request, False, str(error)))
            case SentinelReported():
                ctx.beacons[signal.name] = signal
                if signal.sense is Sense.SIGHT:
                    ctx.sight.sentinels[signal.name] = (signal.ok, signal.detail)
            case HeartbeatsReported() | SelfReported():
                pass
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
        if results:
            self.batches += 1
            self.batches_age += max(0.0, self.ctx.now.boot - results[-1].done)
        spoken: dict[str, Fleet] = {}  # about whom something was said; each is judged once, however much it was
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
                spoken[result.instance] = fleet
        for name, fleet in spoken.items():
            self._refresh(fleet, name)

    def _told(self, signal: MessageTold) -> None:
        message = self.ctx.world.get(OutboxMessage, signal.message)
        if message is None:
            return
        if signal.thread and message.incident:
            thread = self.ctx.world.get(Thread, message.surface, message.incident)
            if thread is None or thread.ref != signal.thread:
                self.ctx.world.put(Thread(message.surface, message.incident, signal.thread, self.ctx.now.wall))
        if signal.ok:
            self.ctx.world.delete(message)
        else:
            self.ctx.world.put(replace(message, tries=message.tries + 1, dead=signal.refused))

    # -- judging one instance

    def _refresh_moved(self, fleet: Fleet) -> None:
        """Judge those afresh that a decision has put in service: nothing need ever be reported of them again."""
        for event in list(self.ctx.turn.events):
            if isinstance(event, InstanceMoved) and event.new in SERVING and event.fleet == fleet.policy.name:
                self._refresh(fleet, event.instance)
        if fleet.dirty:
            fleet.look = self.ctx.now.boot + triage.AGAIN

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
        diagnosis.observe(ctx, fleet, instance, chart)
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
        sees = not self.ctx.sight.blind and triage.is_amnesty_over(self.ctx, fleet)
        first = suspect_since(chart)
        patience = self.ctx.settings.judgement.silence_alone_after
        fresh = fleet.inventory_at is not None and self.ctx.now.boot - fleet.inventory_at <= fleet.inventory_limit
        fresh = fresh and not fleet.inventory_error
        if not sees or not fresh or first is None or self.ctx.now.boot - first < patience:
            return Surroundings(may_condemn=sees, cloud_fresh=fresh, peers_well=False)
        peers = [c for c in fleet.charts.values() if c is not chart and c.observed]
        well = sum(1 for c in peers if c.finding.health is Health.HEALTHY)
        return Surroundings(True, True, not peers or well >= self.ctx.settings.guards.fresh_round * len(peers))

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
            plans.settle_slot(ctx, fleet.policy.name, instance.slot)
            plans.settle_instance(ctx, fleet, instance.id)
        return ctx.now.boot + triage.RECHECK

    def _look(self, now: BootTime) -> None:
        """Judge every instance whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            fleet = self.ctx.owners.get(name)
            if fleet is None or fleet.charts[name].look != at:
                continue
            chart = fleet.charts[name]
            chart.look = None
            instance = self.ctx.world.get(Instance, name)
            serves = instance is not None and instance.lifecycle is Lifecycle.IN_SERVICE
            until = _well_until(chart, at) if serves else None
            if until is not None:
                chart.look = until
                heapq.heappush(self._heap, (until, name))
            else:
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
        if abs(jump) > WALL_JUMP:
            ctx.clock_set = now.wall
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
            changes.configured(ctx, fleet.policy if fleet is not None else None, policy)
            if fleet is None:
                fleet = ctx.fleets[name] = Fleet(policy, settings.judgement, ctx.now.boot)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            else:
                fleet.observed = 0
                fleet.configure(policy, settings.judgement)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            self._take_offer(policy)
        ctx.sight.schedule(max((fleet.round_length() for fleet in ctx.fleets.values()), default=0.0))

    def _take_offer(self, policy: FleetPolicy) -> None:
        """Keep what a fleet is launched from. A new image is noted, not launched by healing; a new recipe is taken."""
        ctx, name, at = self.ctx, policy.name, self.ctx.now.wall
        known = ctx.world.get(Image, name, policy.image)
        if known is None:
            first = not any(i.fleet == name for i in ctx.world.values(Image))
            ctx.world.put(Image(name, policy.image, policy.version, first, at, policy.recipe))
        elif known.recipe != policy.recipe:
            ctx.world.put(replace(known, recipe=policy.recipe))
        last = ctx.world.get(Offering, name)
        if policy.terms and (last is None or (last.terms, last.offer) != (policy.terms, policy.offer)):
            ctx.world.put(Offering(name, policy.terms, policy.offer, at))


def _well_until(chart: Chart, at: BootTime) -> BootTime | None:
    """Return until when a well machine's results are fresh, if that is all there was to look at; else None.

    The hot path of a large fleet at rest: nothing was said against it since, and everything was said anew.
    """
    if chart.finding.health is not Health.HEALTHY or chart.finding.look_at != at or chart.stopped_since is not None:
        return None
    until = float("inf")
    for evidence in chart.checks.values():
        if evidence.last is None or not evidence.is_quiet:
            return None
        until = min(until, evidence.last + evidence.weights.stale_after)
    if not at < until < float("inf"):
        return None
    chart.finding = replace(chart.finding, look_at=until)
    return until


def _results_per_second(ctx: Context) -> float:
    """Return how many results the schedule promises."""
    return sum(f.observed * sum(1.0 / c.interval for c in f.policy.checks) for f in ctx.fleets.values())
