"""Stories of not acting: each names the guard that holds, and the world shows that nothing was touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.core import reasons
from supervisor.core.model import Instance, Resolution
from supervisor.core.settings import Guards, Judgement, Settings
from supervisor.core.signals import (
    Approve,
    Hold,
    OperatorVerb,
    Pause,
    Purge,
    Reject,
    ReleaseFromQuarantine,
    Resume,
    SentinelReported,
    Unhold,
)
from supervisor.core.terms import Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from tests.stages import (
    TWO_CHECKS,
    ask,
    calm,
    fleet,
    incidents,
    instances,
    launches,
    open_incidents,
    removals,
    settings,
    stage,
)


async def proved(service: Service, world: World) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == len(world.live("web")), 3600)


def explained(service: Service, name: str) -> dict[str, tuple[str, str]]:
    """Return the guards that hold an instance's remediation: value and threshold."""
    ctx = service.engine.ctx
    view = reasons.explain(ctx, ctx.world.need(Instance, name))
    return {r["guard"]: (r["value"], r["threshold"]) for r in view["guards"]["remediate"] if r["holds"]}


def test_observe_mode_only_says_what_it_would_do() -> None:
    """The shipped mode: an incident, the guard `mode`, and no hand on anything."""
    there = stage()

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(boot)
    there.settings = settings(mode=Mode.OBSERVE)
    before = len(there.world.calls)

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(60)
        victim = instances(service)[0].id
        world.crash(victim)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(600)
        assert ("mode",) == open_incidents(service)[0].held
        assert ("observe", "auto") == explained(service, victim)["mode"]

    there.live(story)
    assert before == len(there.world.calls)
    assert any("would replace" in m.text for m in there.chat.messages)


def test_approve_mode_waits_for_a_person() -> None:
    """Rejected, nothing happens; approved, it heals."""
    there = stage()

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(boot)
    there.settings = settings(mode=Mode.APPROVE)

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(60)
        world.crash(instances(service)[0].id)
        await until(lambda: bool(open_incidents(service)), 120)
        number = open_incidents(service)[0].id
        assert (await ask(service, Reject(number))).ok
        await asyncio.sleep(120)
        assert [] == removals(world)
        stale = await ask(service, Approve(number, version=99))
        assert not stale.ok
        assert "has changed" in stale.text
        assert (await ask(service, Approve(number, version=1))).ok
        await calm(service, world)
        assert Resolution.REPLACED is incidents(service)[0].resolution

    there.live(story)


def test_pauses_are_held_by_name_and_stop_a_step_that_was_about_to_run() -> None:
    """Two people pause; nothing moves until both have resumed. Watching goes on."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        assert (await ask(service, Pause("ada"))).ok
        assert (await ask(service, Pause("ben", seconds=600))).ok
        before = len(world.calls)
        world.crash(instances(service)[0].id)
        await until(lambda: bool(open_incidents(service)), 120)
        assert "pause" in open_incidents(service)[0].held
        assert not (await ask(service, Resume("eve"))).ok
        assert (await ask(service, Resume("ada"))).ok
        await asyncio.sleep(300)
        assert before == len(world.calls)
        await asyncio.sleep(400)  # ben's time is over
        await calm(service, world)
        assert len(world.calls) > before

    there.live(story)
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings))


def test_a_held_instance_is_watched_and_not_touched() -> None:
    """However long it is sick: until an operator's word."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victim = instances(service)[0].id
        assert (await ask(service, Hold(victim, seconds=1800), "looking at it")).ok
        world.behave(victim, Behaviour.ERRORS)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(1200)
        assert [] == removals(world)
        assert "looking at it" in explained(service, victim)["hold"][0]
        assert (await ask(service, Unhold(victim))).ok
        await calm(service, world)
        assert 2 == len(removals(world))

    there.live(story)


STORMS = {
    "half of the fleet answers with errors": (3, Behaviour.ERRORS),
    "the whole fleet answers with errors": (6, Behaviour.ERRORS),
    "the whole fleet is silent": (6, Behaviour.HANG),
}

WITHOUT_RESCUE = Guards(rescue_after=86400.0, breaker_window=300.0, breaker_quiet=60.0)


@pytest.mark.parametrize("spread", [False, True], ids=["in step", "spread"])
@pytest.mark.parametrize("name", STORMS)
def test_a_shared_fault_is_a_storm_and_nobody_is_removed(name: str, spread: bool) -> None:
    """More sick than may plausibly be sick at once: nobody is removed, not even who is found sick first.

    Without new machines to prove that they withstand it: see test_storms.
    """
    count, behaviour = STORMS[name]
    there = stage(settings(fleet(checks=TWO_CHECKS), guards=WITHOUT_RESCUE))
    there.world.checks_spread = spread

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        ill = [i.id for i in instances(service)[:count]]
        for victim in ill:
            world.behave(victim, behaviour)
        await asyncio.sleep(600)
        assert [] == removals(world)
        value, threshold = explained(service, ill[0])["breaker"]
        assert value.startswith(f"{count} sick lately")
        assert "at most 2 of 6" == threshold
        for victim in ill:
            world.behave(victim, Behaviour.WELL)
        await asyncio.sleep(300)
        assert [] == open_incidents(service)
        assert {i.resolution for i in incidents(service)} <= {Resolution.RECOVERED}  # most are told by the shared one

    there.live(story)
    assert [] == removals(there.world)


def cloud_down(world: World, on: bool) -> None:
    """The cloud's API fails; the machines are well."""
    world.cloud_down = on


def empty_list(world: World, on: bool) -> None:
    """The cloud's API says that there is nothing."""
    world.empty_list = on


def blind(world: World, on: bool) -> None:
    """Neither machines nor cloud can be seen."""
    world.blind = on


def test_an_empty_list_never_means_gone_even_for_a_fleet_of_one() -> None:
    """However long it lasts: no second machine beside the one that is only not listed."""
    there = stage(settings(fleet(1)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.empty_list = True
        await asyncio.sleep(3600)
        world.empty_list = False
        await calm(service, world)

    there.live(story)
    assert 1 == len(launches(there.world))


@pytest.mark.parametrize("breaks", [cloud_down, empty_list, blind])
def test_what_cannot_be_seen_is_unknown_and_never_gone(breaks: Callable[[World, bool], None]) -> None:
    """Ten minutes of it: nothing launched, nothing removed, no machine forgotten."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        before = len(world.calls)
        breaks(world, True)
        await asyncio.sleep(600)
        breaks(world, False)
        await asyncio.sleep(900)
        assert before == len(world.calls)
        assert 6 == len(instances(service, Lifecycle.IN_SERVICE))

    there.live(story)


def test_a_failing_sentinel_blinds_and_an_amnesty_follows() -> None:
    """While blind nobody turns sick; when sight is back, suspicion starts afresh."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        service.report(SentinelReported("prober", False, "dead"))
        victim = instances(service)[0].id
        world.crash(victim)
        await asyncio.sleep(300)
        assert [] == incidents(service)
        assert "sentinel prober fails: dead" == explained(service, victim)["blind"][0]
        service.report(SentinelReported("prober", True))
        await asyncio.sleep(50)
        assert "not yet over for 60s" in explained(service, victim)["blind"][0]
        await asyncio.sleep(12)
        assert "amnesty" in explained(service, victim)
        await until(lambda: bool(incidents(service)), 120)
        await calm(service, world)

    there.live(story)


def test_a_suspended_supervisor_begins_with_an_amnesty() -> None:
    """Ten minutes lost: everything looks stale, and that is no evidence."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.clock.suspend(600)
        await asyncio.sleep(300)
        assert [] == incidents(service)
        assert any("were lost" in m.text for m in there.chat.messages)

    there.live(story)
    assert [] == removals(there.world)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_of_the_wall_clock_removes_nobody(jump: float) -> None:
    """Durations are measured on the boot clock."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.clock.jump_wall(jump)
        await asyncio.sleep(900)
        assert [] == incidents(service)

    there.live(story)
    assert [] == removals(there.world)


def test_one_slot_is_not_replaced_for_ever() -> None:
    """Three replacements in a day, then the guard `lineage` asks for a person. What else would hold is other stories."""
    there = stage(settings(guards=Guards(hourly_least=9, daily_least=9, quarantine_cap=9, breaker_window=60.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for _ in range(3):
            slot_zero = next(i for i in instances(service) if i.slot == 0)
            world.crash(slot_zero.id)
            await until(lambda: bool(open_incidents(service)), 120)
            await until(lambda: not open_incidents(service), 7200)
            await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 6, 7200)
        victim = next(i for i in instances(service) if i.slot == 0).id
        world.crash(victim)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(900)
        assert ("3 replacements in this slot", "fewer than 3") == explained(service, victim)["lineage"]
        assert not world.machines[victim].isolated

    there.live(story)


REFUSED: dict[str, tuple[OperatorVerb, str]] = {
    "releasing a stranger": (ReleaseFromQuarantine("i-none"), "no instance 'i-none' is known"),
    "purging a stranger": (Purge("i-none"), "no instance 'i-none' is known"),
    "approving what is not open": (Approve(99), "no open incident 99"),
    "resuming nobody": (Resume("nobody"), "no pause by 'nobody'"),
    "taking the pause file's name": (Pause("file"), "belongs to the pause file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_who_errs_is_told_in_one_sentence(name: str) -> None:
    """What was found, and what to do; nothing is changed."""
    verb, sentence = REFUSED[name]
    there = stage(settings(fleet(1)))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        before = len(there.commits)
        reply = await ask(service, verb)
        assert not reply.ok
        assert sentence in reply.text
        assert before == len(there.commits)

    there.live(story)


def test_the_global_cap_counts_every_fleet() -> None:
    """One removal an hour over all fleets: the second fleet's sick machine waits."""
    policy = fleet(4)
    both = Settings(
        mode=Mode.AUTO,
        fleets={"web": policy, "api": replace(policy, name="api")},
        guards=replace(Guards(), global_hourly=1),
    )
    there = stage(both)

    async def story(service: Service, world: World) -> None:
        await until(lambda: len(world.machines) == 8 and all(m.registered_at for m in world.machines.values()), 300)
        await asyncio.sleep(900)
        for name in ("web", "api"):
            world.crash(next(m.id for m in world.live(name)))
        await asyncio.sleep(1200)
        assert 1 == sum(1 for m in world.machines.values() if m.isolated)
        waiting = next(i for i in service.engine.ctx.world.open_of["web"] | service.engine.ctx.world.open_of["api"])
        assert "global_cap" in service.engine.ctx.world.need(type(incidents(service)[0]), waiting).held

    there.live(story)


@pytest.mark.parametrize("trouble", ["a broken check", "a cloud that does not answer"])
def test_a_newcomer_is_not_given_up_while_nobody_can_say_how_it_is(trouble: str) -> None:
    """Unknown is no failed launch: the replacement waits, its guard is named, and it serves once it can be seen."""
    there = stage(settings(judgement=Judgement(boot_deadline=120.0)))
    attribute, guard = {
        "a broken check": ("checks_broken", "unheard"),
        "a cloud that does not answer": ("cloud_down", "inventory"),
    }[trouble]

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.crash(instances(service)[0].id)
        await until(lambda: bool(instances(service, Lifecycle.LAUNCHING, Lifecycle.WARMING)), 600)
        setattr(world, attribute, True)
        newcomer = instances(service, Lifecycle.LAUNCHING, Lifecycle.WARMING)[0].id
        await asyncio.sleep(1200)
        told = [m.text for m in there.chat.messages if f"would give up {newcomer}" in m.text]
        assert 1 == len(told)
        assert guard in told[0]
        assert not world.machines[newcomer].terminated
        assert 7 == len(launches(world))

        setattr(world, attribute, False)
        await until(lambda: not open_incidents(service), 3600)
        assert newcomer in [i.id for i in instances(service, Lifecycle.PROBATION, Lifecycle.IN_SERVICE)]
        assert 7 == len(launches(world))

    there.live(story)
