"""Stories of storms: nobody is removed, machines are added, and what they prove opens the way back."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from supervisor.core.bucket import Bucket
from supervisor.core.model import Incident, IncidentKind, IncidentState, Permit
from supervisor.core.requests import DESTRUCTIVE
from supervisor.core.settings import Guards
from supervisor.core.signals import Allow
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import TWO_CHECKS, ask, calm, fleet, instances, launches, removals, settings, stage


async def proved(service: Service, world: World) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == len(world.live("web")), 3600)


def shared(service: Service) -> list[Incident]:
    """Return the incidents of shared causes, oldest first."""
    return [i for i in service.engine.ctx.world.all(Incident) if i.kind is IncidentKind.SHARED]


def removed(world: World) -> set[str]:
    """Return from whom anything was taken."""
    return {r.instance for r in removals(world) if isinstance(r, DESTRUCTIVE)}


def _is_removed(world: World, name: str) -> bool:
    return name in removed(world)


def told(there: Stage, kind: str) -> list[str]:
    """Return what was told of one kind."""
    return [m.text for m in there.chat.messages if m.kind == kind]


def safe(there: Stage) -> None:
    """Demand every safety invariant."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings), ended=False)


QUICK = Guards(breaker_window=300.0, breaker_quiet=60.0, half_open=120.0, cooldown=0.0, hourly_least=3)


def test_a_storm_adds_machines_and_then_heals_one_at_a_time() -> None:
    """Half of six err. Two more are launched; once they have served well, the sick are replaced one after another."""
    there = stage(settings(guards=QUICK))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        fleet = service.engine.ctx.fleets["web"]
        for victim in [i.id for i in instances(service)[:3]]:
            world.behave(victim, Behaviour.ERRORS)
        await until(lambda: fleet.storm, 300)
        await until(lambda: len(launches(world)) == 8, 120)
        assert [] == removals(world)
        await until(lambda: 5 == fleet.serving, 300)
        assert [] == removals(world)  # they have yet to prove themselves
        [trouble] = shared(service)
        assert any("launched besides, nobody is removed" in note.text for note in trouble.notes)
        await until(lambda: bool(removals(world)), 600)
        assert len(removed(world)) == 1
        await calm(service, world, 4 * 3600)
        assert IncidentState.CLOSED is shared(service)[0].state
        assert 6 == fleet.serving == len(world.live("web"))

    there.live(story)
    assert [] == told(there, "storm.begun") + told(there, "storm.ended")  # the shared trouble's story tells both
    assert len([text for text in told(there, "incident.note") if "machines are sick (breaker: at most" in text]) == 1
    assert len([text for text in told(there, "incident.note") if "the storm is over" in text]) == 1
    assert len(launches(there.world)) == 6 + 3  # those launched besides took the places of two, and none was left over
    assert [] == told(there, "storm.surplus")
    safe(there)


def test_what_was_added_is_let_go_when_the_sick_recover() -> None:
    """Half of six err for a while. Nobody is removed but, in the end, the two that no slot needs."""
    there = stage(settings(guards=Guards(breaker_window=300.0, breaker_quiet=60.0, half_open=120.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        fleet = service.engine.ctx.fleets["web"]
        victims = [i.id for i in instances(service)[:3]]
        for victim in victims:
            world.behave(victim, Behaviour.ERRORS)
        await until(lambda: 5 == fleet.serving, 600)
        for victim in victims:
            world.behave(victim, Behaviour.WELL)
        await until(lambda: 6 == fleet.serving == len(world.live("web")), 6 * 3600)
        assert not removed(world) & set(victims)

    there.live(story)
    assert len(told(there, "storm.surplus")) == 2
    safe(there)


def test_of_three_two_are_healed_one_after_another() -> None:
    """The replacement of the first is the proof that the second one waits for; nothing else need be launched."""
    there = stage(settings(fleet(3, checks=TWO_CHECKS)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        first, second = [i.id for i in instances(service)[:2]]
        world.crash(first)
        await until(lambda: len(launches(world)) == 4, 300)
        world.crash(second)
        await calm(service, world, 3 * 3600)

    there.live(story)
    assert len(removed(there.world)) == 2
    assert len(launches(there.world)) == 3 + 2
    safe(there)


def test_one_that_was_added_takes_the_place_of_the_next_that_is_healed() -> None:
    """It has proved itself already: nothing is launched for that one, and none is left over in the end."""
    there = stage(settings(fleet(3, checks=TWO_CHECKS)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)[:2]]:
            world.crash(victim)
        await until(lambda: bool(removals(world)), 3600)
        assert len(launches(world)) == 3 + 1
        await calm(service, world, 3 * 3600)

    there.live(story)
    assert any("nothing need be launched" in text for text in told(there, "incident.step"))
    assert len(launches(there.world)) == 3 + 2
    assert len(removed(there.world)) == 2
    assert [] == told(there, "storm.surplus")
    safe(there)


def test_when_those_added_fail_as_well_no_more_are_launched_and_people_are_asked() -> None:
    """Two are enough to learn that new machines do not help."""
    there = stage(settings(fleet(checks=TWO_CHECKS)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.bad_images.add("img-1")
        await asyncio.sleep(1500)
        [trouble] = shared(service)
        assert IncidentState.ESCALATED is trouble.state
        assert "2 machines launched besides fail as well" in trouble.notes[-1].text

    there.live(story)
    assert len(launches(there.world)) == 6 + 2
    safe(there)


def test_a_person_may_let_some_be_healed_in_a_storm() -> None:
    """Two, and no third; the budgets hold as ever, so it is one after another."""
    there = stage(settings(fleet(checks=TWO_CHECKS), guards=Guards(rescue_after=86400.0, cooldown=0.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)[:4]]:
            world.behave(victim, Behaviour.ERRORS)
        await asyncio.sleep(600)
        assert [] == removals(world)
        assert (await ask(service, Allow("web", 2, 4 * 3600.0))).ok
        await asyncio.sleep(600)
        assert len(removed(world)) == 1
        await asyncio.sleep(1800)
        assert len(removed(world)) == 2
        permit = service.engine.ctx.world.get(Permit, "web")
        assert permit is not None
        assert permit.removals == 0

    there.live(story)
    assert len(removed(there.world)) == 2
    safe(there)


def test_a_third_plain_fault_within_an_hour_is_weighed_and_healed() -> None:
    """More than a fleet of thirty is expected to lose; it is plainly each for itself, so the surprise holds nobody."""
    there = stage(settings(fleet(30), guards=Guards(hourly_least=2, hourly_share=0.2)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victims = [i.id for i in instances(service)[:3]]
        for victim in victims:
            world.behave(victim, Behaviour.ERRORS)
            await until(partial(_is_removed, world, victim), 300)
            await asyncio.sleep(960)

    there.live(story)
    assert len(removed(there.world)) == 3
    safe(there)


def test_machines_that_users_stop_in_waves_are_left_alone_and_told_once() -> None:
    """Planned maintenance without a hold: nothing is replaced."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)[:3]]:
            world.crash(victim)
            world.machines[victim].stopped_by_user = True
            await asyncio.sleep(120)
        await asyncio.sleep(1800)

    there.live(story)
    assert len(launches(there.world)) == 6
    assert [] == removals(there.world)
    assert len(told(there, "instance.stopped_by_user")) == 1


def test_failures_one_after_another_go_in_waves() -> None:
    """Two of forty die together: the second is healed when the first one's replacement has proved itself."""
    there = stage(settings(fleet(40, zones=("a", "b", "c"))))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)[:2]]:
            world.behave(victim, Behaviour.ERRORS)
        await until(lambda: bool(removals(world)), 300)
        await asyncio.sleep(300)
        assert len(removed(world)) == 1
        await calm(service, world)
        assert len(removed(world)) == 2

    there.live(story)
    safe(there)


@pytest.mark.parametrize(
    ("objections", "after_a_second"),
    [
        pytest.param((), 5, id="five a second"),
        pytest.param((0.0,), 2, id="half as many when it objects"),
        pytest.param((0.0, 6.0), 1, id="and half of that when it objects again"),
        pytest.param((0.0, 0.1, 0.2, 0.3), 2, id="answers to calls that went out together are one objection"),
    ],
)
def test_a_cloud_is_asked_for_machines_at_a_pace(objections: tuple[float, ...], after_a_second: int) -> None:
    """Ten at once, then as many in a second as it takes."""
    pace, guards = Bucket(0.0), Guards()
    for at in objections:
        pace.throttled(at)
    assert 10 == sum(pace.take(guards, 10.0) for _ in range(50))
    assert after_a_second == sum(pace.take(guards, 11.0) for _ in range(50))
    assert 10 == sum(pace.take(guards, 600.0) for _ in range(50))
