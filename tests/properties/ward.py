"""An engine in a room without a loop, a store or a clock: a test hands it signals and looks at what each turn says.

What must always be true is checked from outside: from what the engine was told, and from the commands and records of its
turns, never from what it keeps in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil, floor

from supervisor.core.engine import Engine
from supervisor.core.journal import Step, StepStatus, Workflow, WorkflowKind, WorkflowState
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Identity, Incident, IncidentKind, Instance, Record, Removal, Slot
from supervisor.core.requests import (
    DESTRUCTIVE,
    Deregister,
    Done,
    Isolate,
    Launch,
    Outcome,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Terminate,
    Unclear,
)
from supervisor.core.settings import Settings
from supervisor.core.signals import (
    AskNow,
    Beat,
    Forget,
    HeartbeatsReported,
    InventoryFailed,
    InventorySeen,
    Observe,
    OperatorAsked,
    OperatorVerb,
    Perform,
    Result,
    ResultsReported,
    SentinelReported,
    SettingsLoaded,
    Signal,
    StepFinished,
    Turn,
)
from supervisor.core.terms import Lifecycle, Now, Seconds, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
BEAT: Seconds = 2.0  # the pace of a suspect, and of the ward's own steps
ANSWERS = {
    "ok": (Status.OK, False),
    "warning": (Status.WARNING, False),
    "critical": (Status.CRITICAL, False),
    "silent": (Status.CRITICAL, True),
    "unknown": (Status.UNKNOWN, False),
}
TAKES_AWAY = (Deregister, Isolate, Restart)
"""What may not be begun while nothing can be seen; what is left of a quarantine ends by its own time."""

Namer = Callable[[int], str]


@dataclass(slots=True)
class Ward:
    """One fleet called web, and what surrounds it. `mind` is called with each turn's new acts, before they have an effect."""

    settings: Settings
    name: Namer = lambda number: f"i-{number:02d}"
    cloud: str = "whole"  # whole, failed, empty
    answer: str = "done"  # done, refused, unclear, throttled
    boot: float = 0.0
    wall_jumped: float = 0.0
    machines: dict[str, Machine] = field(default_factory=dict)
    behaviour: dict[str, str] = field(default_factory=dict)
    told: dict[str, Machine] = field(default_factory=dict)  # the last whole list
    last: dict[str, Status] = field(default_factory=dict)  # the last answer that said anything
    ill: set[str] = field(default_factory=set)  # ever gave a reason
    blind: set[str] = field(default_factory=set)
    paused: dict[str, datetime | None] = field(default_factory=dict)
    held: dict[str, datetime] = field(default_factory=dict)
    watched: dict[str, bool] = field(default_factory=dict)
    waiting: list[Perform] = field(default_factory=list)
    records: dict[tuple[str, object], Record] = field(default_factory=dict)
    begun: set[tuple[int, str, int]] = field(default_factory=set)
    acts: list[Request] = field(default_factory=list)
    history: list[tuple[float, tuple[object, ...]]] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    asked: tuple[str, ...] = ()
    _launches: int = 0
    _engine: Engine | None = None

    def __post_init__(self) -> None:
        """Begin with a whole fleet that has served for a day, and let the amnesty pass."""
        policy = self.settings.fleets["web"]
        begun: list[Record] = [Identity("ward", 0, T0)]
        for number in range(policy.desired):
            name, zone = self.name(number), policy.zones[number % len(policy.zones)]
            begun.append(Slot("web", number, name))
            began = T0 - timedelta(days=1)
            begun.append(
                Instance(
                    name,
                    "web",
                    Lifecycle.IN_SERVICE,
                    number,
                    policy.image,
                    policy.version,
                    zone,
                    f"10.0.0.{number}",
                    began,
                    began,
                    True,
                )
            )
            self._put(name, zone, registered=True)
            self.served.add(name)
        self._engine = Engine(begun, self.settings, self.now)
        self.step()
        self.run(60.0)

    @property
    def engine(self) -> Engine:
        """The engine."""
        assert self._engine is not None
        return self._engine

    @property
    def now(self) -> Now:
        """The moment."""
        return Now(self.boot, T0 + timedelta(seconds=self.boot + self.wall_jumped))

    def _put(self, name: str, zone: str, *, registered: bool, tags: tuple[tuple[str, str], ...] = ()) -> None:
        target = TargetHealth.HEALTHY if registered else TargetHealth.UNKNOWN
        policy = self.settings.fleets["web"]
        self.machines[name] = Machine(
            name,
            "web",
            MachineState.RUNNING,
            zone,
            policy.image,
            policy.version,
            "10.0.0.9",
            registered,
            target,
            tags=tags,
        )
        self.behaviour[name] = "ok"

    # -- what happens

    def run(self, seconds: Seconds) -> None:
        """Let time pass, with results, lists and answers as they are now."""
        for _ in range(max(1, int(seconds / BEAT))):
            self.boot += BEAT
            self.step(self._signals())

    def _signals(self) -> list[Signal]:
        beat = round(self.boot / BEAT)
        due = [name for name, fast in sorted(self.watched.items()) if name in self.machines and (fast or beat % 5 == 0)]
        signals: list[Signal] = []
        asked = [name for name in self.asked if name in self.machines]
        results = [result for name in [*due, *asked] for result in self._results(name)]
        self.asked = ()
        if results:
            signals.append(ResultsReported(results))
        if beat % 5 == 1:
            signals.append(self.inventory())
        return [*signals, *self._answers()]

    def _results(self, name: str) -> list[Result]:
        """Return what each check is answered: all of them alike."""
        machine = self.machines[name]
        down = machine.state is not MachineState.RUNNING
        status, silent = ANSWERS["silent" if down else self.behaviour[name]]
        if status is Status.CRITICAL:
            self.ill.add(name)
        if status is not Status.UNKNOWN:
            self.last[name] = status
        text, checks = f"it is {self.behaviour[name]}", self.settings.fleets["web"].checks
        return [Result(name, check.name, status, silent, self.boot - 0.5, self.boot, text) for check in checks]

    def inventory(self) -> Signal:
        """Return what the cloud says now."""
        if self.cloud == "failed":
            return InventoryFailed("web", "503")
        if self.cloud == "empty":
            return InventorySeen("web", {}, self.boot)
        self.told = dict(self.machines)
        return InventorySeen("web", dict(self.machines), self.boot)

    def _answers(self) -> list[Signal]:
        waiting, self.waiting = self.waiting, []
        return [StepFinished(c.workflow, c.step, c.attempt, self._outcome(c.request)) for c in waiting]

    def _outcome(self, request: Request) -> Outcome:
        from supervisor.core.requests import Refused, Throttled

        match self.answer:
            case "refused":
                return Refused("no")
            case "throttled":
                return Throttled("slow down")
            case "unclear":
                return Unclear("the answer was lost")
            case _:
                return self._effect(request)

    def _effect(self, request: Request) -> Outcome:
        if isinstance(request, Launch):
            self._launches += 1
            name = self.name(100 + self._launches)
            self._put(name, request.zone, registered=False, tags=request.tags)
            return Done(name)
        machine = self.machines.get(request.instance)
        if machine is None:
            return Done(request.instance, "gone already")
        match request:
            case Register():
                self.served.add(machine.id)
                machine = replace(machine, registered=True, target=TargetHealth.HEALTHY)
            case Deregister():
                machine = replace(machine, registered=False, target=TargetHealth.UNKNOWN)
            case Isolate():
                machine = replace(machine, isolated=True, registered=False, target=TargetHealth.UNKNOWN)
            case Restore():
                machine = replace(machine, isolated=False, state=MachineState.RUNNING)
            case Restart():
                machine = replace(machine, state=MachineState.RUNNING)
                self.behaviour[machine.id] = "ok"
            case Stop():
                machine = replace(machine, state=MachineState.STOPPED)
            case Terminate():
                del self.machines[machine.id]
                return Done(machine.id)
            case _:
                pass
        self.machines[machine.id] = machine
        return Done(machine.id)

    def ask(self, verb: OperatorVerb) -> None:
        """Ask as an operator."""
        self.step([OperatorAsked(f"r{len(self.history)}-{self.boot}", verb, "ada", "test", "a test")])

    def sense(self, name: str, *, ok: bool) -> None:
        """Have a sentinel say something."""
        (self.blind.discard if ok else self.blind.add)(name)
        self.step([SentinelReported(name, ok)])

    def load(self, settings: Settings) -> None:
        """Load other settings."""
        self.settings = settings
        self.step([SettingsLoaded(settings)])

    def beats(self, names: Iterable[str]) -> None:
        """Have machines send signs of life."""
        self.step([HeartbeatsReported([Beat(name, self.boot) for name in names])])

    # -- what the engine does, and what must be true of it

    def step(self, signals: Sequence[Signal] = ()) -> Turn:
        """Take one turn, and check it."""
        turn = self.engine.step(signals, self.now)
        self.engine.settle()
        for record in turn.changes:
            self._saw(record)
        self.check(turn)
        for command in turn.commands:
            match command:
                case Observe():
                    self.watched[command.instance] = command.fast
                case Forget():
                    self.watched.pop(command.instance, None)
                case Perform():
                    self.waiting.append(command)
                case AskNow():
                    self.asked += command.instances
                case _:
                    pass
        return turn

    def _saw(self, record: Record) -> None:
        key = (type(record).__name__, tuple(getattr(record, name) for name in record.KEY))
        old = self.records.get(key)
        self.records[key] = record
        what: tuple[object, ...] = ()
        match record:
            case Workflow() if not isinstance(old, Workflow) or old.state is not record.state:
                what = ("workflow", record.kind, record.state, record.remediation)
            case Incident() if not isinstance(old, Incident) or (old.state, old.held) != (record.state, record.held):
                what = ("incident", record.kind, record.state, record.resolution, record.held, record.verdict)
            case _:
                pass
        if what:
            self.history.append((self.boot, what))

    def check(self, turn: Turn) -> None:
        """Check one turn from outside."""
        self._check_acts(turn)
        self._check_records()

    def _check_acts(self, turn: Turn) -> None:
        wall = self.now.wall
        paused = [name for name, until in self.paused.items() if until is None or until > wall]
        for record in turn.changes:
            if not isinstance(record, Step) or record.status is not StepStatus.INTENT or record.request is None:
                continue
            key = (record.workflow, record.name, record.attempt)
            request = record.request
            if key in self.begun:
                continue
            self.begun.add(key)
            if not isinstance(request, DESTRUCTIVE):
                continue
            assert not paused, f"{request} is begun while {paused} pause"
            held = self.held.get(request.instance)
            stops = isinstance(request, Stop)  # of a quarantined machine: a hold keeps it from its end only
            assert stops or held is None or held <= wall, f"{request} is begun on a machine that is held"
            if isinstance(request, TAKES_AWAY):
                assert not self.blind, f"{request} is begun while {self.blind} fail"
                known = request.instance in self.ill or self._is_surplus(request)
                assert known or request.instance not in self.served, f"{request}: it never gave a reason"
                self._check_floor(request)
                self.acts.append(request)

    def _is_surplus(self, request: Request) -> bool:
        """Return whether it only leaves the load balancer, was added in a storm, and as many serve without it as wanted."""
        if not isinstance(request, Deregister):
            return False
        workflows = [record for record in self.records.values() if isinstance(record, Workflow)]
        added = {w.candidate for w in workflows if w.kind is WorkflowKind.RESCUE}
        serving = {m.id for m in self.told.values() if m.registered and m.target is TargetHealth.HEALTHY}
        enough = len(serving - {request.instance}) >= self.settings.fleets["web"].desired
        return request.instance in added and enough

    def _check_floor(self, request: Request) -> None:
        """Count who serves as far as the engine was told, before and after the act."""
        policy, guards = self.settings.fleets["web"], self.settings.guards
        serving = {
            name
            for name, machine in self.told.items()
            if machine.state is MachineState.RUNNING
            and machine.registered
            and machine.target is not TargetHealth.UNHEALTHY
            and self.last.get(name) in (Status.OK, Status.WARNING)
        }
        target = self.told.get(getattr(request, "instance", ""))
        if target is None or target.state is not MachineState.RUNNING or not target.registered:
            return  # it serves nobody: taking it away costs nothing
        if target.target is TargetHealth.UNHEALTHY:
            return
        least = max(1, policy.desired - 1) if policy.desired < 5 else ceil(guards.serving_floor * policy.desired)
        if isinstance(request, Deregister):
            least = max(1, ceil(guards.lb_floor * policy.desired))
        after = len(serving - {target.id})
        assert after >= least, f"{request}: {after} would serve, at least {least} must"

    def _check_records(self) -> None:
        policy, guards = self.settings.fleets["web"], self.settings.guards
        open_removals = [r for r in self.records.values() if isinstance(r, Removal) and r.settled_at is None]
        credits = max(1, floor(guards.concurrent_share * policy.desired)) - len(open_removals)
        assert credits >= 0, f"{credits} credits are left"
        running = Counter(
            r.patient
            for r in self.records.values()
            if isinstance(r, Workflow) and r.state is WorkflowState.RUNNING and r.patient
        )
        assert all(count == 1 for count in running.values()), f"two workflows run for one machine: {running}"
        for record in self.records.values():
            if isinstance(record, Incident) and record.kind is IncidentKind.SICK:
                assert record.instance in self.ill, f"{record.instance} never gave a reason and is called sick"
