"""Keeps the history: taps what the loop took in and decided, folds it into runs and edges, and writes now and then.

The loop calls `tap` after each turn, so its quiet path must cost next to nothing: a result that is like the one before
only extends a run. Writing happens on a thread. Nothing here may ever stop healing: when the disk refuses, recording
pauses, people are told once, and it is tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import zip_longest
from typing import Protocol

import structlog

from supervisor.core.history import (
    HEARTBEAT,
    KEPT,
    Asked,
    Began,
    Chapter,
    CheckKept,
    CloudBack,
    CloudLost,
    Felt,
    FleetKept,
    Line,
    Loaded,
    MachinesChanged,
    Moment,
    PauseFileSeen,
    RecordDropped,
    RecordKept,
    Run,
    Sensed,
)
from supervisor.core.journal import Workflow, WorkflowState
from supervisor.core.machine import Machine
from supervisor.core.model import Incident, IncidentState, Instance, Quarantine, Record, Removal
from supervisor.core.settings import Settings
from supervisor.core.signals import (
    Beat,
    HeartbeatsReported,
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    OperatorAsked,
    Result,
    ResultsReported,
    SelfReported,
    SentinelReported,
    SettingsLoaded,
    Signal,
    Turn,
)
from supervisor.core.terms import BootTime, Lifecycle, Now, Seconds, Status
from supervisor.core.world import World

log = structlog.get_logger()

PAUSE: Seconds = 30.0  # between two writes
PART: Seconds = 600.0  # a run that goes on is written in parts of this length: so much of it a crash may cost
AT_ONCE = 5000  # runs of which a part is written at one time
PIECE = 2000  # runs, records or machines that are put into words in one piece
SEGMENT: Seconds = 86400.0
OUT_OF_STEP = 1.6  # a result that comes so many times sooner or later than the one before begins a new run
SLOW_LAG: Seconds = 0.25  # what of itself the supervisor finds worth keeping
SLOW_START = 0.5

Notice = Callable[[str, str], None]


class Pen(Protocol):
    """Where chapters go. Blocking; raises `OSError`."""

    def write(self, chapter: Chapter) -> bool:
        """Write a chapter; return whether the segment has room for more."""
        ...

    def close(self) -> None:
        """Let the file go."""
        ...


class OpenRun:
    """A run that still grows. Times are on the boot clock."""

    __slots__ = ("count", "first", "gap", "last", "latency", "silent", "slowest", "status", "text")

    def __init__(self, status: Status, text: str, sent: BootTime, latency: Seconds, *, silent: bool) -> None:
        """Begin with one result."""
        self.status = status
        self.silent = silent
        self.text = text
        self.first = self.last = sent
        self.gap: Seconds = 0.0  # between its first two results; 0 while there is one only
        self.count = 1
        self.latency = self.slowest = latency

    def grow(self, sent: BootTime) -> bool:
        """Take in that the second result came, which sets the pace; return whether there is one."""
        if not self.gap:
            self.gap = max(0.0, sent - self.last)
            return self.gap > 0
        return False


class Recorder:
    """The history's only writer."""

    def __init__(self, world: Callable[[], World], settings: Callable[[], Settings], pen: Pen, now: Now) -> None:
        """Take where to write; `world` and `settings` are read when a segment opens."""
        self.trouble = ""  # why nothing is being kept, '' when it is
        self._world = world
        self._settings = settings
        self._pen = pen
        self._zero = now.wall.timestamp() - now.boot
        self._runs: dict[str, dict[str, OpenRun]] = {}  # check -> instance -> its run
        self._ended: list[Run] = []
        self._lines: list[Line] = []
        self._machines: dict[str, Mapping[str, Machine]] = {}
        self._lost: dict[str, str] = {}  # fleet -> why its cloud gave no list
        self._sentinels: dict[str, SentinelReported] = {}
        self._unwell = False
        self._incidents: dict[int, Incident] = {}  # as last written
        self._opening = True
        self._opened_at: Moment = 0.0
        self._going_on: list[tuple[str, str]] = []  # runs of which a part is still to be written, this time round
        self._parted_at: BootTime = now.boot
        self._seen: Now = now
        self._broken = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="history")

    # -- taking in

    def tap(self, signals: Sequence[Signal], turn: Turn, now: Now) -> None:
        """Take what the loop took in and decided. Never raises: a fault in here ends the recording, not the healing."""
        if self._broken:
            return
        try:
            self._tap(signals, turn, now)
        except Exception as error:  # noqa: BLE001  # healing goes on, whatever is wrong in here
            self._broken = True
            log.error("history.broken", error=f"{type(error).__name__}: {error}")

    def _tap(self, signals: Sequence[Signal], turn: Turn, now: Now) -> None:
        self._seen = now
        for signal in signals:
            if isinstance(signal, ResultsReported):
                self.results(signal.results)
            elif isinstance(signal, HeartbeatsReported):
                self.beats(signal.beats)
            else:
                self._edge(signal, now)
        if turn.changes or turn.deletes:
            self._decided(turn, self._at(now.boot))

    def results(self, results: Iterable[Result]) -> None:
        """Extend runs; begin new ones where a result is not like the one before. The hot path."""
        runs = self._runs
        for instance, check, status, silent, sent, done, text, _ in results:
            try:
                run = runs[check][instance]
            except KeyError:
                runs.setdefault(check, {})[instance] = OpenRun(status, text, sent, done - sent, silent=silent)
                continue
            gap = run.gap
            if (
                gap / OUT_OF_STEP <= sent - run.last <= gap * OUT_OF_STEP
                and gap
                and run.status is status
                and run.silent is silent
            ):
                run.last = sent
                run.count += 1
                latency = done - sent
                run.latency += latency
                run.slowest = max(run.slowest, latency)
                continue
            self._step(instance, check, run, Result(instance, check, status, silent, sent, done, text))

    def beats(self, beats: Iterable[Beat]) -> None:
        """Keep signs of life like results that are always good."""
        self.results([Result(beat.instance, HEARTBEAT, Status.OK, False, beat.at, beat.at) for beat in beats])

    def _step(self, instance: str, check: str, run: OpenRun, result: Result) -> None:
        """Take a result that is not plainly the next one of its run."""
        latency = result.done - result.sent
        alike = run.status is result.status and run.silent is result.silent
        if alike and run.grow(result.sent):
            run.last = result.sent
            run.count += 1
            run.latency += latency
            run.slowest = max(run.slowest, latency)
            return
        self._end(instance, check, run)
        self._runs[check][instance] = OpenRun(result.status, result.text, result.sent, latency, silent=result.silent)

    def _end(self, instance: str, check: str, run: OpenRun) -> None:
        if run.count:
            mean = run.latency / run.count
            first, last = self._at(run.first), self._at(run.last)
            self._ended.append(
                Run(instance, check, run.status, run.silent, run.text, first, last, run.count, mean, run.slowest)
            )

    def _edge(self, signal: Signal, now: Now) -> None:
        at = self._at(now.boot)
        match signal:
            case InventorySeen() if not signal.machines and self._machines.get(signal.fleet):
                self._lose(signal.fleet, "its list is empty", at)
            case InventorySeen():
                if self._lost.pop(signal.fleet, None) is not None:
                    self._lines.append(CloudBack(at, signal.fleet))
                self._listed(signal, at)
            case InventoryFailed():
                self._lose(signal.fleet, signal.reason, at)
            case SentinelReported() if self._sentinels.get(signal.name) != signal:
                self._sentinels[signal.name] = signal
                self._lines.append(Sensed(at, signal))
            case SelfReported():
                unwell = signal.lag > SLOW_LAG or signal.start_delay > SLOW_START or not signal.names_resolve
                if unwell or self._unwell:
                    self._lines.append(Felt(at, signal))
                self._unwell = unwell
            case SettingsLoaded():
                self._lines.append(_loaded(signal.settings, at))
            case KillSwitchSeen():
                self._lines.append(PauseFileSeen(at, signal.present))
            case OperatorAsked():
                words = tuple((f.name, _plain(getattr(signal.verb, f.name))) for f in fields(signal.verb))
                self._lines.append(Asked(at, type(signal.verb).__name__, words, signal.actor, signal.reason))
            case _:
                pass

    def _lose(self, fleet: str, reason: str, at: Moment) -> None:
        if fleet not in self._lost:
            self._lost[fleet] = reason
            self._lines.append(CloudLost(at, fleet, reason))

    def _listed(self, signal: InventorySeen, at: Moment) -> None:
        known, listed = self._machines.get(signal.fleet, {}), signal.machines
        news = signal.news if known is signal.before else (*listed, *(known.keys() - listed.keys()))
        changed = tuple(listed[name] for name in news if name in listed and known.get(name) != listed[name])
        gone = tuple(sorted(name for name in news if name not in listed))
        if changed or gone:
            self._lines.append(MachinesChanged(at, signal.fleet, changed, gone))
        self._machines[signal.fleet] = listed

    def _decided(self, turn: Turn, at: Moment) -> None:
        for record in turn.changes:
            if isinstance(record, Incident):
                bare = replace(record, notes=())
                if self._incidents.get(record.id) == bare:
                    continue
                self._incidents[record.id] = bare
                if record.state is IncidentState.CLOSED:
                    del self._incidents[record.id]
                self._lines.append(RecordKept(at, bare))
            elif isinstance(record, KEPT):
                self._lines.append(RecordKept(at, record))
                if isinstance(record, Instance) and record.lifecycle is Lifecycle.RETIRED:
                    self._forget(record.id)
        self._lines += [RecordDropped(at, record) for record in turn.deletes if isinstance(record, KEPT)]

    def _forget(self, instance: str) -> None:
        for check, runs in self._runs.items():
            run = runs.pop(instance, None)
            if run is not None:
                self._end(instance, check, run)

    def _at(self, boot: BootTime) -> Moment:
        return round(self._zero + boot, 3)  # as it is written: what opens a segment is as old as the segment

    # -- writing

    async def run(self, notice: Notice) -> None:
        """Write now and then, for ever. `notice` tells people when it stops, and when it goes on."""
        try:
            while True:
                await self.write(notice)
                await asyncio.sleep(PAUSE)
        finally:
            self.close()

    async def write(self, notice: Notice) -> None:
        """Write what has come together."""
        chapters = self._chapters()
        if not chapters:
            return
        try:
            room = await asyncio.get_running_loop().run_in_executor(self._pool, self._put, chapters)
        except Exception as error:  # noqa: BLE001  # healing goes on, whatever the disk says
            self._opening = True
            if not self.trouble:
                self.trouble = (error.strerror if isinstance(error, OSError) else "") or repr(error)
                log.error("history.stopped", error=self.trouble)
                notice("history.stopped", f"no history is kept, so `sickbay replay` will miss it: {self.trouble}")
            return
        self._opening = self._opening or not room
        if self.trouble:
            self.trouble = ""
            notice("history.back", "history is kept again")

    def close(self) -> None:
        """Write what is left and let the file go. Blocks for a moment; what the disk refuses now is lost."""
        if self._broken:
            return
        for instance in sorted(set[str]().union(*self._runs.values())):
            self._forget(instance)
        chapters = self._chapters()
        try:
            self._pool.submit(self._put, chapters).result()
            self._pool.submit(self._pen.close).result()
        except Exception as error:  # noqa: BLE001  # the daemon ends well all the same
            log.error("history.stopped", error=repr(error))
        self._pool.shutdown()

    def _put(self, chapters: Sequence[Chapter]) -> bool:
        room = True
        for chapter in chapters:
            for part in _parts(chapter):
                room = self._pen.write(part)
        return room

    def _chapters(self) -> list[Chapter]:
        """Return what is to be written: first what belongs to the segment that is open, then perhaps a new one's opening."""
        at = self._at(self._seen.boot)
        self._part()
        runs, lines = tuple(self._ended), tuple(self._lines)
        self._ended, self._lines = [], []
        if not self._opening and at - self._opened_at < SEGMENT:
            return [Chapter(at, runs, lines)] if runs or lines else []
        made: list[Chapter] = []
        if self._opened_at and not self.trouble and (runs or lines):
            made.append(Chapter(at, runs, lines))
            runs = lines = ()
        first = not self._opened_at
        self._opening, self._opened_at = False, at
        # What is known holds the outcome of these lines already: to take them twice changes nothing.
        return [*made, Chapter(at, runs, (*self._all_that_is_known(at, first=first), *lines), opening=True)]

    def _part(self) -> None:
        """End and go on with runs that have grown long, a few thousand at a time."""
        if not self._going_on and self._seen.boot - self._parted_at >= PART:
            self._parted_at = self._seen.boot
            self._going_on = [(instance, check) for check, runs in self._runs.items() for instance in runs]
        batch, self._going_on = self._going_on[:AT_ONCE], self._going_on[AT_ONCE:]
        for instance, check in batch:
            run = self._runs.get(check, {}).pop(instance, None)  # the next result begins the next part
            if run is not None:
                self._end(instance, check, run)

    def _all_that_is_known(self, at: Moment, *, first: bool) -> tuple[Line, ...]:
        """Return what a reader must know that begins here."""
        lines: list[Line] = [Began(at)] if first else []
        lines.append(_loaded(self._settings(), at))
        for kind in KEPT:
            lines += [RecordKept(at, _bare(record)) for record in self._world().all(kind) if _matters(record)]
        lines += [Sensed(at, said) for _, said in sorted(self._sentinels.items())]
        for fleet, machines in sorted(self._machines.items()):
            lines.append(MachinesChanged(at, fleet, tuple(machines[name] for name in sorted(machines))))
        lines += [CloudLost(at, fleet, reason) for fleet, reason in sorted(self._lost.items())]
        return tuple(lines)


def _parts(chapter: Chapter) -> Iterator[Chapter]:
    """Cut what tells of a whole large fleet: while one part is put into JSON, nobody else has a turn."""
    runs = [chapter.runs[first : first + PIECE] for first in range(0, len(chapter.runs), PIECE)]
    opening = chapter.opening
    for some, lines in zip_longest(runs or [()], _pieces(chapter.lines), fillvalue=()):
        yield Chapter(chapter.at, some, lines, opening=opening)
        opening = False


def _pieces(lines: Iterable[Line]) -> Iterator[tuple[Line, ...]]:
    piece: list[Line] = []
    room = PIECE
    for line in lines:
        machines = line.machines if isinstance(line, MachinesChanged) else ()
        for first in range(0, max(1, len(machines)), PIECE):
            some = machines[first : first + PIECE]
            if isinstance(line, MachinesChanged) and len(some) < len(machines):
                piece.append(replace(line, machines=some, gone=() if first else line.gone))
            else:
                piece.append(line)
            room -= max(1, len(some))
            if room <= 0:
                yield tuple(piece)
                piece, room = [], PIECE
    if piece:
        yield tuple(piece)


def _bare(record: Record) -> Record:
    return replace(record, notes=()) if isinstance(record, Incident) else record


def _matters(record: Record) -> bool:
    """Return whether a record can still bear on a decision."""
    match record:
        case Instance():
            return record.lifecycle is not Lifecycle.RETIRED
        case Incident():
            return record.state is not IncidentState.CLOSED
        case Workflow():
            return record.state is WorkflowState.RUNNING
        case Quarantine():
            return record.ended_at is None
        case Removal():
            return True  # the ledger is trimmed by the engine
        case _:
            return True


def _plain(value: object) -> str | int | float | None:
    return value if isinstance(value, int | float) or value is None else str(value)


def _loaded(settings: Settings, at: Moment) -> Loaded:
    made = tuple(
        FleetKept(f.name, f.desired, tuple(CheckKept(c.name, c.role, c.interval, c.timeout) for c in f.checks))
        for _, f in sorted(settings.fleets.items())
    )
    judged_by = (settings.mode, made, settings.judgement, settings.explaining, settings.guards)
    return Loaded(at, hashlib.sha256(repr(judged_by).encode()).hexdigest()[:12], settings.mode, made)
