"""Judges the past again: plays a history through a fresh engine with other settings, and compares what each decided.

Each time of trouble is played by itself, from the state of things as it was recorded, so one difference never leads to
the next. What the supervisor of then did is left out; what the engine of now does has its effect: a machine that it takes
away is gone from its view, and a launch serves after the median time that launches took. `sickbay replay` calls it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from supervisor.core import signals as verbs
from supervisor.core.engine import Engine
from supervisor.core.history import (
    HEARTBEAT,
    Asked,
    Felt,
    FleetKept,
    Line,
    MachinesChanged,
    Moment,
    PauseFileSeen,
    RecordKept,
    Run,
    Sensed,
)
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import (
    Change,
    Holder,
    Identity,
    Image,
    Incident,
    IncidentState,
    Instance,
    Permit,
    Quarantine,
    Record,
    Removal,
    Slot,
)
from supervisor.core.requests import (
    Deregister,
    Done,
    Isolate,
    Launch,
    Outcome,
    Register,
    Request,
    Restart,
    Restore,
    Terminate,
)
from supervisor.core.settings import FleetPolicy, Settings
from supervisor.core.signals import (
    AskNow,
    Beat,
    HeartbeatsReported,
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    OperatorAsked,
    OperatorVerb,
    Perform,
    Result,
    ResultsReported,
    SelfReported,
    SentinelReported,
    Signal,
    StepFinished,
    Turn,
)
from supervisor.core.terms import SERVING, ChangeKind, Lifecycle, Now, Seconds, Status
from supervisor.sim.comparison import Compared, Judge, compare
from supervisor.sim.past import Past, Results, State, Trouble, went_on

TICK: Seconds = 1.0  # as often as the loop looks at least
WINDOW: Seconds = 120.0  # of results that are expanded at once
FEELING: Seconds = 5.0  # between two reports of sentinels and of the supervisor itself
HEARD = ("Pause", "Resume", "Hold", "Unhold", "TellChange", "Allow")
"""What operators said then that a later judgement hears as well; approvals and purges were about decisions of then."""
STAYS = frozenset({*SERVING, Lifecycle.WITHDRAWN, Lifecycle.QUARANTINED})
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """What other settings would have done. `notes` say where the comparison is not quite fair."""

    start: Moment
    end: Moment
    asleep: Seconds
    troubles: int
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]

    def removals(self, *, then: bool) -> int:
        """Return how many machines were taken away, or would have been."""
        sides = (one.then if then else one.now for one in self.compared)
        return sum(1 for side in sides if side is not None and side.acted is not None)


def replay(past: Past, settings: Settings, since: Moment) -> Report:
    """Play every trouble since a moment with these settings."""
    start = max(since, past.start)
    state, place, compared, notes = State(), 0, [], list(past.damage)
    troubles = past.troubles(start, settings.judgement.cold_start)
    for trouble in troubles:
        while place < len(past.lines) and past.lines[place].at <= trouble.start:
            state.take(past.lines[place])
            place += 1
        fleets, said = comparable(settings, state)
        notes += [note for note in said if note not in notes]
        now = Stage(past, trouble, state, replace(settings, fleets=fleets, surfaces=())).play()
        then = Judge(fleets)
        for line in past.lines[place:]:
            if line.at > trouble.end:
                break
            if isinstance(line, RecordKept):
                then.saw(line.record, line.at)
        compared += compare(then.decided, now.decided, past)
    asleep = sum(min(b, past.end) - max(a, start) for a, b in past.asleep if b > start)
    return Report(start, past.end, asleep, len(troubles), tuple(sorted(compared, key=lambda c: c.at)), tuple(notes))


def comparable(settings: Settings, state: State) -> tuple[dict[str, FleetPolicy], list[str]]:
    """Return the fleets as they were, judged by these settings' numbers, and what could not be taken over."""
    fleets: dict[str, FleetPolicy] = {}
    notes: list[str] = []
    for name, policy in sorted(settings.fleets.items()):
        kept = state.fleets.get(name)
        if kept is None:
            continue
        past = {check.name: check for check in kept.checks}
        checks = tuple(
            replace(c, interval=past[c.name].interval, timeout=past[c.name].timeout)
            for c in policy.checks
            if c.name in past
        )
        missing = [c.name for c in policy.checks if c.name not in past]
        if missing:
            notes.append(f"fleet {name}: no results are kept of {', '.join(missing)}: left out")
        paced = [c.name for c in policy.checks if c.name in past and c.interval != past[c.name].interval]
        if paced:
            notes.append(f"fleet {name}: {', '.join(paced)} is judged at the interval of then")
        if policy.desired != kept.desired:
            notes.append(f"fleet {name}: its size is taken as it was, {kept.desired}")
        fleets[name] = _as_it_was(replace(policy, checks=checks, desired=kept.desired), kept, state)
    return fleets, notes


def _as_it_was(policy: FleetPolicy, kept: FleetKept, state: State) -> FleetPolicy:
    """Return a policy with the image and the zones of then: what is launched is not what is compared."""
    images = [r for r in state.records.values() if isinstance(r, Image) and r.fleet == kept.name]
    good = next((image for image in images if image.last_known_good), None)
    zones = policy.zones or tuple(sorted({m.zone for m in state.machines.get(kept.name, {}).values()})) or ("",)
    if good is None:
        return replace(policy, zones=zones)
    return replace(policy, image=good.id, version=good.version, recipe=good.recipe, zones=zones)


@dataclass(slots=True)
class Stage:
    """One time of trouble, played: the recorded world with what the engine of now did to it."""

    past: Past
    trouble: Trouble
    state: State
    settings: Settings
    judge: Judge = field(init=False)
    _machines: dict[str, dict[str, Machine]] = field(init=False)
    _hidden: frozenset[str] = field(init=False)
    _frozen: dict[str, Moment] = field(default_factory=dict)
    _mine: dict[str, Machine] = field(default_factory=dict)  # as the engine's own acts made them
    _passes_from: dict[str, Moment] = field(default_factory=dict)  # launched or restarted here
    _asked: dict[tuple[str, str], Moment] = field(default_factory=dict)
    _last: dict[str, dict[str, tuple[Moment, Run]]] = field(default_factory=lambda: defaultdict(dict))
    _next: list[Signal] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look at how things stood."""
        self.judge = Judge(self.settings.fleets)
        self._machines = {name: dict(found) for name, found in self.state.machines.items()}
        known = {m for machines in self._machines.values() for m in machines}
        coming = {r.id for r in self.state.records.values() if isinstance(r, Instance) and r.lifecycle not in STAYS}
        self._hidden = frozenset((self.past.launched - known) | coming)

    def play(self) -> Judge:
        """Play it, second by second; return what was decided."""
        at, lines = self.trouble.start, _between(self.past.lines, self.trouble)
        self._frozen = _taken_away(lines)
        gone = went_on(self.past, self._frozen, self.trouble.end)
        runs = tuple(sorted((*self.past.runs, *gone), key=lambda run: run.first)) if gone else self.past.runs
        results, window, place, filled = Results(runs, at), list[tuple[Moment, Run]](), 0, at
        engine = Engine(_records(self.state, self.settings, at), self.settings, _now(at))
        self._next += [SentinelReported(s.name, s.ok, s.detail, s.sense, s.of) for s in self.state.sentinels.values()]
        lists = dict.fromkeys(self.settings.fleets, at)
        told = 0
        while at < self.trouble.end:
            at += TICK
            heard, self._next = self._next, []
            while told < len(lines) and lines[told].at <= at:
                heard += self._hear(lines[told])
                told += 1
            if filled < at:
                window, place = results.between(filled, filled + WINDOW), 0
                filled += WINDOW
            begun = place
            while place < len(window) and window[place][0] <= at:
                place += 1
            if self.past.is_asleep(at):
                continue
            heard += self._results(window[begun:place], at)
            for name, due in sorted(lists.items()):
                if due <= at:
                    lists[name] = at + self.settings.fleets[name].inventory_interval
                    heard.append(self._inventory(name, at))
            if at % FEELING < TICK:
                heard += self.state.sentinels.values()
                heard.append(SelfReported(0.0, 0.0))
            turn = engine.step(heard, _now(at))
            engine.settle()
            self._obey(turn, at)
        return self.judge

    # -- what the engine is told

    def _hear(self, line: Line) -> list[Signal]:
        match line:
            case MachinesChanged():
                listed = self._machines.setdefault(line.fleet, {})
                listed.update({m.id: m for m in line.machines if line.at < self._frozen.get(m.id, float("inf"))})
                for name in line.gone:
                    if line.at < self._frozen.get(name, float("inf")):
                        listed.pop(name, None)
                return []
            case Sensed():
                self.state.sentinels[line.said.name] = line.said
                return [line.said]
            case Felt():
                return [line.said]
            case PauseFileSeen():
                return [KillSwitchSeen(line.present)]
            case Asked() if line.verb in HEARD:
                return [OperatorAsked(f"then-{line.at}", _verb(line), line.actor, "replay", line.reason)]
            case _:
                # What the cloud's answers and the settings were is state; records of then are not ours.
                if not isinstance(line, RecordKept):
                    self.state.take(line)
                return []

    def _results(self, found: Sequence[tuple[Moment, Run]], at: Moment) -> list[Signal]:
        results: list[Result] = []
        beats: list[Beat] = []
        for sent, run in found:
            if run.instance in self._passes_from:
                continue
            if run.check == HEARTBEAT:
                beats.append(Beat(run.instance, sent))
                continue
            self._last[run.instance][run.check] = (sent, run)
            results.append(Result(run.instance, run.check, run.status, run.silent, sent, sent + run.mean, run.text))
        for (name, check), due in list(self._asked.items()):
            if due <= at:
                self._asked[name, check] = at + 2.0
                if at >= self._passes_from[name]:
                    results.append(Result(name, check, Status.OK, False, at - 0.01, at))
        return [
            *([ResultsReported(results)] if results else []),
            *([HeartbeatsReported(beats)] if beats else []),
        ]

    def _inventory(self, fleet: str, at: Moment) -> Signal:
        if fleet in self.state.lost:
            return InventoryFailed(fleet, self.state.lost[fleet])
        listed = {m.id: m for m in self._machines.get(fleet, {}).values() if m.id not in self._hidden}
        listed.update({m.id: m for m in self._mine.values() if m.fleet == fleet})
        shown = {name: listed[name] for name in sorted(listed) if listed[name].state is not MachineState.TERMINATED}
        return InventorySeen(fleet, shown, at - 0.05)

    # -- what the engine wants

    def _obey(self, turn: Turn, at: Moment) -> None:
        for record in turn.changes:
            self.judge.saw(record, at)
        for command in turn.commands:
            if isinstance(command, Perform):
                outcome = self._perform(command.request, at)
                self._next.append(StepFinished(command.workflow, command.step, command.attempt, outcome))
            elif isinstance(command, AskNow):
                self._next.append(ResultsReported(self._answers(command.instances, at)))

    def _answers(self, instances: Sequence[str], at: Moment) -> list[Result]:
        """Return what machines would have answered now: as they did last, if that is not long ago."""
        found: list[Result] = []
        for name in instances:
            for check, (sent, run) in sorted(self._last[name].items()):
                if at - sent <= 60.0:
                    found.append(Result(name, check, run.status, run.silent, at, at + run.mean, run.text))
            if name in self._passes_from and at >= self._passes_from[name]:
                found += [Result(n, check, Status.OK, False, at, at + 0.01) for n, check in self._asked if n == name]
        return found

    def _perform(self, request: Request, at: Moment) -> Outcome:
        if isinstance(request, Launch):
            return self._launch(request, at)
        machine = self._mine.get(request.instance) or self._machines.get(request.fleet, {}).get(request.instance)
        if machine is None:
            return Done(request.instance, "gone already")
        match request:
            case Register():
                machine = replace(machine, registered=True, target=TargetHealth.HEALTHY)
            case Deregister():
                machine = replace(machine, registered=False, target=TargetHealth.UNKNOWN)
            case Isolate():
                machine = replace(machine, isolated=True, registered=False, target=TargetHealth.UNKNOWN)
            case Restore():
                machine = replace(machine, isolated=False)
            case Restart():
                machine = replace(machine, state=MachineState.RUNNING)
                self._comes(machine, at)
            case Terminate():
                machine = replace(machine, state=MachineState.TERMINATED)
            case _:
                pass
        self._mine[machine.id] = machine
        return Done(machine.id)

    def _launch(self, request: Launch, at: Moment) -> Outcome:
        name = f"replay-{request.token[:12]}"
        machine = Machine(
            name,
            request.fleet,
            MachineState.RUNNING,
            request.zone,
            request.image,
            request.version,
            "replayed",
            registered=False,
            tags=request.tags,
        )
        self._mine[name] = machine
        self._comes(machine, at)
        return Done(name)

    def _comes(self, machine: Machine, at: Moment) -> None:
        """Have a machine start: it serves after the time that starts took then."""
        startup = self.settings.judgement.startup_span
        self._passes_from[machine.id] = at + max(2.0, self.past.boot_time - startup)
        for check in self.settings.fleets[machine.fleet].checks:
            self._asked[machine.id, check.name] = at


def _between(lines: Sequence[Line], trouble: Trouble) -> list[Line]:
    return [line for line in lines if trouble.start < line.at <= trouble.end]


def _taken_away(lines: Sequence[Line]) -> dict[str, Moment]:
    """Return the machines that were acted upon then, and when that began: from there on the record is not theirs."""
    found: dict[str, Moment] = {}
    for line in lines:
        if isinstance(line, RecordKept) and isinstance(line.record, Workflow):
            kind, patient = line.record.kind, line.record.patient
            if patient and kind in (WorkflowKind.REMEDIATE, WorkflowKind.WITHDRAW):
                found.setdefault(patient, line.at)
    return found


def _records(state: State, settings: Settings, at: Moment) -> list[Record]:
    """Return the journal of then as a start would find it, had nothing been under way."""
    wall = _now(at).wall
    found = [r for r in state.records.values() if getattr(r, "fleet", "") in {"", *settings.fleets}]
    stays = {r.id for r in found if isinstance(r, Instance) and r.lifecycle in STAYS}
    numbers = [r.id for r in found if isinstance(r, Incident | Workflow | Removal | Change)]
    made: list[Record] = [Identity("replay", max(numbers, default=0) + 1_000_000, NO_TIME)]
    for record in found:
        match record:
            case Instance() if record.id in stays:
                made.append(record)
            case Slot():
                made.append(record if record.occupant in stays else replace(record, occupant=None))
            case Removal():
                made.append(record if record.settled_at else replace(record, settled_at=wall))
            case Quarantine() if record.instance in stays and record.ended_at is None:
                made.append(record)
            case Incident() if record.state is IncidentState.ESCALATED and record.instance in stays:
                made.append(record)
            case Image() | Holder() | Permit() | Change():
                made.append(record)
            case _:
                pass
    return made


def _verb(line: Asked) -> OperatorVerb:
    words = dict(line.words)
    if line.verb == "TellChange":
        words["kind"] = ChangeKind(str(words["kind"]))
    make: Callable[..., OperatorVerb] = getattr(verbs, line.verb)
    return make(**words)


def _now(at: Moment) -> Now:
    return Now(at, datetime.fromtimestamp(at, UTC))
