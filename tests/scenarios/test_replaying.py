"""The past, judged again: the same settings decide the same, other ones decide otherwise, and it is told which."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.core.signals import Pause, Resume
from supervisor.core.terms import Mode
from supervisor.errors import StateError
from supervisor.runtime.service import Service
from supervisor.sim.past import Past, recall
from supervisor.sim.replay import Report, replay
from supervisor.sim.world import Behaviour, World
from supervisor.store import HistoryFiles
from tests import stages

GIVEN = stages.settings(stages.fleet(6))
QUIET = 2000.0  # more than lies between two signs of one trouble


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> tuple[Past, list[str]]:
    """One machine errs and is replaced; one errs for 24 s; one is stopped, and the daemon is killed and started again."""
    folder: Path = tmp_path_factory.mktemp("past") / "history"
    there = stages.stage(GIVEN)
    there.world.checks_spread = True
    names: list[str] = []

    async def first(service: Service, world: World) -> None:
        await stages.calm(service, world)
        await asyncio.sleep(QUIET)
        names.extend(sorted(world.machines)[:3])
        world.behave(names[0], Behaviour.ERRORS)
        await asyncio.sleep(QUIET)
        world.behave(names[1], Behaviour.ERRORS)
        await asyncio.sleep(24)
        world.behave(names[1], Behaviour.WELL)
        await asyncio.sleep(QUIET)

    async def second(service: Service, world: World) -> None:
        await asyncio.sleep(QUIET)
        await stages.ask(service, Pause("ada"))
        world.crash(names[2])
        await asyncio.sleep(120)
        await stages.ask(service, Resume("ada"))
        await asyncio.sleep(1200)

    for script in (first, second):
        there.pen = HistoryFiles(folder, 8 * 86400.0, 256_000_000)
        there.live(script)
        there.world.clock.suspend(60.0)
    return recall(folder, 0.0), names


def played(past: Past, **changes: float) -> Report:
    """Play it with other numbers of judgement."""
    settings = replace(GIVEN, judgement=replace(GIVEN.judgement, **changes))  # type: ignore[arg-type]  # numbers only
    return replay(past, settings, past.start)


def about(report: Report, machine: str) -> list[str]:
    """Return what is said of one machine."""
    return [one.words for one in report.compared if one.subject == machine]


def test_the_same_settings_decide_the_same(past: tuple[Past, list[str]]) -> None:
    """The first launches, the one that erred, the one that was stopped while somebody paused: all as they were."""
    report = played(past[0])
    assert {"same"} == {one.words for one in report.compared}
    assert {"", past[1][0], past[1][2]} == {one.subject for one in report.compared}
    assert report.removals(then=True) == report.removals(then=False) == 3
    assert 60.0 <= report.asleep <= 95.0
    assert () == report.notes


def test_less_patience_would_have_been_sorry(past: tuple[Past, list[str]]) -> None:
    """It would have taken away a machine that got well by itself; that is counted."""
    report = played(past[0], sick_after=5.0, false_alarms_per_month=1e6)
    (words,) = about(report, past[1][1])
    assert words.startswith("would have acted, and then it recovered by itself after ")
    assert ["earlier by 25s"] == about(report, past[1][0])
    assert [one.subject for one in report.compared if one.regretted] == [past[1][1]]


def test_in_observe_nothing_would_have_been_done(past: tuple[Past, list[str]]) -> None:
    """The guard is named."""
    report = replay(past[0], replace(GIVEN, mode=Mode.OBSERVE), past[0].end - 1500.0)
    assert ["would not have acted: held by mode"] == about(report, past[1][2])
    assert 0 == report.removals(then=False)


def test_more_patience_is_later(past: tuple[Past, list[str]]) -> None:
    """By as much as is waited longer: a machine that was taken away then is taken to have stayed sick."""
    assert ["later by 270s"] == about(played(past[0], sick_after=300.0), past[1][0])


def test_only_what_is_asked_for_is_played(past: tuple[Past, list[str]]) -> None:
    """Since a moment."""
    report = replay(past[0], GIVEN, past[0].end - 1500.0)
    assert [past[1][2]] == [one.subject for one in report.compared]


def test_what_can_t_be_compared_is_told(past: tuple[Past, list[str]]) -> None:
    """A check of which nothing is kept, another interval, another size."""
    policy = GIVEN.fleets["web"]
    checks = (replace(stages.ALIVE, interval=5.0), replace(stages.ALIVE, name="deep"))
    other = replace(GIVEN, fleets={"web": replace(policy, desired=20, checks=checks)})
    report = replay(past[0], other, past[0].end - 1500.0)
    assert report.notes == (
        "fleet web: no results are kept of deep: left out",
        "fleet web: alive is judged at the interval of then",
        "fleet web: its size is taken as it was, 6",
    )
    assert {"same"} == {one.words for one in report.compared}


def test_no_history_is_an_error(tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(StateError, match="no history is kept here"):
        recall(tmp_path, 0.0)
