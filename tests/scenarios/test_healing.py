"""Stories of healing: what breaks, what is done, and when, on virtual time with the shipped numbers."""

from __future__ import annotations

import asyncio

from supervisor.core.model import IncidentKind, IncidentState, Quarantine, Removal, Resolution, Slot
from supervisor.core.requests import Launch, Outcome, Refused, Request
from supervisor.core.settings import Guards, Judgement
from supervisor.core.signals import Retry
from supervisor.core.terms import FleetState, Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Life
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import (
    ask,
    calm,
    commits,
    fleet,
    incidents,
    instances,
    launches,
    open_incidents,
    removals,
    settings,
    stage,
    state,
)


async def proved(service: Service, world: World, count: int = 6) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == count, 3600)


def holds(there: Stage) -> None:
    """No invariant is broken."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings))


def test_a_first_boot_fills_every_slot_and_blames_nobody() -> None:
    """Six launches, spread over both zones, nothing removed, OPTIMAL within two minutes."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await calm(service, world, 120)

    there.live(story)

    assert 6 == len(launches(there.world))
    assert {"a": 3, "b": 3} == {z: sum(1 for r in launches(there.world) if r.zone == z) for z in ("a", "b")}
    assert [] == removals(there.world)
    holds(there)


def test_a_crash_is_confirmed_by_the_cloud_and_replaced() -> None:
    """Stopped, seen twice 15 s apart: sick; the replacement serves before the dead machine is isolated."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victim = instances(service)[0].id
        broken_at = world.clock.boot
        world.crash(victim)
        await until(lambda: bool(incidents(service)), 60)
        assert 15 <= world.clock.boot - broken_at <= 30
        await calm(service, world)

        incident = incidents(service)[0]
        assert (IncidentKind.SICK, Resolution.REPLACED, victim) == (
            incident.kind,
            incident.resolution,
            incident.instance,
        )
        assert "the cloud says stopped (exited)" == incident.cause
        kept = service.engine.ctx.world.need(Quarantine, victim)
        assert kept.results
        assert kept.capture
        order = [c.request.verb for c in world.calls if c.order > 20 and c.effect][-5:]
        assert ["deregister", "capture", "launch", "register", "isolate"] == order

    there.live(story)
    holds(there)


def test_errors_condemn_after_thirty_seconds() -> None:
    """A wrong answer is an answer: no second class of evidence is needed, but the failures must be 30 s old."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        broken_at = world.clock.boot
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 60)
        assert 30 <= world.clock.boot - broken_at <= 45
        await calm(service, world)

    there.live(story)
    holds(there)


def test_silence_condemns_once_the_load_balancer_agrees() -> None:
    """A hung machine: our probes hear nothing, the load balancer's own check fails too."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.behave(instances(service)[0].id, Behaviour.HANG)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)
        assert incidents(service)[0].cause.startswith("alive: no answer")

    there.live(story)
    holds(there)


def test_a_blip_of_twenty_seconds_is_left_alone() -> None:
    """Suspect, then well again: no incident, no commit, nothing told."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victim = instances(service)[0].id
        await asyncio.sleep(30)
        told, committed = len(there.chat.messages), commits(there)
        world.behave(victim, Behaviour.ERRORS)
        await asyncio.sleep(20)
        assert service.engine.ctx.fleets["web"].suspects == {victim}
        world.behave(victim, Behaviour.WELL)
        await asyncio.sleep(300)
        assert [] == incidents(service)
        assert told >= len(there.chat.messages) - 2  # the fleet's state may flicker, nothing else
        assert committed >= commits(there) - 4

    there.live(story)
    assert [] == removals(there.world)


def test_two_dead_of_six_are_healed_one_after_the_other() -> None:
    """The floors do not stop it: what does not serve costs nothing. The credit makes the second one wait."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        first, second = instances(service)[0].id, instances(service)[1].id
        world.crash(first)
        world.crash(second)
        await until(lambda: len(open_incidents(service)) == 2, 60)
        await until(lambda: bool(open_incidents(service)[-1].held), 60)
        assert {"concurrency", "credits"} <= set(open_incidents(service)[-1].held)
        await calm(service, world, 3600)
        assert 2 == len(world.live("web")) - 4
        settled = [r.settled_at is not None for r in service.engine.ctx.world.all(Removal)]
        assert [True, False] == settled

    there.live(story)
    holds(there)


def test_restart_comes_first_on_the_ladder_and_replace_when_it_does_not_help() -> None:
    """A restart that cures ends it; one that does not makes way for a replacement."""
    cured = stage(settings(fleet(ladder=("restart", "replace"))))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)
        assert Resolution.RESTARTED is incidents(service)[0].resolution

    cured.live(story)
    assert 6 == len(launches(cured.world))
    holds(cured)

    class Stubborn(FakeCloud):
        def _effect(self, request: Request) -> Outcome:
            outcome = super()._effect(request)
            if request.verb == "restart":
                self._world.behave(request.instance, Behaviour.ERRORS)
            return outcome

    stubborn = stage(settings(fleet(ladder=("restart", "replace"))))
    stubborn.make_cloud = Stubborn

    async def sequel(service: Service, world: World) -> None:
        await proved(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)
        assert Resolution.REPLACED is incidents(service)[0].resolution
        assert any("restart did not help" in note.text for note in incidents(service)[0].notes)

    stubborn.live(sequel)
    holds(stubborn)


def test_quarantine_alone_sets_aside_and_the_slot_is_filled() -> None:
    """The serving floor permitting: isolated first, then the missing machine is launched."""
    there = stage(settings(fleet(ladder=("quarantine",))))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)
        assert Resolution.SET_ASIDE is incidents(service)[0].resolution

    there.live(story)
    assert 7 == len(launches(there.world))
    holds(there)


def test_a_vanished_machine_is_filled_after_a_minute() -> None:
    """Absent twice, 60 s apart; then its slot is filled, although nobody was sick."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        gone = instances(service)[0]
        gone_at = world.clock.boot
        world.vanish(gone.id)
        await until(lambda: bool(incidents(service)), 180)
        assert 60 <= world.clock.boot - gone_at <= 90
        await calm(service, world)
        assert IncidentKind.VANISHED is incidents(service)[0].kind
        slot = service.engine.ctx.world.need(Slot, "web", gone.slot or 0)
        assert slot.occupant not in (None, gone.id)

    there.live(story)
    assert 7 == len(launches(there.world))


def test_a_raised_desired_size_is_filled_and_a_lowered_one_removes_nobody() -> None:
    """Filling needs nobody to be sick; shrinking is not Sickbay's to do."""
    there = stage(settings(fleet(3)))

    async def first(service: Service, world: World) -> None:
        await calm(service, world)

    there.live(first)
    there.settings = settings(fleet(5))
    there.live(first)
    assert 5 == len(there.world.live("web"))
    there.settings = settings(fleet(2))
    there.live(first)
    assert 5 == len(there.world.live("web"))
    assert [] == removals(there.world)


def test_replacements_that_never_boot_stop_after_three_launches() -> None:
    """The sick machine stays where it is, the last failed one is kept as an exemplar, and people are asked."""
    there = stage(settings(guards=Guards(launch_half_open=600.0), judgement=Judgement(boot_deadline=120.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.bad_images.add("img-1")
        victim = instances(service)[0].id
        for machine in world.machines.values():
            machine.image = "img-0"  # those that run go on well
        world.behave(victim, Behaviour.ERRORS)
        await until(lambda: any(i.state is IncidentState.ESCALATED for i in incidents(service)), 6 * 3600)
        await asyncio.sleep(1500)  # two more tries would have been due
        assert 9 == len(launches(world))
        assert not world.machines[victim].isolated
        assert FleetState.DEGRADED is state(service)
        exemplars = [i.id for i in instances(service, Lifecycle.BOOT_FAILED)]
        assert 1 == len(exemplars)
        slot = next(i.slot for i in instances(service) if i.id == victim)
        assert service.engine.ctx.world.need(Slot, "web", slot or 0).needs_human

        world.bad_images.clear()
        assert (await ask(service, Retry("web", slot or 0))).ok
        await until(lambda: not open_incidents(service), 3600)
        assert FleetState.OPTIMAL is state(service)

    there.live(story)


def test_a_zone_without_capacity_sends_the_launch_to_the_other_one() -> None:
    """A capacity refusal is a definite no: a new attempt with a new token, not a failed launch."""

    def full(request: Request) -> Outcome | None:
        no_room = isinstance(request, Launch) and request.zone == "a"
        return Refused("InsufficientInstanceCapacity", capacity=True) if no_room else None

    def cloud(world: World, name: str, life: Life) -> FakeCloud:
        return FakeCloud(world, name, life, refuse=full)

    there = stage(settings(fleet(2)))
    there.make_cloud = cloud

    async def story(service: Service, world: World) -> None:
        await calm(service, world)

    there.live(story)
    assert ["b", "b"] == [r.zone for r in launches(there.world)]
    holds(there)


def test_a_lost_answer_is_asked_for_again_and_makes_one_machine() -> None:
    """The effect was there, the answer was not: the identical request is sent until the answer is definite."""
    lost: set[str] = set()

    def lose(request: Request) -> bool:
        fresh = request.token not in lost
        lost.add(request.token)
        return fresh

    there = stage(settings(fleet(3)))
    there.make_cloud = lambda world, name, life: FakeCloud(world, name, life, lose=lose)

    async def story(service: Service, world: World) -> None:
        await proved(service, world, 3)
        world.crash(instances(service)[0].id)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)

    there.live(story)
    assert 4 == len(launches(there.world))
    assert 1 == there.world.snapshots.count(there.world.snapshots[0])
    holds(there)


def test_a_quiet_hour_commits_only_what_was_learnt() -> None:
    """In steady state the disk is left alone, but for a checkpoint every five minutes."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await asyncio.sleep(30)
        before, all_before = commits(there), len(there.commits)
        await asyncio.sleep(3600)
        assert before == commits(there)
        assert len(there.commits) - all_before <= 12

    there.live(story)
