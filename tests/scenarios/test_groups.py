"""Stories of fleets whose machines belong to an Auto Scaling group: it launches and registers, we detach what is sick."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from supervisor.core import views
from supervisor.core.model import Incident, IncidentKind, IncidentState, Resolution
from supervisor.core.requests import Deregister, Isolate, Launch, Register, Restart, Terminate
from supervisor.core.terms import Lifecycle, Mode, Role
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, Group, World
from tests.stages import ALIVE, calm, fleet, incidents, instances, open_incidents, settings, stage


def grouped(desired: int = 4, *, mode: Mode = Mode.AUTO, group: Group | None = None, **changes: Any) -> Stage:
    """Return a world with a group that keeps a fleet."""
    there = stage(settings(fleet(desired, group="web", **changes), mode=mode))
    there.world.groups["web"] = group or Group("web", desired)
    return there


async def proved(service: Service, world: World) -> list[str]:
    """Wait until every machine has left probation; return them."""
    size = world.groups["web"].size
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == size, 3600)
    await calm(service, world)
    return [i.id for i in instances(service)]


def verbs(world: World) -> list[tuple[str, str]]:
    """Return what was changed, and on whom."""
    return [(c.request.verb, getattr(c.request, "instance", "")) for c in world.calls if c.effect]


def texts(service: Service, number: int) -> list[str]:
    """Return an incident's story."""
    return [n.text for n in service.engine.ctx.world.need(Incident, number).notes]


def holds(there: Stage) -> None:
    """Demand every safety invariant, and that the group's own work was left to it."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings))
    assert [] == [c for c in there.world.calls if isinstance(c.request, Launch | Register | Deregister)]


def test_a_group_that_is_found_is_adopted_and_nothing_is_done() -> None:
    """Who serves already is believed, and watched."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(story)
    assert [] == there.world.calls
    holds(there)


def test_a_sick_member_is_captured_and_isolated_and_the_group_fills_its_place() -> None:
    """The incident goes on until the new member serves; the machine is kept as any other."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: world.machines[first].isolated, 120)
        await asyncio.sleep(10)
        [incident] = open_incidents(service)
        assert (IncidentState.OPEN, Resolution.NONE) == (incident.state, incident.resolution)
        waits = 'group: Auto Scaling group "web" launches here (needs a new machine from it)'
        assert (waits,) == incident.held_why
        await calm(service, world)
        [incident] = incidents(service)
        assert (Resolution.REPLACED, "i-0005") == (incident.resolution, incident.replacement)
        story_told = texts(service, incident.id)
        assert "replace: capture, isolate" in story_told
        assert any(t.startswith(f"i-0005 (zone b) serves in place of {first} — detected ") for t in story_told)
        assert [Lifecycle.QUARANTINED] == [i.lifecycle for i in instances(service) if i.id == first]
        assert 4 == world.serving("web")
        await proved(service, world)

    there.live(story)
    assert [("capture", "i-0001"), ("isolate", "i-0001")] == verbs(there.world)
    holds(there)


def test_two_sick_members_are_healed_one_after_the_other() -> None:
    """The second waits until the first one's replacement has proved itself."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        sick = (await proved(service, world))[:2]
        for name in sick:
            world.behave(name, Behaviour.ERRORS)
        await until(lambda: all(world.machines[name].isolated for name in sick), 7200, 1.0)
        await calm(service, world)
        assert {Resolution.REPLACED} == {i.resolution for i in incidents(service)}

    there.live(story)
    first, second = (c.at for c in there.world.calls if isinstance(c.request, Isolate) and c.effect)
    assert second - first > 600
    holds(there)


def test_a_group_that_never_delivers_is_a_humans_business() -> None:
    """Ten minutes after the detachment; when it delivers after all, the incident ends by itself."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.groups["web"].delivers = False
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: world.machines[first].isolated, 120)
        began = world.clock.boot
        await until(lambda: open_incidents(service)[0].state is IncidentState.ESCALATED, 1200)
        assert 600 <= world.clock.boot - began <= 603
        [incident] = open_incidents(service)
        said = 'Auto Scaling group "web" has not filled slot 0 within 600s, and nothing is launched here'
        assert any(said in text for text in texts(service, incident.id))
        card = views.incident_view(service.engine.ctx, incident)["card"]
        assert f"sickbay incidents {incident.id}" == card["ask"]
        await asyncio.sleep(1800)
        assert 1 == sum("has not filled" in text for text in texts(service, incident.id))
        world.groups["web"].delivers = True
        await calm(service, world)
        assert Resolution.REPLACED is incidents(service)[0].resolution

    there.live(story)
    holds(there)


def test_a_member_is_restarted_where_it_is() -> None:
    """It stays with the group and in the load balancer; a restart that helps is the end."""
    there = grouped(ladder=("restart", "replace"))

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 120)
        await calm(service, world)
        assert Resolution.RESTARTED is incidents(service)[0].resolution
        assert "restart: capture, restart, warm, confirm" in texts(service, incidents(service)[0].id)

    there.live(story)
    assert [("capture", "i-0001"), ("restart", "i-0001")] == verbs(there.world)
    holds(there)


def test_a_restart_that_does_not_help_is_followed_by_the_next_rung() -> None:
    """Set aside after all, and replaced by the group."""
    there = grouped(ladder=("restart", "replace"))
    there.settings = replace(there.settings, judgement=replace(there.settings.judgement, boot_deadline=120.0))

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: bool(world.machines[first].restarts), 120)
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: world.machines[first].isolated, 1800, 1.0)
        await calm(service, world)
        assert Resolution.REPLACED is incidents(service)[0].resolution

    there.live(story)
    assert ["capture", "restart", "capture", "isolate"] == [verb for verb, _ in verbs(there.world)]
    holds(there)


def test_a_member_that_the_group_replaces_itself_is_followed() -> None:
    """We only look on: the place is empty, and filled by the group."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.vanish(first)
        await until(lambda: bool(incidents(service)), 300)
        await calm(service, world)
        [incident] = incidents(service)
        assert (IncidentKind.VANISHED, Resolution.REPLACED) == (incident.kind, incident.resolution)
        assert "i-0005" == incident.replacement

    there.live(story)
    assert [] == there.world.calls
    holds(there)


def test_missing_members_are_not_launched() -> None:
    """The group is smaller than the fleet should be: told, and after ten minutes a person is asked."""
    there = grouped(4, group=Group("web", 3))

    async def story(service: Service, world: World) -> None:
        await until(lambda: world.serving("web") == 3, 300)
        await asyncio.sleep(900)
        [incident] = [i for i in service.engine.ctx.world.all(Incident) if not i.instance]
        assert IncidentState.ESCALATED is incident.state
        assert 'group: Auto Scaling group "web" launches here' in " ".join(texts(service, incident.id))
        world.groups["web"].size = 4
        await calm(service, world)

    there.live(story)
    assert [] == there.world.calls
    holds(there)


def test_a_newcomer_that_does_not_come_up_is_left_to_the_group() -> None:
    """Told, not touched; when it comes up late, it is taken in after all."""
    there = grouped()

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: "i-0005" in world.machines, 300)
        world.machines["i-0005"].behaviour = Behaviour.ERRORS
        await until(lambda: bool(open_incidents(service)[0].state is IncidentState.ESCALATED), 1800, 1.0)
        told = texts(service, open_incidents(service)[0].id)
        assert 1 == sum("i-0005 does not serve: not ready after 600s" in text for text in told)
        assert 1 == sum('it is left to Auto Scaling group "web"' in text for text in told)
        await asyncio.sleep(900)
        world.machines["i-0005"].behaviour = Behaviour.WELL
        await calm(service, world)
        assert "i-0005" == incidents(service)[0].replacement

    there.live(story)
    assert [("capture", "i-0001"), ("isolate", "i-0001")] == verbs(there.world)
    holds(there)


def test_a_member_that_is_not_ready_stays_where_its_group_put_it() -> None:
    """Withdrawn, it would look unhealthy to its group, and be destroyed."""
    there = grouped(checks=(replace(ALIVE, name="ready", role=Role.READINESS),))

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await asyncio.sleep(900)
        world.behave(first, Behaviour.WELL)
        await calm(service, world)

    there.live(story)
    assert [] == there.world.calls
    holds(there)


@pytest.mark.parametrize(("theirs", "ours"), [("other", ""), ("other", "web"), ("", "web")])
def test_whose_machine_it_is_not_is_left_alone(theirs: str, ours: str) -> None:
    """However well it carries the fleet's tag: somebody else may end it, or nobody registers it here."""
    there = grouped(2) if ours else stage(settings(fleet(2)))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        stranger = replace(next(iter(world.machines.values())), id="i-stranger", group=theirs)
        world.machines[stranger.id] = stranger
        world.vanish(next(iter(world.machines)))
        await asyncio.sleep(120)
        await calm(service, world)
        assert stranger.id not in [i.id for i in instances(service)]

    there.live(story)
    [said] = [m.text for m in there.chat.messages if "i-stranger" in m.text]
    owner = f'to Auto Scaling group "{theirs}"' if theirs else "to no Auto Scaling group"
    assert said.endswith(f"carries the fleet's tag, but belongs {owner}: it is left alone")


def test_observing_a_group_it_only_says_what_it_would_do() -> None:
    """And still takes its members in."""
    there = grouped(mode=Mode.OBSERVE)

    async def story(service: Service, world: World) -> None:
        first = (await proved(service, world))[0]
        world.behave(first, Behaviour.ERRORS)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(600)
        assert ("mode",) == open_incidents(service)[0].held

    there.live(story)
    assert [] == [c for c in there.world.calls if isinstance(c.request, Isolate | Restart | Terminate)]
