"""Stories of machines that come back after they were set aside, or had ended."""

from __future__ import annotations

import asyncio

from supervisor.core.model import Instance, Quarantine
from supervisor.core.requests import Deregister, Isolate, Request
from supervisor.core.signals import Pause, Resume
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import ask, calm, fleet, incidents, instances, settings, stage


def boot(there: Stage) -> None:
    """Let a fleet come up and prove itself."""

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 4, 3600)

    there.live(story)


def acts_on(world: World, name: str) -> list[type[Request]]:
    """Return the kinds of act on a machine, in order."""
    return [type(call.request) for call in world.calls if getattr(call.request, "instance", "") == name]


def told(there: Stage, words: str) -> int:
    """Return how many messages say so."""
    return len([m for m in there.chat.messages if words in m.text])


async def replaced(service: Service, world: World) -> str:
    """Let one machine be healed; return it, isolated and kept."""
    name = instances(service)[0].id
    world.behave(name, Behaviour.ERRORS)
    await until(lambda: bool(incidents(service)), 300)
    await calm(service, world)
    await asyncio.sleep(300)
    assert world.machines[name].isolated
    return name


def comes_back(world: World, name: str) -> None:
    """Let a machine serve again beside its replacement, as one that never heard of its isolation."""
    world.behave(name, Behaviour.WELL)
    world.calls.clear()
    world.machines[name].isolated = False
    world.machines[name].registered_at = world.clock.boot


def test_one_that_serves_again_although_set_aside_is_kept_out_once_more_and_told_once() -> None:
    """Its place is taken: two would serve where one was wanted, and nobody knows what this one does."""
    there = stage(settings(fleet(4)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = await replaced(service, world)
        comes_back(world, name)
        await asyncio.sleep(200)
        assert [Deregister, Isolate] == acts_on(world, name)
        assert 1 == told(there, "serves again: it is taken out")
        assert Lifecycle.QUARANTINED is service.engine.ctx.world.need(Instance, name).lifecycle

    there.live(story)


def test_while_somebody_pauses_one_that_came_back_stays_and_that_is_told() -> None:
    """A pause outranks everything."""
    there = stage(settings(fleet(4)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = await replaced(service, world)
        await ask(service, Pause("drill"))
        comes_back(world, name)
        await asyncio.sleep(200)
        assert [] == acts_on(world, name)
        assert 1 == told(there, "it stays, for now: pause")
        await ask(service, Resume("drill"))
        await asyncio.sleep(200)
        assert [Deregister, Isolate] == acts_on(world, name)

    there.live(story)


def test_one_that_had_ended_and_serves_again_is_kept_aside_and_ends_again() -> None:
    """Launched by us, and known to the journal: ours to end; with the notice that every end has."""
    there = stage(settings(fleet(4)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = instances(service)[0].id
        world.machines[name].terminated = True
        await asyncio.sleep(600)
        await calm(service, world)
        world.machines[name].terminated = False
        comes_back(world, name)
        await asyncio.sleep(200)
        assert [Deregister, Isolate] == acts_on(world, name)
        kept = service.engine.ctx.world.need(Quarantine, name)
        assert kept.ended_at is None
        assert (kept.expires_at - kept.isolated_at).total_seconds() == 600
        await asyncio.sleep(2 * 3600)
        assert world.machines[name].terminated

    there.live(story)
