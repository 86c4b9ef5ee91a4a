"""Stories of a cloud that does not say which machines there are: told when it matters, once, and nobody is touched."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.runtime.service import Service
from supervisor.sim.run import Stage
from supervisor.sim.world import World
from tests.stages import calm, fleet, launches, removals, settings, stage

EVERY = 10.0  # seconds between two questions


def told(there: Stage) -> list[str]:
    """Return what people heard of it."""
    return [m.text for m in there.chat.messages if m.kind in ("inventory.lost", "inventory.back")]


@pytest.mark.parametrize("lie", ["cloud_down", "empty_list"])
def test_one_answer_that_is_missing_wakes_nobody(lie: str) -> None:
    """Every fifth answer is no use, for ten minutes."""
    there = stage(settings(fleet(3, inventory_interval=EVERY)))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        for _ in range(12):
            setattr(world, lie, True)
            await asyncio.sleep(EVERY)
            setattr(world, lie, False)
            await asyncio.sleep(4 * EVERY)

    there.live(story)
    assert [] == told(there)
    assert (3, 0) == (len(launches(there.world)), len(removals(there.world)))


def test_a_cloud_that_answers_now_and_then_is_told_once() -> None:
    """Silent for a quarter of an hour, but for an answer every two minutes; it is over when it answers steadily."""
    there = stage(settings(fleet(3, inventory_interval=EVERY)))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        for _ in range(7):
            world.cloud_down = True
            await asyncio.sleep(11 * EVERY)
            world.cloud_down = False
            await asyncio.sleep(EVERY)
        assert ["web: the cloud's answer can't be used: the cloud API answers 503"] == told(there)
        await asyncio.sleep(4 * EVERY)

    there.live(story)
    assert ["web: the cloud answers again"] == told(there)[1:]
