"""Stories of the end of a quarantine: announced on the machine, held back by anyone until the notice has run out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from supervisor.core import views
from supervisor.core.journal import Step, Workflow, WorkflowKind
from supervisor.core.model import Incident, Instance, Quarantine
from supervisor.core.requests import Mark, Outcome, Refused, Request, Stop, Terminate, Throttled
from supervisor.core.settings import Guards, Retention
from supervisor.core.signals import Hold, Purge, ReleaseFromQuarantine, Unhold
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, Call, World
from tests.stages import ask, calm, commits, fleet, incidents, instances, open_incidents, settings, stage

ROOMY = replace(Guards(), daily_least=9, hourly_least=9, cooldown=0.0, breaker_window=60.0)
SHORT = Retention(running=900.0, kept=1800.0, notice=1200.0)


def kept(service: Service) -> list[str]:
    """Return who is in quarantine."""
    return [q.instance for q in service.engine.ctx.world.all(Quarantine) if q.ended_at is None]


async def proved(service: Service, world: World) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == len(world.live("web")), 3600)


async def one_kept(service: Service, world: World) -> str:
    """Bring one more machine into quarantine; return its id."""
    await proved(service, world)
    before, count = set(kept(service)), len(incidents(service))
    world.behave(instances(service, Lifecycle.IN_SERVICE)[0].id, Behaviour.ERRORS)
    await until(lambda: len(incidents(service)) > count, 120)
    await calm(service, world)
    return next(iter(set(kept(service)) - before))


def calls(world: World, *kinds: type[Request]) -> list[Call]:
    """Return the calls of these kinds that changed something."""
    return [c for c in world.calls if isinstance(c.request, kinds) and c.effect]


def texts(there: Stage, kind: str) -> list[str]:
    """Return what was told of one kind."""
    return [m.text for m in there.chat.messages if m.kind == kind]


def holds(there: Stage, *asked: str) -> None:
    """Demand every safety invariant; `asked` are those that an operator wanted destroyed."""
    found = check(Evidence(there.records(), there.world, there.commits, there.settings, frozenset(asked)), ended=False)
    assert [] == found


async def marked(service: Service, world: World) -> str:
    """Bring a machine to where its end is announced; return its id."""
    name = await one_kept(service, world)
    await until(lambda: service.engine.ctx.world.need(Quarantine, name).marked_at is not None, 1900, 1.0)
    return name


def test_a_quarantined_machine_is_stopped_then_its_end_is_announced_and_comes() -> None:
    """Running for its time, kept for its time, and an hour in which everybody may still say no."""
    there = stage(settings(fleet(2), retention=SHORT))

    async def story(service: Service, world: World) -> None:
        name = await one_kept(service, world)
        record = service.engine.ctx.world.need(Quarantine, name)
        await until(lambda: world.machines[name].terminated, 4000, 1.0)
        stopped, mark, end = (calls(world, kind)[0] for kind in (Stop, Mark, Terminate))
        isolated = next(c.at for c in world.calls if c.request.verb == "isolate" and c.effect)
        assert [900, 1800, 1200] == [
            round(stopped.at - isolated, -1), round(mark.at - isolated, -1), round(end.at - mark.at, -1)
        ]  # fmt: skip
        assert Mark("web", name, mark.request.token, "expired") == mark.request
        assert Terminate("web", name, end.request.token, waived="") == end.request
        ending = f"{name} is destroyed at {record.expires_at + timedelta(minutes=20):%Y-%m-%d %H:%M}"
        assert [f"{ending} UTC; `sickbay hold {name}` keeps it"] == texts(there, "quarantine.ending")
        await until(lambda: not kept(service), 2, 0.1)

    there.live(story)
    holds(there)


def test_while_the_notice_runs_the_documents_say_when_it_ends() -> None:
    """Nothing is looked at each second for an hour, either."""
    there = stage(settings(fleet(2), retention=SHORT))

    async def story(service: Service, world: World) -> None:
        name = await marked(service, world)
        await asyncio.sleep(120)
        record = service.engine.ctx.world.need(Quarantine, name)
        document = views.quarantine_view(service.engine.ctx, record)
        assert record.marked_at is not None
        ends = record.marked_at + timedelta(minutes=20)
        assert ends.isoformat(timespec="milliseconds") == document["ends_at"]
        assert "" == document["held"]
        before = commits(there)
        await asyncio.sleep(500)
        assert before == commits(there)
        look = service.engine.ctx.fleets["web"].look
        assert look is not None
        assert look > world.clock.boot + 500

    there.live(story)


async def by_an_operator(service: Service, world: World, name: str) -> str:
    """Hold it by the operator's word."""
    assert (await ask(service, Hold(name, seconds=2 * 3600), "evidence")).ok
    return "held by ada until"


async def on_the_machine(service: Service, world: World, name: str) -> str:
    """Hold it by a word on the machine itself."""
    world.machines[name].held = "ticket 7"
    return "held on the machine itself: ticket 7"


async def end_hold(service: Service, world: World, name: str) -> None:
    """End either hold."""
    world.machines[name].held = ""
    if service.engine.ctx.world.need(Instance, name).held_until is not None:
        assert (await ask(service, Unhold(name))).ok


@pytest.mark.parametrize("hold", [by_an_operator, on_the_machine])
def test_a_hold_within_the_notice_takes_the_mark_back(hold: Callable[[Service, World, str], Awaitable[str]]) -> None:
    """And the machine is announced anew, with the whole notice, when the hold is over."""
    there = stage(settings(fleet(2), retention=SHORT))

    async def story(service: Service, world: World) -> None:
        name = await marked(service, world)
        first = service.engine.ctx.world.need(Quarantine, name).expires_at
        why = await hold(service, world, name)
        await until(lambda: world.machines[name].mark == "", 30)
        purge = next(w for w in service.engine.ctx.world.all(Workflow) if w.kind is WorkflowKind.PURGE)
        assert "abandoned" == purge.state
        assert why in purge.outcome
        assert service.engine.ctx.world.need(Quarantine, name).expires_at > first
        assert why in views.quarantine_view(service.engine.ctx, service.engine.ctx.world.need(Quarantine, name))["held"]
        assert 1 == len(texts(there, "quarantine.kept"))
        await asyncio.sleep(5400)
        assert not world.machines[name].terminated
        refused = await ask(service, Purge(name))
        assert not refused.ok
        await end_hold(service, world, name)
        await until(lambda: world.machines[name].terminated, 3 * 3600, 1.0)

    there.live(story)
    assert ["expired", "", "expired"] == [c.request.state for c in calls(there.world, Mark)]  # type: ignore[union-attr]  # they are marks
    holds(there)


def test_an_operator_need_not_wait_for_the_notice() -> None:
    """Purged while the notice runs: at once, without a second mark, and in the operator's name."""
    there = stage(settings(fleet(2), retention=SHORT))
    asked: list[str] = []

    async def story(service: Service, world: World) -> None:
        asked.append(await marked(service, world))
        assert (await ask(service, Purge(asked[0]))).ok
        await until(lambda: world.machines[asked[0]].terminated, 30)
        assert "purged" == service.engine.ctx.world.need(Quarantine, asked[0]).ended_by

    there.live(story)
    assert 1 == len(calls(there.world, Mark))
    assert ["ada"] == [c.request.waived for c in calls(there.world, Terminate)]  # type: ignore[union-attr]  # it is one
    holds(there, *asked)


def test_an_operator_releases_a_machine_whose_end_was_announced() -> None:
    """The mark goes first: nothing serves that anyone may destroy."""
    there = stage(settings(fleet(2), retention=SHORT))

    async def story(service: Service, world: World) -> None:
        name = await marked(service, world)
        world.behave(name, Behaviour.WELL)
        world.machines[name].passes = 0
        assert (await ask(service, ReleaseFromQuarantine(name))).ok
        await until(lambda: world.machines[name].registered_at is not None, 600)
        assert "" == world.machines[name].mark
        await asyncio.sleep(1800)
        assert not world.machines[name].terminated

    there.live(story)
    order = [c.request.verb for c in there.world.calls if c.effect][-3:]
    assert ["mark", "restore", "register"] == order
    holds(there)


def test_a_refused_end_is_put_off_by_an_hour_without_another_mark() -> None:
    """A snapshot that still goes on: once an hour it is asked again, in between nothing."""
    there = stage(settings(fleet(2), retention=SHORT))
    tries: list[float] = []

    def refuse(request: Request) -> Outcome | None:
        if isinstance(request, Terminate) and len(tries) < 3:
            tries.append(there.world.clock.boot)
            return Refused("snapshot snap-1 is still pending")
        return None

    there.make_cloud = lambda world, name, life: FakeCloud(world, name, life, refuse=refuse)

    async def story(service: Service, world: World) -> None:
        name = await one_kept(service, world)
        await until(lambda: world.machines[name].terminated, 6 * 3600, 1.0)

    there.live(story)
    assert [3600, 3600] == [round(b - a, -1) for a, b in itertools.pairwise(tries)]
    assert 1 == len(calls(there.world, Mark))
    holds(there)


@pytest.mark.parametrize("days", [4, -4])
def test_nobody_is_destroyed_because_the_wall_clock_was_set(days: int) -> None:
    """A notice that a clock swallowed is given anew."""
    there = stage(settings(fleet(2), retention=SHORT))

    async def story(service: Service, world: World) -> None:
        name = await marked(service, world)
        world.clock.jump_wall(days * 86400.0)
        await asyncio.sleep(1100)
        assert not world.machines[name].terminated
        world.clock.jump_wall(-days * 86400.0)
        await asyncio.sleep(1100)
        assert not world.machines[name].terminated
        await until(lambda: world.machines[name].terminated, 2 * 3600, 1.0)

    there.live(story)
    holds(there)


def test_a_candidate_that_never_served_gets_no_notice() -> None:
    """Nobody's evidence is lost that another one does not hold: marked as failed, destroyed at once."""
    there = stage(settings(fleet(1), retention=replace(SHORT, kept=1e6, running=1e6)))
    there.world.bad_images.add("img-1")

    async def story(service: Service, world: World) -> None:
        await until(lambda: bool(calls(world, Terminate)), 3600)
        mark, end = calls(world, Mark)[0], calls(world, Terminate)[0]
        assert isinstance(mark.request, Mark)
        assert ("failed-candidate", mark.request.instance) == (mark.request.state, end.request.instance)  # type: ignore[union-attr]  # it names one
        assert end.at - mark.at < 5
        assert [] == texts(there, "quarantine.ending")

    there.live(story)
    holds(there)


def test_the_oldest_makes_room_for_the_third_with_the_notice() -> None:
    """The newest is replaced at once and waits outside the load balancer; only its isolation waits for the room."""
    there = stage(settings(fleet(3), guards=ROOMY, retention=replace(SHORT, running=1e6, kept=1e6)))

    async def story(service: Service, world: World) -> None:
        oldest = await one_kept(service, world)
        await asyncio.sleep(300)
        await one_kept(service, world)
        await asyncio.sleep(300)
        await proved(service, world)
        third = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.behave(third, Behaviour.ERRORS)
        await until(lambda: world.machines[oldest].mark == "expired", 600)
        assert 3 == world.serving("web")
        assert world.machines[third].registered_at is None
        await asyncio.sleep(1000)
        assert ("quarantine_cap",) == open_incidents(service)[0].held
        assert not world.machines[oldest].terminated
        await until(lambda: world.machines[third].isolated, 900)
        assert world.machines[oldest].terminated
        assert 2 == len(kept(service))

    there.live(story)
    holds(there)


def test_nobody_waits_for_a_healed_machine_that_waits_for_room() -> None:
    """The third is replaced and its replacement proved; that the quarantine has no room for it yet concerns no fourth."""
    there = stage(settings(fleet(16), guards=ROOMY, retention=replace(SHORT, running=1e6, kept=1e6, notice=1e5)))

    async def story(service: Service, world: World) -> None:
        await one_kept(service, world)
        await asyncio.sleep(300)
        await one_kept(service, world)
        await asyncio.sleep(300)
        await proved(service, world)
        third = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.behave(third, Behaviour.ERRORS)
        await until(lambda: third in (i.id for i in instances(service, Lifecycle.WITHDRAWN)), 400)
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 16, 3600)
        fourth = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.behave(fourth, Behaviour.ERRORS)
        await until(lambda: world.machines[fourth].registered_at is None, 600)
        await until(lambda: world.serving("web") == 16, 400)
        assert not world.machines[third].isolated

    there.live(story)
    holds(there)


def test_what_quarantine_costs_is_bounded_by_stopping_the_oldest() -> None:
    """Two at $2.40 a day would be over $3: the first is stopped, its disk stays, and the second has room."""
    price = settings(fleet(3, hourly_price=0.1), guards=replace(ROOMY, quarantine_daily=3.0))
    there = stage(price)

    async def story(service: Service, world: World) -> None:
        first = await one_kept(service, world)
        await asyncio.sleep(300)
        assert not world.machines[first].stopped
        second = await one_kept(service, world)
        assert world.machines[first].stopped
        assert not world.machines[second].stopped
        assert "" == world.machines[first].mark
        story_told = [n.text for n in service.engine.ctx.world.need(Incident, 3).notes]
        cost = "quarantine_cost: $2.40 a day for 1 kept (needs at most $3.00 with one more)"
        assert [f"would isolate, but holds: {cost}"] == [t for t in story_told if "holds" in t]

    there.live(story)
    assert [] == calls(there.world, Terminate)
    holds(there)


def test_a_hold_during_a_pause_stops_an_end_that_was_about_to_come() -> None:
    """The end was dispatched, the pause stopped it: it certainly did nothing, so the hold is asked about first."""
    there = stage(settings(fleet(3), retention=SHORT, guards=ROOMY))

    class Throttles(FakeCloud):
        async def perform(self, request: Request) -> Outcome:
            if isinstance(request, Terminate) and paused:
                return Throttled("paused by ada")
            return await super().perform(request)

    there.make_cloud = Throttles
    paused = True

    async def story(service: Service, world: World) -> None:
        nonlocal paused
        name = await one_kept(service, world)
        await until(lambda: bool(steps(service, "terminate")), 7200)
        await asyncio.sleep(120)
        assert (await ask(service, Hold(name, 7200.0))).ok
        paused = False
        await asyncio.sleep(600)
        assert not world.machines[name].terminated

    there.live(story)


def steps(service: Service, name: str) -> list[Step]:
    """Return the rows of one step."""
    return [row for row in service.engine.ctx.world.all(Step) if row.name == name]
