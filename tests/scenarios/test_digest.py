"""Stories of a week in numbers: what is counted, and that it is told once however often somebody asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from supervisor.core.digest import sentences, weigh
from supervisor.core.model import Incident, IncidentKind, IncidentState, Quarantine, Resolution
from supervisor.core.signals import DigestDue, ReleaseFromQuarantine
from supervisor.core.terms import Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, World
from tests import stages

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NEXT = MONDAY + timedelta(days=7)


def told(there: Stage) -> list[str]:
    """Return the digests' lines."""
    return [m.text for m in there.chat.messages if m.kind == "digest.told"]


async def due(service: Service) -> DigestDue:
    """Let a digest be due now."""
    signal = DigestDue(service.engine.ctx.now.wall)
    service.inbox.put(signal)
    await asyncio.sleep(3)
    return signal


async def begins(service: Service, world: World) -> None:
    """A fleet is well, and the first digest begins."""
    await stages.calm(service, world)
    await until(lambda: not stages.instances(service, Lifecycle.PROBATION), 3600)
    await due(service)


def test_a_healing_is_told_in_numbers_once() -> None:
    """What was healed and how long it took; the same moment again, also in a later life, says nothing."""
    there = stages.stage()
    asked: list[DigestDue] = []
    there.live(begins)
    assert [] == told(there)

    async def heals(service: Service, world: World) -> None:
        await stages.calm(service, world)
        world.behave(stages.instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: any(i.closed_at for i in stages.incidents(service)), 3600)
        asked.append(await due(service))
        service.inbox.put(asked[0])
        await asyncio.sleep(3)

    there.live(heals)
    lines = told(there)

    async def asks_again(service: Service, world: World) -> None:
        await stages.calm(service, world)
        service.inbox.put(asked[0])
        await asyncio.sleep(3)

    there.live(asks_again)
    assert lines == told(there)
    assert 1 == sum(": 1 incident, 1 healed (1 replaced), 0 recovered by itself, 0 open" in line for line in lines)
    assert "web: of 1 machine taken away none turned out well" in lines
    assert "web: false alarms, by check: alive 0 of 1 (under 1 %)" in lines
    assert any(line.startswith("web: detected after ") and " recovered after " in line for line in lines)


def test_what_a_guard_held_and_what_recovered_by_itself_is_told() -> None:
    """An alarm where nothing was needed is a false one, whatever held us."""
    there = stages.stage()
    there.live(begins)
    there.settings = stages.settings(mode=Mode.OBSERVE)

    async def recovers(service: Service, world: World) -> None:
        await stages.calm(service, world)
        sick = stages.instances(service)[0].id
        world.behave(sick, Behaviour.ERRORS)
        await until(lambda: any(i.held for i in stages.incidents(service)), 1200)
        world.behave(sick, Behaviour.WELL)
        await until(lambda: any(i.closed_at for i in stages.incidents(service)), 3600)
        await due(service)

    there.live(recovers)
    lines = told(there)
    assert any("1 incident, 0 healed, 1 recovered by itself, 0 open" in line for line in lines)
    assert any(line.startswith("web: incidents held, by guard: ") and "mode 1" in line for line in lines)
    assert "web: false alarms, by check: alive 1 of 1 (over 99 %)" in lines


def test_a_machine_that_turns_out_well_after_its_removal_is_regretted() -> None:
    """It was brought back from quarantine and passed its startup checks: taking it away was wrong."""
    there = stages.stage()
    there.live(begins)
    names: list[str] = []

    async def regrets(service: Service, world: World) -> None:
        await stages.calm(service, world)
        sick = stages.instances(service)[0].id
        names.append(sick)
        world.behave(sick, Behaviour.ERRORS)
        await until(lambda: bool(stages.instances(service, Lifecycle.QUARANTINED)), 3600)
        await stages.calm(service, world)
        world.behave(sick, Behaviour.WELL)
        assert (await stages.ask(service, ReleaseFromQuarantine(sick))).ok
        ended = service.engine.ctx.world
        await until(lambda: ended.need(Quarantine, sick).ended_at is not None, 3600)
        await due(service)

    there.live(regrets)
    assert f"web: of 1 machine taken away 1 turned out well: {names[0]}" in told(there)
    assert "web: false alarms, by check: alive 1 of 1 (over 99 %)" in told(there)


def test_a_quiet_week_is_one_line_for_all_fleets() -> None:
    """Silence would leave open whether anybody still watches."""
    there = stages.stage()
    there.live(begins)

    async def nothing(service: Service, world: World) -> None:
        await stages.calm(service, world)
        await due(service)

    there.live(nothing)
    [line] = told(there)
    assert line.endswith("no incident in web")


def incident(number: int, opened: timedelta, **changes: object) -> Incident:
    """Return an incident that was opened so long after Monday, a minute after its first sign."""
    at = MONDAY + opened
    made = Incident(
        number, "web", f"i-{number}", IncidentKind.SICK, IncidentState.OPEN, "x", at, at - timedelta(minutes=1)
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # checked by the dataclass


def test_only_what_lies_between_the_two_moments_counts() -> None:
    """Each incident is opened in one digest and resolved in one, and no two tell the same."""
    hour = timedelta(hours=1)
    found = [
        incident(1, -hour, resolved_at=MONDAY, resolution=Resolution.REPLACED),
        incident(2, -hour, resolved_at=MONDAY + hour, resolution=Resolution.RESTARTED, accused=("alive",)),
        incident(3, hour, resolved_at=MONDAY + 2 * hour, resolution=Resolution.REPLACED, accused=("alive", "deep")),
        incident(4, hour, resolved_at=NEXT + hour, resolution=Resolution.REPLACED),
        incident(5, timedelta(days=7, seconds=1)),
        replace(incident(6, hour), fleet="api"),
    ]

    made = weigh("web", found, [], [], since=MONDAY, until=NEXT)

    assert (2, 1, (("replaced", 1), ("restarted", 1))) == (made.opened, made.open_still, made.healed)
    assert (("alive", 0, 2), ("deep", 0, 1)) == made.alarms
    assert (60.0, 5460.0) == (made.detected, made.recovered)
    assert "web: detected after 1m, recovered after 1h31m (medians, from the first sign)" in sentences(made, MONDAY)
