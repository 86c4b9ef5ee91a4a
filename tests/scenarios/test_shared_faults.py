"""Stories of shared faults: what many have in common is named, nobody is removed for it, and single faults still heal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from supervisor.core.cards import card
from supervisor.core.model import Change, CheckStanding, Incident, IncidentKind, Instance, Resolution
from supervisor.core.reasons import explain_fleet
from supervisor.core.requests import Launch
from supervisor.core.settings import CheckPolicy, FleetPolicy
from supervisor.core.signals import Result, SettingsLoaded
from supervisor.core.terms import BootTime, Cause, Lifecycle, Role, Scope, Seconds, Standing, Status
from supervisor.core.verdict import Verdict
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.time import VirtualClock
from supervisor.sim.world import Behaviour, World
from supervisor.store import MemoryStore
from tests.stages import ALIVE, calm, fleet, incidents, instances, launches, open_incidents, removals, settings, stage

PAGE = CheckPolicy("page", "http", Role.LIVENESS, 10.0, 3.0, version="1")
DEEP = CheckPolicy("deep", "http", Role.READINESS, 10.0, 3.0, Scope.DEEP, ("db",))


@dataclass(slots=True)
class Lying(World):
    """A world in which some checks fail whomever they ask: they are wrong, or what they ask on the way is down."""

    failing: set[str] = field(default_factory=set)
    only: str = ""  # the one machine that they fail, '' for every one

    def ask(self, id: str, check: str, timeout: Seconds) -> Result:
        """Answer, but badly where a check fails."""
        found = World.ask(self, id, check, timeout)
        if check in self.failing and self.only in ("", id) and found.status is Status.OK:
            return found._replace(status=Status.CRITICAL, text="HTTP 503, expected 200")
        return found


def wide(desired: int, zones: str, *checks: CheckPolicy) -> FleetPolicy:
    """Return a fleet over some zones."""
    return fleet(desired, zones=tuple(zones), checks=checks or (ALIVE,))


def lying(policy: FleetPolicy) -> tuple[Stage, Lying]:
    """Return a stage in such a world."""
    world = Lying(VirtualClock())
    return Stage(world, MemoryStore(), settings(policy)), world


async def proved(service: Service, world: World, count: int) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == count, 3600)


def troubles(service: Service) -> list[Incident]:
    """Return the incidents of what many share."""
    return [i for i in service.engine.ctx.world.all(Incident) if i.kind is IncidentKind.SHARED]


def verdict(service: Service) -> Verdict:
    """Return what is judged to be wrong with the fleet."""
    return service.engine.ctx.fleets["web"].verdict


def names(service: Service, cause: Cause, value: str = "") -> bool:
    """Return whether that is what is judged to be wrong."""
    return verdict(service).cause is cause and verdict(service).value == value


def in_zone(service: Service, zone: str) -> list[str]:
    """Return who stands in a zone."""
    return [i.id for i in instances(service) if i.zone == zone]


def holds(there: Stage, *, ended: bool = True) -> None:
    """No invariant is broken."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings), ended=ended)


def test_a_zone_that_is_down_is_named_and_nobody_is_removed() -> None:
    """Named within a minute; it stands for three more minutes after the zone is back, and then all is well."""
    there = stage(settings(wide(12, "abc")))

    async def story(service: Service, world: World) -> None:
        await proved(service, world, 12)
        cut_at = service.engine.ctx.now.wall
        for name in in_zone(service, "a"):
            world.behave(name, Behaviour.HANG)
        await until(lambda: names(service, Cause.ZONE, "a"), 60)
        said = verdict(service).sentence
        assert "zone a: 4 of 4 there are unwell, 0 of 8 elsewhere (over 99 % sure; " in said
        assert "unreachable" in said
        await asyncio.sleep(200)  # too short for a new machine to come in time
        [named] = troubles(service)
        first_sign = (named.suspected_at - cut_at).total_seconds()
        assert 0 < first_sign <= 15  # when the first of its machines was asked, not when the zone was named
        assert named.opened_at > named.suspected_at
        assert "nothing is removed" in card(service.engine.ctx, named).headline
        assert all("explanation" in i.held for i in open_incidents(service))
        for name in in_zone(service, "a"):
            world.behave(name, Behaviour.WELL)
        await asyncio.sleep(75)
        assert names(service, Cause.ZONE, "a")
        said = card(service.engine.ctx, service.engine.ctx.world.need(Incident, named.id)).headline
        assert said.endswith(
            "— DEGRADED until this is over, 12 of 12 serve — seems past, and is over after 10m of that"
        )
        waits = explain_fleet(service.engine.ctx, service.engine.ctx.fleets["web"])["waits_for"]
        assert any(w.startswith("zone a must have been well for 10m to be over, ") for w in waits)
        await until(lambda: names(service, Cause.INSTANCE), 400)
        await calm(service, world)
        assert [] == incidents(service)  # the zone's own incident tells of them all

    there.live(story)
    told = [m.text for m in there.chat.messages if m.kind == "fleet.state"]
    assert "web is DEGRADED: 8 of 12 serve" in told
    assert [] == removals(there.world)
    assert 12 == len(launches(there.world))
    holds(there)


def test_a_crash_elsewhere_is_healed_during_an_outage() -> None:
    """Zone a is down; the machine that dies in zone c has nothing to do with it."""
    there = stage(settings(wide(20, "abcd")))

    async def story(service: Service, world: World) -> None:
        await proved(service, world, 20)
        for name in in_zone(service, "a"):
            world.behave(name, Behaviour.HANG)
        await until(lambda: names(service, Cause.ZONE, "a"), 60)
        await asyncio.sleep(120)
        victim = in_zone(service, "c")[0]
        world.crash(victim)
        await until(lambda: world.machines[victim].isolated, 300)
        assert names(service, Cause.ZONE, "a")
        assert not any(world.machines[name].isolated for name in in_zone(service, "a"))

    there.live(story)
    assert 21 == len([c for c in there.world.calls if isinstance(c.request, Launch) and c.effect])
    holds(there, ended=False)


def test_two_unrelated_deaths_are_both_healed() -> None:
    """One after the other, in a fleet of six."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        await proved(service, world, 6)
        victims = [in_zone(service, "a")[0], in_zone(service, "b")[0]]
        world.crash(victims[0])
        world.behave(victims[1], Behaviour.ERRORS)
        await until(lambda: all(world.machines[name].isolated for name in victims), 4 * 3600)

    there.live(story)
    holds(there)


def test_a_check_that_was_changed_for_the_worse_is_named() -> None:
    """All machines fail it from the reload on: it is named though it has no vote yet, and nobody is touched."""
    policy = wide(6, "ab", ALIVE, PAGE)
    there, world = lying(policy)

    async def story(service: Service, _: World) -> None:
        await proved(service, world, 6)
        changed = replace(policy, checks=(ALIVE, replace(PAGE, version="2")))
        service.inbox.put(SettingsLoaded(settings(changed)))
        world.failing.add("page")
        await until(lambda: bool(troubles(service)), 90)
        (trouble,) = troubles(service)
        assert (Cause.CHECK, "check page") == (trouble.verdict, trouble.about)
        assert "check page was changed" in trouble.cause
        assert ["page"] == [c.target for c in service.engine.ctx.world.all(Change)]
        await asyncio.sleep(600)
        standing = service.engine.ctx.world.need(CheckStanding, "web", "page")
        assert Standing.CONDEMNED is standing.standing
        assert [trouble.id] == [i.id for i in troubles(service)]

    there.live(story)
    assert [] == removals(there.world)


def test_a_check_that_goes_wrong_by_itself_is_named_and_has_no_vote_any_more() -> None:
    """What answers it was changed, and nobody told us: it votes until the comparison of explanations accuses it."""
    policy = wide(6, "ab", ALIVE, PAGE)
    there, world = lying(policy)

    async def story(service: Service, _: World) -> None:
        await proved(service, world, 6)
        world.failing.add("page")
        await until(lambda: service.engine.ctx.fleets["web"].muted == {"page"}, 60)
        await asyncio.sleep(900)
        (trouble,) = troubles(service)
        assert (Cause.CHECK, "check page") == (trouble.verdict, trouble.about)
        assert Resolution.RECOVERED is trouble.resolution
        assert 6 == len(instances(service, Lifecycle.IN_SERVICE))

    there.live(story)
    assert [] == removals(there.world)


@pytest.mark.parametrize(
    "checks", [pytest.param((ALIVE, PAGE), id="others have a vote"), pytest.param((PAGE,), id="no other check")]
)
def test_who_was_sick_by_a_check_that_is_found_wrong_is_not_isolated(checks: tuple[CheckPolicy, ...]) -> None:
    """Its healing is under way when the same check fails everywhere: nothing that can't be undone is done by its word."""
    there, world = lying(wide(6, "ab", *checks))

    async def story(service: Service, _: World) -> None:
        await proved(service, world, 6)
        world.only = instances(service)[0].id
        world.failing.add("page")
        await until(lambda: bool(launches(world)[6:]), 300)
        world.only = ""
        await until(lambda: bool(service.engine.ctx.fleets["web"].muted), 120)
        await asyncio.sleep(600)
        (held,) = [i for i in incidents(service) if i.instance]
        assert {"evidence", "unheard"} & set(held.held)

    there.live(story)
    assert {"deregister"} >= {request.verb for request in removals(there.world)}


def test_who_goes_up_and_down_with_many_does_not_flap() -> None:
    """A database that comes and goes: when all is over, nobody leaves the load balancer for what was not its own."""
    there, world = lying(wide(12, "abc", ALIVE, DEEP))

    async def story(service: Service, _: World) -> None:
        await proved(service, world, 12)
        for _round in range(4):
            world.failing.add("deep")
            await asyncio.sleep(60)
            world.failing.clear()
            await asyncio.sleep(60)
        await asyncio.sleep(900)
        assert 12 == len(instances(service, Lifecycle.IN_SERVICE))
        assert not {"instance.flapping", "instance.withdrawn"} & {m.kind for m in there.chat.messages}

    there.live(story)
    assert [] == removals(there.world)


def test_a_broken_dependency_is_named_and_nobody_leaves_the_load_balancer() -> None:
    """What asks the database fails everywhere; the machines answer otherwise."""
    there, world = lying(wide(12, "abc", ALIVE, DEEP))

    async def story(service: Service, _: World) -> None:
        await proved(service, world, 12)
        world.failing.add("deep")
        await until(lambda: names(service, Cause.DEPENDENCY, "db"), 60)
        assert "dependency db: 12 of 12 are unwell" in verdict(service).sentence
        await asyncio.sleep(200)
        world.failing.clear()
        await until(lambda: names(service, Cause.INSTANCE), 400)

    there.live(story)
    assert [] == removals(there.world)
    told = [m.text for m in there.chat.messages if m.kind == "fleet.state"]
    assert "web is DEGRADED: 0 of 12 serve for certain, 12 may" == told[-1]  # nobody reads "12 of 12 serve" in bad news


def test_the_others_are_asked_afresh_before_a_machine_is_removed() -> None:
    """Right before the remediation begins, and again before the isolation."""
    there = stage(settings(wide(12, "abc")))
    rounds: list[BootTime] = []

    async def story(service: Service, world: World) -> None:
        await proved(service, world, 12)
        case = service.engine.ctx.fleets["web"].investigation
        victim = in_zone(service, "a")[0]
        world.crash(victim)

        def look() -> bool:
            if case.asked is not None and case.asked.at not in rounds:
                rounds.append(case.asked.at)
                assert victim not in case.asked.peers
                assert len(case.asked.peers) in (11, 12)  # the replacement is asked as well
            return world.machines[victim].isolated

        await until(look, 300, 0.1)
        instance = service.engine.ctx.world.need(Instance, victim)
        assert Lifecycle.QUARANTINED is instance.lifecycle

    there.live(story)
    begun = min(c.at for c in there.world.calls if c.request.verb == "deregister")
    ended = max(c.at for c in there.world.calls if c.request.verb == "isolate")
    assert any(at <= begun <= at + 15 for at in rounds)
    assert any(at <= ended <= at + 15 for at in rounds)
    assert [] == [m.text for m in there.chat.messages if "challenge" in m.text]
    holds(there)
