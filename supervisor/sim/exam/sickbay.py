"""The production engine at the desk: the same `step`, the same records, driven by the exam's clock instead of a loop.

    desk's eyes -> results, sentinels, self -> engine -> commands -> desk's cloud and eyes
                                                  +-> events -> pages

It does what runtime/service.py and the check hosts do, synchronously; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from supervisor.core import troubles
from supervisor.core.engine import Engine
from supervisor.core.machine import Machine
from supervisor.core.model import Image, Incident, IncidentKind, Instance, Record, Slot
from supervisor.core.requests import DESTRUCTIVE, Outcome, Refused
from supervisor.core.settings import CheckPolicy, Settings
from supervisor.core.signals import (
    AskNow,
    Beat,
    Command,
    Event,
    Forget,
    HeartbeatsReported,
    Hold,
    IncidentTold,
    InventoryFailed,
    InventorySeen,
    Observe,
    OperatorAsked,
    OperatorVerb,
    Pause,
    Perform,
    Result,
    ResultsReported,
    Resume,
    Said,
    SettingsLoaded,
    Signal,
    StepFinished,
    Stretch,
    TellChange,
    Turn,
)
from supervisor.core.terms import Cause, ChangeKind, Lifecycle, Mode, Seconds
from supervisor.runtime.wheel import phase
from supervisor.sim.exam.eyes import Round, SiteEyes
from supervisor.sim.exam.healer import Desk, Page
from supervisor.store.memory import MemoryStore

TICK: Seconds = 1.0
SENSES_EVERY: Seconds = 5.0
FAST = 5.0  # a suspect is asked so many times as often
HOUR = timedelta(hours=1)
URGENT = (
    "incident.opened",
    "incident.escalated",
    "sight.lost",
    "storm.begun",
    "inventory.lost",
    "launching.stopped",
    "instance.zombie",
)
"""What wakes somebody; the rest of a story is read in the morning."""

Pair = tuple[str, CheckPolicy]


class Sickbay:
    """A healer."""

    name = "sickbay"

    def __init__(self) -> None:
        """Begin with an empty journal."""
        self._store = MemoryStore("exam")
        self._engine: Engine | None = None
        self._signals: list[Signal] = []
        self._results: list[Result] = []
        self._beats: list[Beat] = []
        self._asked = 0
        self._life = 0  # what an earlier life asked for is not answered to this one
        self._told: set[tuple[int, str, str]] = set()
        self._stretch = 1.0
        self._settings = Settings(Mode.OBSERVE, {})
        self._phases: dict[Pair, int] = {}
        self._forget_probes()

    def _forget_probes(self) -> None:
        self._fleet_of: dict[str, str] = {}  # of those that are asked
        self._suspects: set[str] = set()  # those that are asked more often
        self._between: dict[int, dict[Pair, None]] = {}  # tick of the interval -> which suspects are asked then as well
        self._rounds: dict[int, dict[Pair, None]] = {}  # tick of the interval -> who is asked then
        self._made: dict[int, Round] = {}
        # After so many ticks all rounds repeat: the longest interval, a multiple of the others.
        self._cycle = max((round(c.interval) for f in self._settings.fleets.values() for c in f.checks), default=10)

    @property
    def engine(self) -> Engine:
        """The engine, once it is awake."""
        if self._engine is None:
            raise RuntimeError("the engine wakes when the cloud has answered for the first time")
        return self._engine

    # -- a healer's life

    def begin(self, desk: Desk) -> None:
        """Take over fleets that have served for a day."""
        if not isinstance(desk.eyes, SiteEyes):
            raise TypeError("the engine at the desk asks in rounds: it needs the eyes of a site")
        self._desk, self._eyes, self._settings = desk, desk.eyes, desk.settings
        self._first_list(sorted(desk.settings.fleets))

    def _first_list(self, fleets: list[str]) -> None:
        """Write down what serves, fleet by fleet, as if it had been launched long ago; then wake up."""
        if not fleets:
            self._wake()
            for seconds, call in ((TICK, self._tick), (SENSES_EVERY, self._senses)):
                self._desk.clockwork.every(seconds, call, TICK)
            for name, policy in sorted(self._settings.fleets.items()):
                self._desk.clockwork.every(policy.inventory_interval, self._lister(name), TICK)
            return
        name = fleets[0]

        def seen(machines: Sequence[Machine] | None) -> None:
            if machines is None:
                self._desk.clockwork.after(TICK, lambda: self._first_list(fleets))
                return
            self._store.load()
            self._store.commit(list(_records(self._settings, name, machines, self._desk.now().wall)), [])
            self._first_list(fleets[1:])

        self._desk.cloud.list(name, seen)

    def _wake(self) -> None:
        self._life += 1
        self._signals, self._results, self._beats = [], [], []
        self._forget_probes()
        self._stretch = 1.0
        self._engine = Engine(self._store.load(), self._settings, self._desk.now())
        self._step()

    def killed(self) -> None:
        """Die, and start again from the journal."""
        if self._engine is not None:
            self._wake()

    def configured(self, settings: Settings) -> None:
        """Take new settings."""
        self._settings = settings
        self._signals.append(SettingsLoaded(settings))
        self._forget_rounds()

    def _forget_rounds(self) -> None:
        """Have every machine's questions scheduled afresh: the checks may be others now."""
        asked, suspects = self._fleet_of, self._suspects
        self._forget_probes()
        for instance, fleet in sorted(asked.items()):
            self._observe(instance, fleet, fast=instance in suspects)

    def heartbeats(self, beats: Sequence[Beat]) -> None:
        """Take signs of life."""
        self._beats.extend(beats)

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None:
        """Take note of a change."""
        self._ask(TellChange(kind, target, text, fleet))

    def operator(self, verb: str, target: str, seconds: Seconds) -> None:
        """Do as an operator says."""
        match verb:
            case "hold":
                self._ask(Hold(target, seconds))
            case "pause":
                self._ask(Pause(target, seconds))
            case "resume":
                self._ask(Resume(target))
            case _:
                raise ValueError(f"an operator asks for '{verb}'; known: hold, pause, resume")

    def _ask(self, verb: OperatorVerb) -> None:
        self._asked += 1
        self._signals.append(OperatorAsked(f"exam-{self._asked}", verb, "exam", "exam", "a scenario"))

    # -- the loop

    def _tick(self) -> None:
        self._probe()
        self._step()

    def _step(self) -> None:
        """Make one turn of everything that has come in, commit it, and do what it says."""
        signals, self._signals = self._signals, []
        if self._results:
            signals.append(ResultsReported(self._results))
            self._results = []
        if self._beats:
            signals.append(HeartbeatsReported(self._beats))
            self._beats = []
        engine = self.engine
        turn: Turn = engine.step(signals, self._desk.now())
        if turn.changes or turn.deletes:
            self._store.commit(turn.changes, turn.deletes)
        commands, events = turn.commands, turn.events
        engine.settle()
        life = self._life
        for command in commands:
            if life != self._life:
                return  # it died of what it did
            self._dispatch(command)
        self._tell(events)

    def _soon(self, signal: Signal) -> None:
        """Take a signal that should not wait for the next tick."""
        self._signals.append(signal)
        self._step()

    def _dispatch(self, command: Command) -> None:
        match command:
            case Perform():
                life = self._life
                self._desk.clockwork.after(command.delay, lambda: self._perform(command, life))
            case Observe():
                self._observe(command.instance, command.fleet, fast=command.fast)
            case Forget():
                self._forget(command.instance)
            case AskNow():
                self._ask_now(command.instances)
            case Stretch():
                self._stretch = command.factor

    def _perform(self, command: Perform, life: int) -> None:
        if life != self._life:
            return

        def answered(outcome: Outcome) -> None:
            if life == self._life:
                self._soon(StepFinished(command.workflow, command.step, command.attempt, outcome))
                fleet = command.request.fleet
                self._desk.clockwork.after(TICK, self._lister(fleet))

        ctx = self.engine.ctx
        request = command.request
        held = ", ".join(ctx.holders)
        if not held and isinstance(request, DESTRUCTIVE):
            instance = ctx.world.get(Instance, request.instance)
            held = "" if instance is None else ctx.hold_on(instance)
        if held:
            answered(Refused(f"paused by {held}"))
            return
        self._desk.cloud.perform(request, answered)

    def _lister(self, fleet: str) -> Callable[[], None]:
        def ask() -> None:
            asked = self._desk.clockwork.now

            def seen(machines: Sequence[Machine] | None) -> None:
                if machines is None:
                    self._signals.append(InventoryFailed(fleet, "the cloud does not answer"))
                else:
                    self._signals.append(InventorySeen.of(fleet, machines, asked))

            self._desk.cloud.list(fleet, seen)

        return ask

    def _senses(self) -> None:
        self._signals.extend(self._eyes.sentinels())
        self._signals.append(self._eyes.myself())

    # -- probes

    def _checks(self, instance: str) -> tuple[CheckPolicy, ...]:
        policy = self._settings.fleets.get(self._fleet_of.get(instance, ""))
        return policy.checks if policy is not None else ()

    def _observe(self, instance: str, fleet: str, *, fast: bool) -> None:
        """Have an instance asked; a suspect keeps its place in the rounds, and is asked in between as well."""
        known = instance in self._fleet_of
        self._fleet_of[instance] = fleet
        self._hurry(instance, fast=fast)
        if not known:
            for check in self._checks(instance):
                for number in range(*self._due(instance, check)):
                    self._rounds.setdefault(number, {})[(instance, check)] = None
                    self._made.pop(number, None)

    def _forget(self, instance: str) -> None:
        if instance not in self._fleet_of:
            return
        for check in self._checks(instance):
            for number in range(*self._due(instance, check)):
                self._rounds.get(number, {}).pop((instance, check), None)
                self._made.pop(number, None)
        self._hurry(instance, fast=False)
        del self._fleet_of[instance]

    def _hurry(self, instance: str, *, fast: bool) -> None:
        """Have an instance asked between its rounds as well, or no longer."""
        if fast == (instance in self._suspects):
            return
        for check in self._checks(instance):
            first, end, interval = self._due(instance, check)
            pace = max(1, round(check.interval / FAST))
            for number in range(first % pace, end, pace):
                if (number - first) % interval == 0:
                    continue
                if fast:
                    self._between.setdefault(number, {})[(instance, check)] = None
                else:
                    self._between.get(number, {}).pop((instance, check), None)
        if fast:
            self._suspects.add(instance)
        else:
            self._suspects.discard(instance)

    def _due(self, instance: str, check: CheckPolicy) -> tuple[int, int, int]:
        """Return the first tick, the end and the step at which a check is due: each has a phase of its own."""
        interval = max(1, round(check.interval))
        first = self._phases.get((instance, check))
        if first is None:
            first = self._phases[(instance, check)] = int(phase(f"{instance} {check.name}", interval))
        return first, self._cycle, interval

    def _probe(self) -> None:
        tick = int(self._desk.clockwork.now / TICK)
        number = tick % self._cycle
        pairs = self._rounds.get(number)
        if pairs:
            made = self._made.get(number)
            if made is None:
                made = self._made[number] = self._eyes.round(tuple(pairs))
            self._eyes.ask_round(made, self._stretch, self._came)
        between = self._between.get(number)
        if between:
            self._eyes.ask_round(self._eyes.round(tuple(between)), self._stretch, self._came)

    def _came(self, results: Sequence[Result]) -> None:
        self._results.extend(results)

    def _ask_now(self, instances: tuple[str, ...]) -> None:
        pairs = [(instance, check) for instance in instances for check in self._checks(instance)]
        if pairs:
            self._eyes.ask_round(self._eyes.round(pairs), self._stretch, self._came)

    # -- telling

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case IncidentTold():
                    self._tell_incident(event)
                case Said(kind="sight.lost"):
                    self._page(event.text, Cause.BLIND, urgent=True)
                case Said(kind="hardware.suspected"):
                    lot = self.engine.ctx.fleets[event.fleet].lot
                    self._page(event.text, Cause.COHORT, lot.label.value if lot else "", urgent=False)
                case Said(kind="instance.withdrawn"):
                    self._page(event.text, Cause.INSTANCE, urgent=False)
                case Said():
                    if event.kind in URGENT:
                        self._page(event.text, None, urgent=True)
                case _:
                    pass

    def _tell_incident(self, event: IncidentTold) -> None:
        """Page an incident when it opens or needs somebody, and whenever its verdict becomes another one."""
        incident = event.incident
        cause, value = _verdict(incident)
        known = (incident.id, str(cause), value)
        if cause is not None and known not in self._told:
            self._told.add(known)
            self._page(event.text, cause, value, urgent=event.kind in URGENT)
        elif event.kind in URGENT:
            self._page(event.text, None, urgent=True)

    def _page(self, text: str, cause: Cause | None, value: str = "", *, urgent: bool) -> None:
        self._desk.pager.tell(Page(self._desk.clockwork.now, text, cause, value, urgent))


def _verdict(incident: Incident) -> tuple[Cause | None, str]:
    """Return what an incident says is wrong: an instance's own trouble, or what many share."""
    if incident.kind is IncidentKind.MISSING:
        return None, ""
    if incident.verdict is Cause.INSTANCE:
        return Cause.INSTANCE, incident.instance
    return incident.verdict, troubles.value_of(incident)


def _records(settings: Settings, fleet: str, machines: Sequence[Machine], now: datetime) -> list[Record]:
    """Return the journal of a supervisor that launched these machines long ago."""
    long_ago = now - 24 * HOUR
    policy = settings.fleets[fleet]
    made: list[Record] = [Image(fleet, policy.image, policy.version, True, long_ago, policy.recipe)]
    for number, machine in enumerate(machines):
        made.append(Slot(fleet, number, machine.id))
        made.append(
            Instance(
                id=machine.id,
                fleet=fleet,
                lifecycle=Lifecycle.IN_SERVICE,
                slot=number,
                image=machine.image,
                version=machine.version,
                zone=machine.zone,
                address=machine.address,
                created_at=long_ago,
                since=long_ago,
                served=True,
            )
        )
    return made
