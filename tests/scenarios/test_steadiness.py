"""Stories of machines that are neither well nor dead: they flap, come back, crawl, or only fall silent elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from supervisor.core.model import Instance, Learnt
from supervisor.core.requests import Isolate
from supervisor.core.settings import Guards
from supervisor.core.signals import Beat, HeartbeatsDeaf, HeartbeatsReported, SelfReported
from supervisor.core.terms import Health, Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests.stages import calm, fleet, incidents, instances, launches, open_incidents, removals, settings, stage


async def proved(service: Service, world: World, count: int = 6) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == count, 3600)


async def stumble(world: World, name: str, times: int, ill: float = 20.0, well: float = 60.0) -> None:
    """Let a machine fail for a while, and be well for a while, again and again."""
    for _ in range(times):
        world.behave(name, Behaviour.ERRORS)
        await asyncio.sleep(ill)
        world.behave(name, Behaviour.WELL)
        await asyncio.sleep(well)


def told(there: Stage, kind: str) -> list[str]:
    """Return what was told of a kind."""
    return [message.text for message in there.chat.messages if message.kind == kind]


def lifecycle(service: Service, name: str) -> Lifecycle:
    """Return where a machine stands."""
    return next(i.lifecycle for i in instances(service) if i.id == name)


def test_a_flapping_machine_is_set_aside_until_it_is_stable() -> None:
    """One message when it begins, one when it ends, back in the load balancer after five minutes."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id
        await stumble(world, name, 3)
        await until(lambda: lifecycle(service, name) is Lifecycle.WITHDRAWN, 200)
        assert 1 == len(told(there, "instance.flapping"))
        assert "flaps: suspect 3 times within " in told(there, "instance.flapping")[0]
        assert ", by chance 1 in 10^" in told(there, "instance.flapping")[0]
        assert Health.SUSPECT is service.engine.ctx.fleets["web"].charts[name].finding.health
        await until(lambda: lifecycle(service, name) is Lifecycle.PROBATION, 400)
        last = service.engine.ctx.fleets["web"].charts[name].checks["alive"].last_fail
        assert last is not None
        assert 300 <= world.clock.boot - last <= 320
        assert 1 == len(told(there, "instance.flapping_ended"))
        assert [] == incidents(service)

    there.live(story)
    assert ["deregister"] == [r.verb for r in removals(there.world)]


def test_two_bursts_of_loss_within_half_an_hour_are_not_flapping() -> None:
    """Confirmed by a second look, both of them; yet in a fleet of any size that is chance."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id
        await stumble(world, name, 2)
        flapping = service.engine.ctx.fleets["web"].charts[name].flapping
        assert flapping is not None
        assert (2, None) == (flapping.stumbles, flapping.since)
        await asyncio.sleep(600)
        assert [] == told(there, "instance.flapping")

    there.live(story)
    assert [] == removals(there.world)


def test_when_all_stumble_together_nobody_flaps() -> None:
    """How often the others do so now is weighed as well, whatever they share."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        names = [instance.id for instance in instances(service)]
        for _ in range(4):
            for name in names:
                await stumble(world, name, 1)
        assert [] == told(there, "instance.flapping")

    there.live(story)
    assert [] == removals(there.world)


def test_what_was_learnt_of_stumbles_outlives_a_restart() -> None:
    """A quiet fleet comes to expect fewer."""
    there = stage()
    known = 0.0

    async def first(service: Service, world: World) -> None:
        nonlocal known
        await proved(service, world)
        await asyncio.sleep(7200)
        known = service.engine.ctx.fleets["web"].stumbles.rate
        assert known < 1.0

    async def second(service: Service, world: World) -> None:
        await asyncio.sleep(5)
        assert abs(known - service.engine.ctx.fleets["web"].stumbles.rate) < 0.001

    there.live(first)
    there.live(second)


def test_two_blips_are_not_flapping() -> None:
    """A question that failed once, and not again at the second look, is no change."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        chart = service.engine.ctx.fleets["web"].charts[instances(service)[0].id]
        for _ in range(4):
            world.behave(chart.id, Behaviour.ERRORS)
            await until(lambda: chart.finding.health is Health.SUSPECT, 20)
            world.behave(chart.id, Behaviour.WELL)
            await asyncio.sleep(60)
        assert [] == told(there, "instance.flapping")

    there.live(story)
    assert [] == removals(there.world)


def test_the_third_spell_within_a_day_is_a_sickness() -> None:
    """And the second one takes twice as long to forgive, over a restart of ours too."""
    there = stage()
    name = ""

    async def first(service: Service, world: World) -> None:
        nonlocal name
        await proved(service, world)
        name = instances(service)[0].id
        await stumble(world, name, 3)
        await until(lambda: lifecycle(service, name) is Lifecycle.WITHDRAWN, 200)
        await until(lambda: lifecycle(service, name) is Lifecycle.PROBATION, 400)

    async def second(service: Service, world: World) -> None:
        await asyncio.sleep(1900)
        begun = world.clock.boot
        await stumble(world, name, 3)
        await until(lambda: lifecycle(service, name) is Lifecycle.WITHDRAWN, 200)
        await until(lambda: lifecycle(service, name) is Lifecycle.PROBATION, 900)
        assert world.clock.boot - begun > 600
        await asyncio.sleep(1900)
        await stumble(world, name, 3)
        await until(lambda: bool(incidents(service)), 60)
        assert "flapping" in incidents(service)[0].cause
        assert "third time within a day" in incidents(service)[0].cause
        await calm(service, world)

    there.live(first)
    there.live(second)
    assert any(isinstance(request, Isolate) for request in removals(there.world))
    assert 7 == len(launches(there.world))


def test_a_machine_returns_twice_a_day_and_is_replaced_the_third_time() -> None:
    """Withdrawn as sick, it recovers while its replacement can't be launched: parole, which gets harder."""
    held = replace(Guards(), cooldown=0.0, hourly_least=9, daily_least=9, breaker_window=60.0)
    there = stage(settings(guards=held))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id
        engine = service.engine
        record = Learnt(
            "web", f"returns.{name}", (world.clock.now().wall.timestamp() - 60.0,) * 2, world.clock.now().wall
        )
        engine.ctx.world.put(record)
        world.behave(name, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 60)
        world.behave(name, Behaviour.WELL)
        await calm(service, world)
        assert name not in {i.id for i in instances(service) if i.lifecycle is Lifecycle.IN_SERVICE}
        assert 7 == len(launches(world))

    there.live(story)


def test_a_sick_machine_that_recovers_before_anything_is_launched_comes_back_and_that_is_remembered() -> None:
    """Six passes and a minute; the record outlives a restart."""
    there = stage(settings(guards=replace(Guards(), max_instances=6)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id
        world.behave(name, Behaviour.ERRORS)
        await until(lambda: lifecycle(service, name) is Lifecycle.WITHDRAWN, 120)
        world.behave(name, Behaviour.WELL)
        well_at = world.clock.boot
        await until(lambda: lifecycle(service, name) is Lifecycle.PROBATION, 300)
        assert world.clock.boot - well_at >= 58  # the last failure was a probe earlier
        await calm(service, world)
        assert 1 == len(service.engine.ctx.world.need(Learnt, "web", f"returns.{name}").values)
        assert 6 == len(launches(world))

    there.live(story)
    assert 1 == sum(1 for r in there.records() if isinstance(r, Learnt) and r.name.startswith("returns."))


def test_a_slow_machine_is_withdrawn_after_five_minutes_and_replaced_ten_later() -> None:
    """Against its peers; nobody else is touched."""
    there = stage()
    there.world.takes = 0.05

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id
        world.machines[name].takes = 0.4
        begun = world.clock.boot
        await until(lambda: lifecycle(service, name) is Lifecycle.WITHDRAWN, 400)
        assert 300 <= world.clock.boot - begun <= 340
        assert [] == incidents(service)
        await until(lambda: bool(incidents(service)), 700)
        assert 900 <= world.clock.boot - begun <= 940
        [found] = incidents(service)
        assert "times as slow as its peers" in found.cause
        assert 890 <= (found.opened_at - found.suspected_at).total_seconds() <= 940  # from its first slow answer
        await calm(service, world)

    there.live(story)
    assert 1 == sum(1 for request in removals(there.world) if isinstance(request, Isolate))


def test_a_fleet_that_slows_down_together_is_left_alone() -> None:
    """The median itself has moved: no machine is at fault."""
    there = stage()
    there.world.takes = 0.05

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.takes = 0.4
        world.machines[instances(service)[0].id].takes = 2.0
        await asyncio.sleep(900)
        assert not service.engine.ctx.fleets["web"].suspects

    there.live(story)
    assert [] == removals(there.world)


def test_a_fleet_learns_how_long_its_machines_boot() -> None:
    """After ten good boots a newcomer that hangs is given up after two minutes, not ten."""
    there = stage(settings(fleet(10)))

    async def first(service: Service, world: World) -> None:
        await proved(service, world, 10)
        assert 10 == len(service.engine.ctx.fleets["web"].boots.durations)
        await asyncio.sleep(310)

    async def second(service: Service, world: World) -> None:
        await asyncio.sleep(60)
        web = service.engine.ctx.fleets["web"]
        assert 120 == web.boots.deadline(service.engine.ctx.settings.judgement)
        world.boots_in = 1e9
        world.crash(instances(service)[0].id)
        await until(lambda: len(launches(world)) == 11, 300)
        launched = world.clock.boot
        await until(lambda: bool(instances(service, Lifecycle.BOOT_FAILED)), 300)
        assert 110 <= world.clock.boot - launched <= 150

    there.live(first)
    there.live(second)


async def beat(service: Service, world: World, seconds: float, *, but: str = "") -> None:
    """Let every machine that lives send a heartbeat every ten seconds."""
    for _ in range(int(seconds / 10)):
        now = world.clock.boot
        service.inbox.put(HeartbeatsReported([Beat(name, now) for name in sorted(world.machines) if name != but]))
        await asyncio.sleep(10)


def test_heartbeats_that_stay_away_while_the_checks_pass_change_nothing() -> None:
    """A queue that is five minutes late is not a sick fleet."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await beat(service, world, 200)
        await asyncio.sleep(300)
        chart = service.engine.ctx.fleets["web"].charts[instances(service)[0].id]
        assert chart.heartbeat_fresh(world.clock.boot) is False
        assert Health.HEALTHY is chart.finding.health
        await beat(service, world, 100, but=chart.id)
        assert Health.HEALTHY is chart.finding.health
        assert [] == incidents(service)

    there.live(story)
    assert [] == removals(there.world)


def test_a_machine_that_goes_mute_leaves_the_load_balancer_until_it_speaks_again() -> None:
    """Its checks pass, but what it serves may be sick where none looks: reversible, and nobody is replaced for it."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await beat(service, world, 200)
        name = instances(service)[0].id
        await beat(service, world, 320, but=name)
        assert Lifecycle.IN_SERVICE is service.engine.ctx.world.need(Instance, name).lifecycle
        await beat(service, world, 60, but=name)
        assert Lifecycle.WITHDRAWN is service.engine.ctx.world.need(Instance, name).lifecycle
        assert "its own signs of life have stayed away" in told(there, "instance.withdrawn")[0]
        await beat(service, world, 900, but=name)
        assert Lifecycle.WITHDRAWN is service.engine.ctx.world.need(Instance, name).lifecycle
        await beat(service, world, 120)
        assert Lifecycle.WITHDRAWN is not service.engine.ctx.world.need(Instance, name).lifecycle
        assert [] == incidents(service)

    there.live(story)


def test_silence_and_a_stale_heartbeat_are_two_classes_of_evidence() -> None:
    """Where no load balancer and no cloud speak: a minute, not three."""
    there = stage(settings(mode=Mode.OBSERVE))

    async def story(service: Service, world: World) -> None:
        await until(lambda: service.engine.ctx.fleets["web"].inventory_at is not None, 60)
        service.engine.ctx.settings = settings()
        await proved(service, world)
        await beat(service, world, 200)
        name = instances(service)[0].id
        world.balancer_delay = 1e9  # it says nothing of anybody any more
        world.behave(name, Behaviour.HANG)
        begun = world.clock.boot
        beating = asyncio.ensure_future(beat(service, world, 300, but=name))
        await until(lambda: bool(open_incidents(service)), 170)
        assert 30 <= world.clock.boot - begun <= 60
        beating.cancel()

    there.live(story)


def test_a_supervisor_that_starves_does_nothing_and_says_so() -> None:
    """Three troubles at once: blind at once; it sees again when they are over, and starts afresh."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        name = instances(service)[0].id

        async def starve() -> None:
            while True:
                service.inbox.put(SelfReported(lag=0.9, start_delay=0.9, names_resolve=False))
                await asyncio.sleep(5)

        starving = asyncio.ensure_future(starve())
        await asyncio.sleep(12)
        world.behave(name, Behaviour.ERRORS)
        await asyncio.sleep(300)
        assert [] == incidents(service)
        assert "the supervisor itself is slow: score 3 of 8" in told(there, "sight.lost")[0]
        assert service.engine.ctx.fleets["web"].stretch == 9.0
        starving.cancel()
        await until(lambda: bool(incidents(service)), 200)
        await calm(service, world)
        assert service.engine.ctx.fleets["web"].stretch == 1.0

    there.live(story)
    assert "amnesty.begun" in {m.kind for m in there.chat.messages}


def test_while_nobody_can_be_heard_nobodys_silence_says_anything() -> None:
    """A broker that is away for ten minutes: told once, and once that it is back; nobody leaves, then or after."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await beat(service, world, 200)
        name = instances(service)[0].id
        chart = service.engine.ctx.fleets["web"].charts[name]
        service.report(HeartbeatsDeaf("the broker is away"))
        await asyncio.sleep(20)
        assert [] == told(there, "heartbeats.lost")
        await asyncio.sleep(580)
        assert ["heartbeats are not heard: the broker is away; their silence accuses nobody meanwhile"] == told(
            there, "heartbeats.lost"
        )
        assert chart.heartbeat_fresh(world.clock.boot) is None
        service.report(HeartbeatsDeaf(""))
        await beat(service, world, 40, but=name)
        assert chart.heartbeat_fresh(world.clock.boot) is None
        await beat(service, world, 20, but=name)
        assert chart.heartbeat_fresh(world.clock.boot) is False
        assert ["heartbeats are heard again"] == told(there, "heartbeats.back")
        assert {Lifecycle.IN_SERVICE} == {i.lifecycle for i in instances(service)}
        assert [] == incidents(service)

    there.live(story)


def test_when_most_fall_silent_at_once_it_is_no_machines_fault() -> None:
    """Seen before the first of them goes stale: none is ever mute, however long it lasts."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await beat(service, world, 200)
        charts = service.engine.ctx.fleets["web"].charts
        for _ in range(600):
            await asyncio.sleep(1)
            assert [] == [name for name, chart in charts.items() if chart.mute_since is not None]
        assert "machines of fleet web fell silent at once" in told(there, "heartbeats.lost")[0]
        await beat(service, world, 60)
        assert ["heartbeats are heard again"] == told(there, "heartbeats.back")

    there.live(story)
