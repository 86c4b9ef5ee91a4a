"""Stories of what machines leave behind: swept when plainly nobody's, at two looks an hour apart, and told once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from supervisor.core.machine import Leftover, LeftoverKind
from supervisor.core.requests import Outcome, Refused, Request, Sweep
from supervisor.core.settings import Retention, Settings
from supervisor.core.signals import Pause, Resume
from supervisor.core.terms import Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import ALIVE, ask, calm, fleet, instances, settings, stage

SELDOM = fleet(1, checks=(replace(ALIVE, interval=60.0),), inventory_interval=60.0)
"""One machine that is seldom looked at: these stories take hours."""


def quiet(**changes: Any) -> Settings:
    """Return the settings of that machine."""
    return settings(SELDOM, **changes)


def left(world: World, id: str, instance: str = "", kind: LeftoverKind = LeftoverKind.VOLUME, held: str = "") -> None:
    """Let something be left behind now."""
    world.leave(Leftover(id, "web", kind, instance, world.clock.now().wall, held))


def swept(world: World) -> list[Sweep]:
    """Return the sweeps that destroyed something."""
    return [c.request for c in world.calls if isinstance(c.request, Sweep) and c.effect]


def told(there: Stage, kind: str) -> list[str]:
    """Return what was told of one kind."""
    return [m.text for m in there.chat.messages if m.kind == kind]


def holds(there: Stage) -> None:
    """Demand every safety invariant."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings), ended=False)


def test_what_nobody_owns_is_swept_when_two_looks_agree_and_told_once() -> None:
    """Too young at the first look, plainly nobody's at the second, swept an hour later, at the third."""
    there = stage(quiet())

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        for number in range(3):
            left(world, f"vol-{number}", f"i-{number}")
        left(world, "eni-1", kind=LeftoverKind.INTERFACE)
        born = world.clock.boot
        await until(lambda: bool(swept(world)), 4 * 3600, step=5)
        assert 2 * 3600 < world.clock.boot - born <= 3 * 3600
        await asyncio.sleep(5)
        assert ["eni-1", "vol-0", "vol-1", "vol-2"] == sorted(one.instance for one in swept(world))
        assert {"interface", "volume"} == {one.kind for one in swept(world)}

    there.live(story)
    sentence = "1 interface and 3 volumes of web, left behind by i-0, i-1, i-2, are deleted"
    assert [sentence] == told(there, "leftovers.swept")
    holds(there)


def owned(service: Service, world: World) -> None:
    """A machine that serves has it."""
    left(world, "vol-1", instances(service)[0].id)


def held(service: Service, world: World) -> None:
    """Somebody has written a hold on it."""
    left(world, "vol-1", held="ticket 7")


def young_snapshot(service: Service, world: World) -> None:
    """Evidence is kept for a month."""
    left(world, "snap-1", "i-0", LeftoverKind.SNAPSHOT)


def unknown(service: Service, world: World) -> None:
    """The cloud does not answer."""
    left(world, "vol-1")
    world.cloud_down = True


KEPT = {
    "what a machine of ours owns": owned,
    "what somebody holds": held,
    "a snapshot, for a month": young_snapshot,
    "what can't be seen": unknown,
}


@pytest.mark.parametrize("name", KEPT)
def test_it_is_left_alone(name: str) -> None:
    """At three looks."""
    there = stage(quiet())

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        KEPT[name](service, world)
        await asyncio.sleep(3 * 3600)

    there.live(story)
    assert [] == swept(there.world)
    assert [] == told(there, "leftovers.swept")


def test_a_snapshot_is_swept_when_its_month_is_over() -> None:
    """It was made long ago, by a machine that the journal has forgotten."""
    there = stage(quiet())

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        made = world.clock.now().wall - timedelta(days=30)
        world.leave(Leftover("snap-1", "web", LeftoverKind.SNAPSHOT, "i-0", made))
        await until(lambda: bool(swept(world)), 3 * 3600, step=60)

    there.live(story)
    assert ["1 snapshot of web, left behind by i-0, is deleted"] == told(there, "leftovers.swept")


def test_what_a_quarantined_machine_left_waits_for_its_end() -> None:
    """It is evidence as long as the machine is."""
    there = stage(settings(replace(SELDOM, desired=2), retention=Retention(1e6, 7200.0, 600.0)))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 2, 3600)
        patient = instances(service)[0].id
        world.behave(patient, Behaviour.ERRORS)
        left(world, "vol-1", patient)
        await until(lambda: world.machines[patient].isolated, 600)
        await asyncio.sleep(7200)
        assert [] == swept(world)
        await until(lambda: world.machines[patient].terminated, 3600, step=5)
        ended = world.clock.boot
        await until(lambda: bool(swept(world)), 4 * 3600, step=5)
        assert world.clock.boot - ended > 3600

    there.live(story)
    holds(there)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.APPROVE])
def test_a_mode_that_does_not_act_only_says_it(mode: Mode) -> None:
    """Once, however often it is seen."""
    there = stage(quiet())
    there.live(calm)
    there.settings = quiet(mode=mode)

    async def story(service: Service, world: World) -> None:
        left(world, "vol-1", "i-0")
        await asyncio.sleep(3.2 * 3600)

    there.live(story)
    assert [] == swept(there.world)
    [text] = told(there, "leftovers.found")
    assert text.startswith("1 volume of web, left behind by i-0, would be deleted, but holds: mode: ")


def test_a_pause_holds_it_and_it_is_swept_later() -> None:
    """Paused means that nothing is changed."""
    there = stage(quiet())

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        left(world, "vol-1", "i-0")
        await ask(service, Pause("ada"))
        await asyncio.sleep(3 * 3600)
        assert [] == swept(world)
        await ask(service, Resume("ada"))
        await until(lambda: bool(swept(world)), 3700, step=5)

    there.live(story)
    holds(there)


def test_a_refusal_is_told_once_and_tried_again() -> None:
    """It is in use after all: nothing is lost."""
    there = stage(quiet())
    tries: list[Request] = []

    def refuse(request: Request) -> Outcome | None:
        if isinstance(request, Sweep):
            tries.append(request)
            return Refused("vol-1 is in use")
        return None

    there.make_cloud = lambda world, name, life: FakeCloud(world, name, life, refuse=refuse)

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        left(world, "vol-1", "i-0")
        await asyncio.sleep(5 * 3600)

    there.live(story)
    assert len(tries) >= 2
    assert ["deleting vol-1, left behind in web, was refused: vol-1 is in use"] == told(there, "leftovers.failed")
