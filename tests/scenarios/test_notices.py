"""Stories of what a cloud says by its own motion: it is told, it supports our own checks, and alone it does nothing."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.core import reasons, views
from supervisor.core.model import Incident, Instance
from supervisor.core.signals import Hold
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import ask, calm, fleet, incidents, instances, launches, open_incidents, removals, settings, stage


async def proved(service: Service, world: World) -> str:
    """Wait until every machine has left probation; return the first one's id."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == len(world.live("web")), 3600)
    return instances(service)[0].id


def told(there: Stage, kind: str) -> list[str]:
    """Return what was told of one kind."""
    return [m.text for m in there.chat.messages if m.kind == kind]


def holds(there: Stage) -> None:
    """Demand every safety invariant."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings), ended=False)


def test_a_failing_status_check_alone_condemns_nobody() -> None:
    """It is told once, shown while it lasts, and told again when it is over."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        name = await proved(service, world)
        world.machines[name].impaired = "instance reachability failed"
        await asyncio.sleep(1800)
        view = reasons.explain(service.engine.ctx, service.engine.ctx.world.need(Instance, name))["instance"]
        reason = "all checks pass, and the cloud's status check fails: instance reachability failed"
        assert ("healthy", reason) == (view["health"], view["reason"])
        assert "instance reachability failed" == view["impaired"]
        world.machines[name].impaired = ""
        await asyncio.sleep(60)

    there.live(story)
    assert [] == removals(there.world)
    [begun], [ended] = told(there, "instance.impaired"), told(there, "instance.unimpaired")
    assert "the cloud's status check fails: instance reachability failed; it is left alone while" in begun
    assert ended.endswith("the cloud's status check passes again")


@pytest.mark.parametrize(("impaired", "after"), [("instance reachability failed", 40), ("", 190)])
def test_silence_condemns_sooner_when_the_cloud_finds_it_impaired_too(impaired: str, after: int) -> None:
    """Thirty seconds with a second class of evidence, three minutes without. Its load balancer says nothing."""
    there = stage(settings(fleet(4)))

    async def story(service: Service, world: World) -> None:
        name = await proved(service, world)
        world.balancer_delay = 1e9
        world.machines[name].impaired = impaired
        await asyncio.sleep(15)
        world.behave(name, Behaviour.HANG)
        began = world.clock.boot
        await until(lambda: any(i.instance == name for i in incidents(service)), 600)
        assert after - 15 <= world.clock.boot - began <= after + 15

    there.live(story)


def test_an_announcement_is_told_once_and_shown() -> None:
    """However often the cloud repeats it."""
    there = stage(settings(fleet(3)))
    notice = "instance-retirement on 2026-02-01"

    async def story(service: Service, world: World) -> None:
        name = await proved(service, world)
        world.machines[name].notices = (notice,)
        await asyncio.sleep(600)
        view = reasons.explain(service.engine.ctx, service.engine.ctx.world.need(Instance, name))["instance"]
        assert [notice] == view["notices"]
        world.behave(name, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 120)
        facts = views.incident_view(service.engine.ctx, incidents(service)[0])["card"]["facts"]
        assert {"label": "The cloud says", "value": notice} in facts

    there.live(story)
    assert 1 == len(told(there, "instance.notice"))
    assert told(there, "instance.notice")[0].endswith(f"the cloud announces: {notice}")


def test_what_is_written_on_the_machine_holds_as_an_operator_does() -> None:
    """Nothing is taken from it, until the word is gone."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        name = await proved(service, world)
        world.machines[name].held = "ticket 7"
        await asyncio.sleep(15)
        world.behave(name, Behaviour.ERRORS)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(900)
        assert [] == removals(world)
        [incident] = open_incidents(service)
        sentence = "hold: held on the machine itself: ticket 7 (needs no hold on the instance)"
        assert sentence in service.engine.ctx.world.need(Incident, incident.id).held_why
        world.machines[name].held = ""
        await until(lambda: world.machines[name].isolated, 600)
        assert (await ask(service, Hold(name))).ok

    there.live(story)
    holds(there)


@pytest.mark.parametrize("taken", [1, 3])
def test_a_machine_that_the_cloud_takes_back_was_not_sick(taken: int) -> None:
    """No incident about it, however many: told, and its place is filled."""
    there = stage(settings(fleet(4)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victims = [i.id for i in instances(service)[:taken]]
        for name in victims:
            world.reclaim(name)
        await until(lambda: len(launches(world)) == 4 + taken, 120)
        await calm(service, world)
        assert [] == incidents(service)
        assert 4 == world.serving("web")

    there.live(story)
    assert taken == len(told(there, "instance.reclaimed"))
    assert "was taken back by the cloud (Server.SpotInstanceTermination)" in told(there, "instance.reclaimed")[0]
    holds(there)


def test_for_one_that_the_cloud_will_take_back_another_is_launched_before_it_goes() -> None:
    """Its slot is filled while it still serves, once, and nobody is got up for it."""
    there = stage(settings(fleet(4)))

    async def story(service: Service, world: World) -> None:
        name = await proved(service, world)
        world.machines[name].notices = ("spot-interruption: terminate in 2 minutes",)
        await until(lambda: len(launches(world)) == 5, 60)
        assert world.machines[name].is_running(world.clock.boot)
        await asyncio.sleep(120)
        world.reclaim(name)
        await calm(service, world)
        await asyncio.sleep(600)
        assert 5 == len(launches(world))
        assert 4 == world.serving("web")

    there.live(story)
    assert [] == removals(there.world)
    [said] = told(there, "instance.notice")
    assert "another one is launched now" in said
    assert 1 == len(told(there, "incident.joined"))
    holds(there)
