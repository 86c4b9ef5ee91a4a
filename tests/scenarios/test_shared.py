"""Stories of shared troubles: one incident for many, nobody removed, and what is left is healed when it is over.

The verdict is scripted: how it is found is proved elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from supervisor.core import challenge, diagnosis
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.machine import Placement
from supervisor.core.model import IncidentState, Instance
from supervisor.core.settings import Guards
from supervisor.core.terms import Cause
from supervisor.core.verdict import Explanation, Verdict, well
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from tests.scenarios.test_storms import proved, removed, safe, shared, told
from tests.stages import calm, fleet, instances, launches, open_incidents, removals, settings, stage

Script = Callable[[Context, Fleet], Verdict | None]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], None]:
    """Let a script say what is wrong, and whom it covers."""

    def script(say: Script) -> None:
        def diagnose(ctx: Context, fleet: Fleet) -> None:
            challenge.watch(fleet, ctx.now.boot, ctx.settings.explaining)  # the others are asked as always
            found = say(ctx, fleet)
            if found is None:
                if fleet.verdict.cause is not Cause.INSTANCE:
                    fleet.verdict = well(ctx.now.boot)
            elif (fleet.verdict.cause, fleet.verdict.value) != (found.cause, found.value):
                fleet.verdict = found
            elsewhere = (well(ctx.now.boot),) if fleet.verdict.cause is Cause.ZONE else ()
            fleet.investigation.chain = (fleet.verdict, *elsewhere)

        monkeypatch.setattr(diagnosis, "diagnose", diagnose)

    return script


def zone_a(ctx: Context, fleet: Fleet) -> Verdict | None:
    """Call it zone a while two of its machines are unwell."""
    ill = [i for i in sorted(fleet.sick | fleet.suspects) if ctx.world.need(Instance, i).zone == "a"]
    if len(ill) < 2:
        return None
    return Verdict(Cause.ZONE, "zone", "a", 0.99, ctx.now.boot, sentence=f"zone a: {len(ill)} sick (99 % sure)")


def accusing(cause: Cause, label: str, value: str, least: int = 2) -> Script:
    """Accuse one thing while so many machines are unwell."""

    def say(ctx: Context, fleet: Fleet) -> Verdict | None:
        ill = len(fleet.sick | fleet.suspects)
        sentence = f"{label} {value}: {ill} sick (97 % sure)"
        ranked = (Explanation(cause, label, value, 0.97), Explanation(Cause.INSTANCE, "", "", 0.03))
        return Verdict(cause, label, value, 0.97, ctx.now.boot, ranked, sentence) if ill >= least else None

    return say


def test_a_zone_that_is_out_is_one_incident_and_machines_are_added_elsewhere(judged: Callable[[Script], None]) -> None:
    """Nobody there is touched; two are added in the other zones; a crash elsewhere is healed; leftovers at the end."""
    judged(zone_a)
    there = stage(settings(fleet(9, zones=("a", "b", "c")), guards=Guards(breaker_window=300.0, cooldown=0.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        ctx = service.engine.ctx
        ill = [i.id for i in instances(service) if i.zone == "a"]
        for victim in ill:
            world.behave(victim, Behaviour.HANG)
        await until(lambda: bool(shared(service)), 120)
        await asyncio.sleep(900)
        assert [] == removals(world)
        assert [] == open_incidents(service)
        assert {"b", "c"} == {call.zone for call in launches(world)[9:]}
        assert len(launches(world)) == 9 + 2  # as the serving floor wants
        other = next(i.id for i in instances(service) if i.zone == "b" and i.slot is not None)
        world.behave(other, Behaviour.ERRORS)
        await until(lambda: len(removals(world)) == 2, 1200)
        assert {other} == removed(world)
        assert "a" not in {call.zone for call in launches(world)[9:]}
        for victim in ill[1:]:
            world.behave(victim, Behaviour.WELL)
        world.behave(ill[1], Behaviour.WELL)
        world.behave(ill[0], Behaviour.WELL)
        await until(lambda: IncidentState.CLOSED is shared(service)[0].state, 3600)
        assert "zone a is over after" in shared(service)[0].notes[-1].text
        await until(lambda: 9 == ctx.fleets["web"].serving == len(world.live("web")), 3 * 3600)
        assert not removed(world) & set(ill)

    there.live(story)
    assert len([m for m in there.chat.messages if m.kind == "incident.opened" and "zone a" in m.text]) == 1
    safe(there)


def test_the_zone_that_one_fleet_finds_impaired_counts_for_all(judged: Callable[[Script], None]) -> None:
    """A single machine of another fleet dies there: it waits, by name of the zone; what is missing comes elsewhere."""
    judged(lambda ctx, fleet: zone_a(ctx, fleet) if fleet.policy.name == "web" else None)
    both = {"web": fleet(6), "api": fleet(4, name="api")}
    there = stage(settings())
    there.settings = type(there.settings)(
        mode=there.settings.mode, fleets=both, guards=Guards(rescue_after=86400.0), surfaces=("chat",)
    )

    async def story(service: Service, world: World) -> None:
        world_of = service.engine.ctx.world
        await until(lambda: len(world.live("web")) == 6 and len(world.live("api")) == 4, 600)
        await asyncio.sleep(1200)
        for one in [i.id for i in instances(service) if i.zone == "a"]:
            world.behave(one, Behaviour.HANG)
        await until(lambda: bool(shared(service)), 120)
        api = [world_of.need(Instance, i) for i in sorted(world_of.members["api"])]
        ill = next(i for i in api if i.zone == "a")
        world.behave(ill.id, Behaviour.ERRORS)
        await until(lambda: bool(open_incidents(service)), 120)
        assert "zone" in open_incidents(service)[0].held
        gone = next(i for i in api if i.zone == "a" and i.id != ill.id)
        world.vanish(gone.id)
        await until(lambda: len(launches(world)) == 11, 300)
        assert "b" == launches(world)[10].zone

    there.live(story)
    assert [] == removals(there.world)


@pytest.mark.parametrize(
    ("cause", "label", "value"),
    [(Cause.DEPENDENCY, "dependency", "db"), (Cause.FLEET, "", ""), (Cause.UNEXPLAINED, "", "")],
    ids=["a dependency", "the whole fleet", "nobody knows what"],
)
def test_what_is_shared_is_told_once_and_nobody_is_removed(
    judged: Callable[[Script], None], cause: Cause, label: str, value: str
) -> None:
    """One incident that names it; it ends five minutes after the last sign, with its summary."""
    judged(accusing(cause, label, value))
    there = stage(settings(guards=Guards(rescue_after=86400.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)[:3]]:
            world.behave(victim, Behaviour.ERRORS)
        await asyncio.sleep(900)
        [trouble] = shared(service)
        assert cause is trouble.verdict
        assert IncidentState.OPEN is trouble.state
        for machine in world.live("web"):
            world.behave(machine.id, Behaviour.WELL)
        await calm(service, world)
        assert "is over after" in shared(service)[0].notes[-1].text
        assert "nobody was removed" in shared(service)[0].notes[-1].text

    there.live(story)
    assert [] == removals(there.world)
    assert len(launches(there.world)) == 6
    assert len([m for m in there.chat.messages if m.kind == "incident.opened" and "97 % sure" in m.text]) == 1
    safe(there)


def test_a_check_that_is_accused_loses_its_vote_and_the_sick_are_well_again(judged: Callable[[Script], None]) -> None:
    """It goes on being asked and shown."""
    judged(accusing(Cause.CHECK, "check", "alive"))
    there = stage(settings(guards=Guards(rescue_after=86400.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service)]:
            world.behave(victim, Behaviour.ERRORS)
        fleet = service.engine.ctx.fleets["web"]
        await until(lambda: bool(shared(service)), 120)
        await until(lambda: not fleet.sick | fleet.suspects, 120)
        assert frozenset({"alive"}) == fleet.muted
        assert all(chart.checks["alive"].fails > 0 for chart in fleet.charts.values())

    there.live(story)
    assert [] == removals(there.world)
    assert told(there, "incident.opened")


PLACES = tuple(Placement(zone, (("type", kind),)) for kind in ("large", "small") for zone in ("a", "b"))


def test_bad_hardware_is_replaced_by_other_hardware_one_wave_after_another(judged: Callable[[Script], None]) -> None:
    """Never more of what is accused while anything else can be had; one message wakes people, for all of them."""
    judged(accusing(Cause.COHORT, "type", "large", least=1))
    policy = fleet(9, placements=PLACES)
    there = stage(settings(policy, guards=Guards(rescue_after=86400.0, cooldown=0.0, breaker_share=0.5)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        ill = [i.id for i in instances(service)[:2]]
        for victim in ill:
            world.behave(victim, Behaviour.ERRORS)
        await until(lambda: set(ill) == removed(world), 3 * 3600)
        launched = launches(world)[9:]
        assert [{("type", "small")}] * 2 == [
            set(call.spec) & {("type", "small"), ("type", "large")} for call in launched
        ]

    there.live(story)
    assert 1 == len([text for text in told(there, "incident.opened") if "type large" in text])
    assert 2 == len(told(there, "incident.joined"))
    safe(there)


@pytest.mark.parametrize(("accused", "healed"), [("2.0.0", True), ("1.0.0", False)], ids=["another image", "its own"])
def test_a_bad_image_is_healed_from_another_one_only(
    judged: Callable[[Script], None], accused: str, healed: bool
) -> None:
    """While the accused image is the one that healing launches, a replacement would fail as well: nobody is removed."""
    judged(accusing(Cause.IMAGE, "image", accused))
    there = stage(settings(fleet(9), guards=Guards(rescue_after=86400.0, cooldown=0.0, breaker_share=0.5)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        ill = [i.id for i in instances(service)[:2]]
        for victim in ill:
            world.behave(victim, Behaviour.ERRORS)
        await asyncio.sleep(1800)
        assert (set(ill) if healed else set()) == removed(world)
        assert ["img-1"] * (2 if healed else 0) == [call.image for call in launches(world)[9:]]

    there.live(story)
    safe(there)


@pytest.mark.parametrize(("evacuate", "added"), [(True, 3), (False, 2)], ids=["evacuated", "as the floor wants"])
def test_a_zone_is_evacuated_only_where_that_is_wanted(
    judged: Callable[[Script], None], evacuate: bool, added: int
) -> None:
    """By default only what the serving floor lacks is added elsewhere: the zone may be back in a minute."""
    judged(zone_a)
    policy = fleet(9, zones=("a", "b", "c"))
    there = stage(settings(policy, guards=Guards(zone_evacuate=evacuate)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        for victim in [i.id for i in instances(service) if i.zone == "a"]:
            world.behave(victim, Behaviour.HANG)
        await asyncio.sleep(1200)
        assert {"b", "c"} == {call.zone for call in launches(world)[9:]}
        assert added == len(launches(world)) - 9

    there.live(story)
    assert [] == removals(there.world)
    safe(there)
