"""The recorder: results become runs, everything else edges, and whatever happens to the disk, healing goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from supervisor.core.history import (
    HEARTBEAT,
    Asked,
    Began,
    Chapter,
    CloudBack,
    CloudLost,
    Felt,
    Loaded,
    MachinesChanged,
    RecordKept,
    Run,
    Sensed,
)
from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Identity, Incident, IncidentKind, IncidentState, Instance, Note
from supervisor.core.signals import (
    Beat,
    HeartbeatsReported,
    InventoryFailed,
    InventorySeen,
    Pause,
    Result,
    ResultsReported,
    SelfReported,
    SentinelReported,
    Signal,
    Turn,
)
from supervisor.core.terms import Lifecycle, Now, Status
from supervisor.core.world import World
from supervisor.runtime.recorder import PART, PIECE, SEGMENT, Recorder
from supervisor.runtime.service import Service
from supervisor.sim.world import Behaviour
from supervisor.sim.world import World as SimWorld
from tests import stages

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = T0.timestamp()
MACHINE = Machine("i-1", "web", MachineState.RUNNING, "a", "img", "1.0.0", "10.0.0.1", True)


class Paper:
    """A pen that remembers; `full` is a disk that refuses."""

    def __init__(self) -> None:
        self.chapters: list[Chapter] = []
        self.full = False
        self.room = True

    def write(self, chapter: Chapter) -> bool:
        if self.full:
            raise OSError(28, "No space left on device")
        self.chapters.append(chapter)
        return self.room

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def runs(self) -> list[Run]:
        return [run for chapter in self.chapters for run in chapter.runs]

    def lines(self, *kinds: type) -> list[object]:
        return [line for chapter in self.chapters for line in chapter.lines if isinstance(line, kinds)]


class Desk:
    """A recorder with its paper, and time that a test lets pass."""

    def __init__(self) -> None:
        self.paper = Paper()
        self.at = 0.0
        world, settings = World([Identity("u", 0, T0)]), stages.settings()
        self.recorder = Recorder(lambda: world, lambda: settings, self.paper, self.now)

    @property
    def now(self) -> Now:
        return Now(self.at, T0 + timedelta(seconds=self.at))

    def tap(self, *signals: Signal, turn: Turn | None = None) -> None:
        self.recorder.tap(signals, turn or Turn(), self.now)

    def results(self, *moments: float, status: Status = Status.OK, silent: bool = False, check: str = "alive") -> None:
        for at in moments:
            self.at = at
            self.tap(ResultsReported([Result("i-1", check, status, silent, at, at + 0.5, f"said at {at:g}")]))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def shape(runs: list[Run]) -> list[tuple[str, float, float, int]]:
    """Return what matters of runs: status, first, last, how many."""
    return [(str(r.status), round(r.first - ZERO, 3), round(r.last - ZERO, 3), r.results) for r in runs]


@pytest.mark.parametrize(
    ("moments", "runs"),
    [
        pytest.param([0, 10, 20, 30], [(0, 30, 4)], id="an even pace is one run"),
        pytest.param([0, 10.3, 19.9, 30.2], [(0, 30.2, 4)], id="a little unrest is one run"),
        pytest.param([0, 10, 20, 22, 24], [(0, 20, 3), (22, 24, 2)], id="a faster pace begins another"),
        pytest.param([0, 2, 4, 14, 24], [(0, 4, 3), (14, 24, 2)], id="a slower pace begins another"),
        pytest.param([0, 10, 20, 120, 130], [(0, 20, 3), (120, 130, 2)], id="silence of ours begins another"),
        pytest.param([0], [(0, 0, 1)], id="one result is a run"),
    ],
)
def test_results_that_are_alike_and_evenly_paced_are_one_run(
    moments: list[float], runs: list[tuple[float, float, int]], desk: Desk
) -> None:
    """So that the results can be made again, each where it was."""
    desk.results(*moments)
    desk.recorder.close()
    assert [("ok", *run) for run in runs] == shape(desk.paper.runs)


def test_another_answer_begins_another_run(desk: Desk) -> None:
    """The status counts, and whether it was silence; the text is that of the first."""
    desk.results(0, 10)
    desk.results(20, 30, status=Status.CRITICAL)
    desk.results(40, status=Status.CRITICAL, silent=True)
    desk.recorder.close()
    assert [("ok", 0, 10, 2), ("critical", 20, 30, 2), ("critical", 40, 40, 1)] == shape(desk.paper.runs)
    assert [(False, "said at 0"), (False, "said at 20"), (True, "said at 40")] == [
        (r.silent, r.text) for r in desk.paper.runs
    ]


def test_latency_is_kept_as_mean_and_worst(desk: Desk) -> None:
    """In seconds."""
    for at, latency in ((0.0, 0.1), (10.0, 0.2), (20.0, 0.6)):
        desk.tap(ResultsReported([Result("i-1", "alive", Status.OK, False, at, at + latency)]))
    desk.recorder.close()
    (run,) = desk.paper.runs
    assert [0.3, 0.6] == [round(run.mean, 6), round(run.slowest, 6)]


async def test_a_long_run_is_written_in_parts_and_none_of_its_results_is_lost(desk: Desk) -> None:
    """What a crash may cost is one part, not a day."""
    for beat in range(200):
        desk.results(beat * 10.0)
        if beat % 3 == 0:
            await desk.recorder.write(lambda *_: None)
    assert len(desk.paper.runs) == 1990 // int(PART)
    desk.recorder.close()
    assert sum(run.results for run in desk.paper.runs) == 200
    assert [run.first for run in desk.paper.runs] == sorted(run.first for run in desk.paper.runs)


def test_signs_of_life_are_runs_as_well(desk: Desk) -> None:
    """A stale heartbeat is the space between two of them."""
    for at in (0.0, 10.0, 20.0, 90.0):
        desk.tap(HeartbeatsReported([Beat("i-1", at)]))
    desk.recorder.close()
    assert [(HEARTBEAT, 3), (HEARTBEAT, 1)] == [(run.check, run.results) for run in desk.paper.runs]


def test_only_what_changes_is_kept_of_everything_else(desk: Desk) -> None:
    """A list that is as before, a sentinel that says the same, a supervisor that is well: nothing."""
    for at in range(5):
        desk.at = float(at)
        desk.tap(
            InventorySeen.of("web", (MACHINE,), desk.at), SentinelReported("prober", True), SelfReported(0.01, 0.0)
        )
    desk.tap(InventoryFailed("web", "503"))
    desk.tap(InventoryFailed("web", "503"))
    desk.tap(SentinelReported("prober", False, "gone"), SelfReported(0.5, 0.0))
    desk.tap(InventorySeen.of("web", (), desk.at), SelfReported(0.01, 0.0))
    desk.tap(InventorySeen.of("web", (), desk.at))
    desk.recorder.close()
    kinds = [type(line) for chapter in desk.paper.chapters for line in chapter.lines]
    assert [2, 2, 2] == [kinds.count(kind) for kind in (Felt, CloudLost, MachinesChanged)], "the last two open it, too"
    assert [True, False] == [line.said.ok for line in desk.paper.lines(Sensed) if isinstance(line, Sensed)][-2:]


async def test_a_cloud_that_fails_is_one_edge_each_way(desk: Desk) -> None:
    """An empty list is a failure too: it is unknown, not gone."""
    await desk.recorder.write(lambda *_: None)
    desk.tap(InventorySeen.of("web", (MACHINE,), 0.0))
    desk.tap(InventoryFailed("web", "503"), InventoryFailed("web", "503"))
    desk.tap(InventorySeen.of("web", (MACHINE,), 0.0))
    desk.tap(InventorySeen.of("web", (), 0.0))
    desk.tap(InventorySeen.of("web", (), 0.0))
    desk.recorder.close()
    kinds = [type(line) for line in desk.paper.lines(MachinesChanged, CloudLost, CloudBack)]
    assert [MachinesChanged, CloudLost, CloudBack, CloudLost] == kinds


async def test_an_incident_is_kept_again_only_when_more_than_its_story_changed(desk: Desk) -> None:
    """Notes are for people, and long."""
    await desk.recorder.write(lambda *_: None)
    opened = Incident(1, "web", "i-1", IncidentKind.SICK, IncidentState.OPEN, "it errs", T0, T0, notes=(Note(T0, "a"),))
    for incident in (opened, replace(opened, notes=(Note(T0, "b"),)), replace(opened, held=("pause",), notes=())):
        desk.tap(turn=Turn(changes=[incident]))
    desk.recorder.close()
    kept = [line.record for line in desk.paper.lines(RecordKept) if isinstance(line, RecordKept)]
    assert [replace(opened, notes=()), replace(opened, notes=(), held=("pause",))] == kept


async def test_each_segment_can_be_read_by_itself(desk: Desk) -> None:
    """It opens with the settings, the journal's records, the machines and the sentinels; a start says that it is one."""
    desk.tap(InventorySeen.of("web", (MACHINE,), 0.0), SentinelReported("prober", True))
    await desk.recorder.write(lambda *_: None)
    desk.at = SEGMENT + 1
    desk.tap(SentinelReported("db", True))
    await desk.recorder.write(lambda *_: None)
    first, last, second = desk.paper.chapters
    assert [True, False, True] == [first.opening, last.opening, second.opening]
    assert [Began, Loaded, Sensed, MachinesChanged] == [type(x) for x in first.lines[:4]]
    assert [Sensed] == [type(x) for x in last.lines]
    assert [Loaded, Sensed, Sensed, MachinesChanged] == [type(x) for x in second.lines]
    desk.recorder.close()


async def test_what_tells_of_a_large_fleet_is_written_in_pieces(desk: Desk) -> None:
    """Everything once, in order, and only the first of them opens the segment."""
    names = [f"i-{number:05}" for number in range(2 * PIECE + 5)]
    desk.tap(InventorySeen.of("web", (replace(MACHINE, id=name) for name in names), 0.0))
    desk.tap(ResultsReported([Result(name, "alive", Status.OK, False, 1.0, 1.1) for name in names]))
    desk.recorder.close()

    told = [line for line in desk.paper.lines(MachinesChanged) if isinstance(line, MachinesChanged)]
    assert 2 * names == [machine.id for line in told for machine in line.machines], "as known, and as news"
    assert sorted(names) == sorted(run.instance for run in desk.paper.runs)
    assert [True] + [False] * (len(desk.paper.chapters) - 1) == [chapter.opening for chapter in desk.paper.chapters]
    for chapter in desk.paper.chapters:
        machines = [m for line in chapter.lines if isinstance(line, MachinesChanged) for m in line.machines]
        assert PIECE >= max(len(chapter.runs), len(chapter.lines), len(machines) // 2)


async def test_a_disk_that_refuses_is_told_once_and_tried_again(desk: Desk) -> None:
    """Once when it breaks, once when it heals; the next segment is whole."""
    told: list[str] = []
    desk.tap(InventorySeen.of("web", (MACHINE,), 0.0))
    await desk.recorder.write(lambda kind, _: told.append(kind))
    desk.paper.full = True
    for at in (30.0, 60.0, 90.0):
        desk.results(at)
        desk.tap(SentinelReported("prober", at == 60.0))
        await desk.recorder.write(lambda kind, _: told.append(kind))
    assert "No space left on device" == desk.recorder.trouble
    desk.paper.full = False
    await desk.recorder.write(lambda kind, _: told.append(kind))
    assert ["history.stopped", "history.back"] == told
    assert desk.paper.chapters[-1].opening
    assert desk.paper.lines(MachinesChanged)[-1] == MachinesChanged(ZERO + 90.0, "web", (MACHINE,))
    desk.recorder.close()


def test_a_fault_of_its_own_never_reaches_the_loop(desk: Desk) -> None:
    """Healing goes on without a history."""
    desk.tap(ResultsReported(["not a result"]))  # type: ignore[list-item]  # the fault
    desk.results(0, 10)
    desk.recorder.close()
    assert [] == desk.paper.chapters


def test_the_service_records_what_it_did(desk: Desk) -> None:
    """A machine that fails is replaced: its failing run, the incident, the removal and the machines are all there."""
    there = stages.stage()
    there.pen = paper = Paper()

    async def script(service: Service, world: SimWorld) -> None:
        await stages.calm(service, world)
        name = min(world.machines)
        world.behave(name, Behaviour.ERRORS)
        await asyncio.sleep(300)
        await stages.ask(service, Pause("ada", seconds=60.0))
        world.crash(max(world.machines))
        await asyncio.sleep(60)

    there.live(script)
    sick = [run for run in paper.runs if run.status is Status.CRITICAL and not run.silent]
    assert sick
    assert sum(run.results for run in sick) >= 5
    kept = [line.record for line in paper.lines(RecordKept) if isinstance(line, RecordKept)]
    incidents = [record for record in kept if isinstance(record, Incident) and record.instance]
    assert all(not incident.notes for incident in incidents)
    assert IncidentState.CLOSED in {incident.state for incident in incidents}
    assert Lifecycle.QUARANTINED in {record.lifecycle for record in kept if isinstance(record, Instance)}
    assert [("Pause", "ada")] == [(x.verb, x.actor) for x in paper.lines(Asked) if isinstance(x, Asked)]
