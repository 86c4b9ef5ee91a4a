"""The check host of the simulator keeps the promises of the real one, on virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from supervisor.core.settings import CheckPolicy
from supervisor.core.signals import AskNow, Forget, Observe, Result, Stretch
from supervisor.core.terms import Role
from supervisor.sim.failpoints import Life
from supervisor.sim.host import SimHost
from supervisor.sim.time import VirtualClock
from supervisor.sim.world import World

CHECK = CheckPolicy("alive", "http", Role.LIVENESS, 100.0, 30.0)


def heard(*told: tuple[float, AskNow | Stretch | Forget]) -> list[Result]:
    """Return what is heard in 90 seconds of two machines that are not there, of which each is due at 50 seconds."""
    world = World(VirtualClock())
    host = SimHost(world, {"web": [CHECK]}, Life())
    found: list[Result] = []

    async def collect() -> None:
        async for batch in host.results():
            found.extend(batch)

    async def story() -> None:
        host.apply([Observe(name, "web", "10.0.0.1", "a", "img", "1.0.0", False) for name in ("i-1", "i-2")])
        task = asyncio.create_task(collect())
        for at, command in told:
            await asyncio.sleep(at - world.clock.boot + begun)
            host.apply([command])
        await asyncio.sleep(90.0 - world.clock.boot + begun)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    begun = world.clock.boot
    world.clock.run(story())
    return [result._replace(sent=result.sent - begun, done=result.done - begun) for result in found]


def test_who_is_asked_now_answers_now_and_the_schedule_goes_on() -> None:
    """Asked twice at once it answers once; whom nobody watches does not answer."""
    found = heard((10.0, AskNow(("i-1", "i-1", "i-none"))), (20.0, Forget("i-2")), (30.0, AskNow(("i-2",))))

    assert [("i-1", 10.0), ("i-1", 50.0)] == [(r.instance, r.sent) for r in found]


def test_a_slow_supervisor_gives_more_time_but_never_more_than_the_interval() -> None:
    """Three times the limit; ten times would be longer than until the same question is asked again."""
    found = heard((10.0, Stretch(3.0)), (20.0, AskNow(("i-1",))), (30.0, Stretch(10.0)), (40.0, AskNow(("i-1",))))

    assert [90.0, 100.0, 100.0, 100.0] == [round(r.done - r.sent, 3) for r in found]
