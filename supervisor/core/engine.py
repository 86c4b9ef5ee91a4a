"""The engine: (state, signals, now) -> a turn. Deterministic, without I/O; the same in production and in simulation.

    signals -> evidence -> health -> guards -> decision -> workflow -> one turn (changes, commands, events)

The loop commits the turn's changes and then calls `settle`; when the commit is refused it calls `rollback`. Nothing
the engine decided may be done before it is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

from supervisor.core import (
    answers,
    changes,
    digest,
    dossiers,
    inventory,
    learnt,
    leftovers,
    operator,
    shadow,
    study,
    triage,
)
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.heartbeats import Heartbeat
from supervisor.core.journal import Step, Workflow
from supervisor.core.model import Image, Incident, Instance, Offering, OutboxMessage, Record, Thread
from supervisor.core.rounds import Rounds
from supervisor.core.settings import FleetPolicy, Settings
from supervisor.core.signals import (
    Beat,
    DigestDue,
    HeartbeatsDeaf,
    HeartbeatsReported,
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    LeftoversSeen,
    LogRead,
    MessageTold,
    Noticed,
    OperatorAsked,
    Perform,
    Reply,
    Result,
    ResultsReported,
    SelfReported,
    SentinelReported,
    SettingsLoaded,
    Signal,
    StepFinished,
    StepMoved,
    Stretch,
    Turn,
    Woke,
)
from supervisor.core.terms import BootTime, Health, Lifecycle, Now, Role, Seconds, Status
from supervisor.core.world import World
from supervisor.errors import OperatorError

IDLE_ALLOWED = 2.0  # the loop wakes at least each second; what is beyond this was lost
WALL_JUMP = 30.0
ALIVE_WEIGHT = 0.5  # of a silence, while the machine's own signs of life come: somebody else sees it well


class Engine:
    """Everything known, and the judgement over it. One writer: nobody else changes this state."""

    def __init__(self, records: Iterable[Record], settings: Settings, now: Now) -> None:
        """Wake up with what the store holds. Whatever was in flight is sent again at the first step."""
        self.ctx = Context(World(records), settings, now)
        self._rounds = Rounds(self.ctx)
        self._was_blind = False
        self._rate = 0.0
        self._shares = study.Shares()
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
        dossiers.resume(self.ctx)

    # -- one step

    def step(self, signals: Sequence[Signal], now: Now) -> Turn:
        """Take a batch of signals and decide. Follow with `settle` or `rollback`."""
        ctx = self.ctx
        ctx.now = now
        turn = ctx.turn
        self._watch_clocks(now)
        self._rounds.begin()
        for signal in signals:
            self._take(signal)
        self._rounds.visit_due()
        self._rounds.visit_soon(())
        for fleet in ctx.fleets.values():
            for name in study.study(ctx, fleet):
                self._rounds.visit(fleet, name)
        study.tell(ctx, ctx.hearing)
        self._score_self()
        ctx.sight.expect(self._rate, now.boot, ctx.settings.guards)
        self._watch_sight()
        operator.expire_holders(ctx)
        for name in sorted(ctx.fleets):
            fleet = ctx.fleets[name]
            if triage.is_due(ctx, fleet):
                triage.decide(ctx, fleet)
                self._rate = _results_per_second(ctx)
                self._rounds.visit_moved(fleet)
        turn.changes, turn.deletes = ctx.world.changes()
        for record in turn.changes:
            if isinstance(record, Step):
                turn.events.append(StepMoved(record, ctx.world.need(Workflow, record.workflow)))
        turn.next_look = self._rounds.next_look()
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
            fleet.listed = None  # what was made of it did not happen
            members = ctx.world.members[name]
            for stranger in sorted(fleet.charts.keys() - members):
                ctx.forget(fleet, stranger)
            for member in sorted(members):
                ctx.track(fleet, ctx.world.need(Instance, member))

    # -- signals

    def _take(self, signal: Signal) -> None:
        ctx = self.ctx
        match signal:
            case ResultsReported():
                self._results(signal.results)
            case InventorySeen():
                fleet = ctx.fleets.get(signal.fleet)
                if fleet is not None and signal.asked >= self._discard_before:
                    self._rounds.visit_soon(inventory.seen(ctx, fleet, signal))
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
            case LogRead():
                dossiers.log_read(ctx, signal)
            case OperatorAsked():
                try:
                    ctx.turn.replies.append(Reply(signal.request, True, operator.asked(ctx, signal)))
                except OperatorError as error:
                    ctx.turn.replies.append(Reply(signal.request, False, str(error)))
            case SentinelReported():
                ctx.sight.hear(signal)
            case HeartbeatsReported():
                self._beats(signal.beats)
            case HeartbeatsDeaf():
                self._listen(signal.why)
            case SelfReported():
                ctx.sight.feel(signal)
            case KillSwitchSeen():
                operator.kill_switch(ctx, signal)
            case SettingsLoaded():
                self._configure(signal.settings)
            case MessageTold():
                self._told(signal)
            case DigestDue():
                digest.due(ctx, signal.at)
            case Noticed():
                ctx.say(signal.kind, signal.text)
            case Woke():
                pass
            case _:
                assert_never(signal)

    def _results(self, results: Sequence[Result]) -> None:
        """Take a batch of results. The hot path: a pass of a healthy instance costs two dictionary look-ups."""
        charts = self.ctx.charts
        self.ctx.sight.count(len(results))
        if results:
            self.batches += 1
            self.batches_age += max(0.0, self.ctx.now.boot - results[-1].done)
        spoken: dict[str, None] = {}  # about whom something was said; each is judged once, however much it was
        discard_before, passed, healthy = self._discard_before, Status.OK, Health.HEALTHY
        for result in results:
            name, check, status, silent, sent, done, text, _ = result
            chart = charts.get(name)
            if chart is None or sent < discard_before or not chart.observed:
                continue
            evidence = chart.checks.get(check)
            if evidence is None:
                continue
            if status is passed and evidence.passes_again(sent, done):
                if text:  # a pass is told in words once, when these are new
                    evidence.text = text
                finding = chart.finding
                # Nobody with a vote is heard of it, and this check has none: its passes change nothing, though all come.
                if finding.health is not healthy and not (finding.unheard and evidence.role is Role.ADVISORY):
                    spoken[name] = None
                continue
            quiet = evidence.is_quiet
            if silent and chart.heartbeat is not None and chart.heartbeat.is_fresh(self.ctx.now.boot):
                evidence.take(result, ALIVE_WEIGHT)
            else:
                evidence.take(result)
            if not (quiet and evidence.is_quiet and chart.finding.health is healthy):
                spoken[name] = None
        self._rounds.visit_soon(spoken)

    def _beats(self, beats: Sequence[Beat]) -> None:
        """Take signs of life. They heal nobody: a machine that lives may still not serve."""
        charts, judgement = self.ctx.charts, self.ctx.settings.judgement
        for name, at in beats:
            chart = charts.get(name)
            if chart is None:
                continue
            heartbeat = chart.heartbeat
            if heartbeat is None:
                heartbeat = chart.heartbeat = Heartbeat()
            heartbeat.beat(at, judgement)

    def _listen(self, why: str) -> None:
        """Take whether signs of life can be heard at all. While they can't, and for a while after, none is missed."""
        if self.ctx.hearing.take(why, self.ctx.now.boot) or why:
            for fleet in self.ctx.fleets.values():
                study.excuse(self.ctx, fleet)

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
        self.ctx.sight.watch(self.ctx.now.boot, self.ctx.settings.guards)
        blind = self.ctx.sight.blind
        if blind and not self._was_blind:
            self.ctx.say("sight.lost", f"cannot see: {blind}; nothing is condemned or removed meanwhile")
        if self._was_blind and not blind:
            self._amnesty("sight is back")
        self._was_blind = bool(blind)

    def _score_self(self) -> None:
        """Score the supervisor's own pace every few seconds; time limits follow."""
        ctx = self.ctx
        if not ctx.sight.is_tick_due(ctx.now.boot):
            return
        self._shares.tick(ctx)
        if not ctx.sight.tick(ctx.now.boot, study.broken(ctx)):
            return
        factor = 1.0 + ctx.sight.score
        ctx.turn.commands.append(Stretch(factor))
        for fleet in ctx.fleets.values():
            fleet.stretch = factor
            fleet.weigh(ctx.settings.judgement)

    def _amnesty(self, why: str) -> None:
        rounds = self.ctx.settings.judgement.amnesty_rounds
        self.ctx.say(
            "amnesty.begun", f"{why}: all suspicion starts afresh, {rounds} clean rounds before the next removal"
        )
        for fleet in self.ctx.fleets.values():
            fleet.begin_amnesty(self.ctx.now.boot)
            study.excuse(self.ctx, fleet)

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
                fleet.stretch = 1.0 + ctx.sight.score
                learnt.load(ctx, fleet)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            else:
                fleet.configure(policy, settings.judgement)
                for member in sorted(ctx.world.members[name]):
                    ctx.track(fleet, ctx.world.need(Instance, member))
            self._take_offer(policy)
            shadow.configured(ctx, ctx.fleets[name])
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


def _results_per_second(ctx: Context) -> float:
    """Return how many results the schedule promises."""
    return sum(f.observed * sum(1.0 / c.interval for c in f.policy.checks) for f in ctx.fleets.values())
