"""A history as it is played again: everything since a moment, in order, and the times of trouble in it.

Read by `sim/replay.py`. Most of the past is quiet, and no settings can make anything of it: only the times of trouble are
played, each with the state of things as it was recorded when it began.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from supervisor.core.history import (
    HEARTBEAT,
    Began,
    CloudBack,
    CloudLost,
    FleetKept,
    Line,
    Loaded,
    MachinesChanged,
    Moment,
    RecordDropped,
    RecordKept,
    Run,
    Sensed,
)
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Incident, IncidentState, Instance, Record, key_of
from supervisor.core.signals import SentinelReported
from supervisor.core.terms import Lifecycle, Seconds, Status
from supervisor.store.history import read

LEAD: Seconds = 120.0  # before a trouble, beside the cold start: rounds enough to believe what is seen
TAIL: Seconds = 900.0  # after the last sign of it: what is under way comes to its end
QUIET: Seconds = 1800.0  # between two times of trouble that are told apart
BLIPS = 3  # single failures of one machine within `QUIET` that are more than noise
USUAL_BOOT: Seconds = 90.0  # while nobody was seen to boot


@dataclass(frozen=True, slots=True)
class Trouble:
    """A stretch of the past that is worth playing."""

    start: Moment
    end: Moment


@dataclass(slots=True)
class State:
    """What was known at a moment of the past. `take` goes on by one line."""

    records: dict[tuple[type[Record], tuple[str | int, ...]], Record] = field(default_factory=dict)
    machines: dict[str, dict[str, Machine]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    sentinels: dict[str, SentinelReported] = field(default_factory=dict)
    fleets: Mapping[str, FleetKept] = field(default_factory=dict)

    def take(self, line: Line) -> None:
        """Take what changed."""
        match line:
            case RecordKept():
                self.records[type(line.record), key_of(line.record)] = line.record
            case RecordDropped():
                self.records.pop((type(line.record), key_of(line.record)), None)
            case MachinesChanged():
                listed = self.machines.setdefault(line.fleet, {})
                listed.update({machine.id: machine for machine in line.machines})
                for name in line.gone:
                    listed.pop(name, None)
            case CloudLost():
                self.lost[line.fleet] = line.reason
            case CloudBack():
                self.lost.pop(line.fleet, None)
            case Sensed():
                self.sentinels[line.said.name] = line.said
            case Loaded():
                self.fleets = {fleet.name: fleet for fleet in line.fleets}
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Past:
    """A history, read whole. `asleep` are the stretches in which no supervisor ran; `damage` what could not be read."""

    lines: tuple[Line, ...]  # in order
    runs: tuple[Run, ...]  # by their beginning
    start: Moment
    end: Moment
    asleep: tuple[tuple[Moment, Moment], ...]
    damage: tuple[str, ...]

    @property
    def boot_time(self) -> Seconds:
        """How long a launched machine took to serve, the median."""
        begun: dict[str, Moment] = {}
        took: list[Seconds] = []
        for line in self.lines:
            if isinstance(line, RecordKept) and isinstance(line.record, Instance):
                if line.record.lifecycle is Lifecycle.LAUNCHING:
                    begun.setdefault(line.record.id, line.at)
                elif line.record.lifecycle is Lifecycle.PROBATION and line.record.id in begun:
                    took.append(line.at - begun.pop(line.record.id))
        return median(took) if took else USUAL_BOOT

    @property
    def launched(self) -> frozenset[str]:
        """The machines that the supervisor of then launched, whenever that was."""
        records = (line.record for line in self.lines if isinstance(line, RecordKept))
        return frozenset(r.id for r in records if isinstance(r, Instance) and r.lifecycle is Lifecycle.LAUNCHING)

    def is_asleep(self, at: Moment) -> bool:
        """Return whether no supervisor ran."""
        return any(start < at < end for start, end in self.asleep)

    def troubles(self, since: Moment, lead: Seconds) -> list[Trouble]:
        """Return the times of trouble since a moment; `lead` is what the judge needs before it believes what it sees."""
        merged: list[list[Moment]] = []
        for start, end in sorted(self._signs()):
            if end < since:
                continue
            if merged and start - merged[-1][1] <= QUIET:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        return [Trouble(max(self.start, a - lead - LEAD), min(self.end, b + TAIL)) for a, b in merged]

    def _signs(self) -> Iterator[tuple[Moment, Moment]]:
        blips: dict[str, list[Moment]] = {}
        for run in self.runs:
            if run.status is not Status.CRITICAL or run.check == HEARTBEAT:
                continue
            if run.results > 1:
                yield run.first, run.last
                continue
            single = blips.setdefault(run.instance, [])
            single.append(run.first)
            if len(single) >= BLIPS and run.first - single[-BLIPS] <= QUIET:
                yield single[-BLIPS], run.first
        for line in self.lines:
            match line:
                case MachinesChanged() if any(map(_is_unwell, line.machines)):
                    yield line.at, line.at
                case RecordKept(record=Incident(state=IncidentState.OPEN)):
                    yield line.at, line.at
                case RecordKept(record=Workflow(kind=WorkflowKind.REMEDIATE | WorkflowKind.WITHDRAW)):
                    yield line.at, line.at
                case _:
                    pass


def _is_unwell(machine: Machine) -> bool:
    if machine.isolated:
        return False  # set aside already
    ended = machine.state in (MachineState.STOPPED, MachineState.TERMINATED)
    return ended or bool(machine.impaired) or (bool(machine.registered) and machine.target is TargetHealth.UNHEALTHY)


def recall(folder: Path, since: Moment) -> Past:
    """Read a history since a moment. Raises `StateError` when there is none, or none that can be read."""
    lines: list[Line] = []
    runs: list[Run] = []
    damage: list[str] = []
    asleep: list[tuple[Moment, Moment]] = []
    last: Moment | None = None
    first: Moment | None = None
    for segment in read(folder, since):
        if segment.damage:
            damage.append(f"{segment.path.name}: {segment.damage}")
        for chapter in segment.chapters:
            if last is not None and any(isinstance(line, Began) for line in chapter.lines):
                asleep.append((last, chapter.at))
            lines += chapter.lines
            runs += chapter.runs
            first = chapter.at if first is None else first
            last = chapter.at
    runs.sort(key=lambda run: run.first)
    lines.sort(key=lambda line: line.at)  # stable: what was told at one moment stays in order
    return Past(
        tuple(lines),
        tuple(runs),
        first or 0.0,
        last or 0.0,
        tuple(gap for gap in asleep if gap[0] < gap[1]),
        tuple(damage),
    )


class Results:
    """Expands runs into results again, evenly, window after window: never a whole history at once."""

    def __init__(self, runs: Sequence[Run], start: Moment) -> None:
        """Begin at a moment."""
        self._runs = runs
        self._longest = max((run.last - run.first for run in runs), default=0.0)
        self._place = bisect_left(runs, start - self._longest, key=lambda run: run.first)
        self._active: list[Run] = []

    def between(self, start: Moment, end: Moment) -> list[tuple[Moment, Run]]:
        """Return when results were sent from `start` on and before `end`, with their runs; windows must follow each other."""
        runs = self._runs
        while self._place < len(runs) and runs[self._place].first < end:
            self._active.append(runs[self._place])
            self._place += 1
        self._active = [run for run in self._active if run.last >= start]
        found: list[tuple[Moment, Run]] = []
        for run in self._active:
            pace = (run.last - run.first) / (run.results - 1) if run.results > 1 else 0.0
            if pace <= 0.0:
                if start <= run.first < end:
                    found.append((run.first, run))
                continue
            number = max(0, int((start - run.first) / pace))
            while number < run.results and (at := run.first + number * pace) < end:
                if at >= start:
                    found.append((at, run))
                number += 1
        found.sort(key=lambda one: one[0])
        return found


def went_on(past: Past, frozen: Mapping[str, Moment], end: Moment) -> list[Run]:
    """Return runs that go on where those of machines end that were taken away then: as they were seen last.

    `frozen` says when. Nobody knows how they would have fared; a machine that was sick is taken to have stayed so.
    """
    lasts: dict[tuple[str, str], Run] = {}
    for run in past.runs:
        if run.instance in frozen and run.first <= end:
            known = lasts.get((run.instance, run.check))
            if known is None or run.last >= known.last:
                lasts[run.instance, run.check] = run
    made: list[Run] = []
    for run in lasts.values():
        pace = max(1.0, (run.last - run.first) / (run.results - 1)) if run.results > 1 else 10.0
        count = int((end - run.last) / pace)
        if count > 0:
            first = run.last + pace
            made.append(run._replace(first=first, last=first + (count - 1) * pace, results=count))
    return made
