"""Stories of new checks: watched first; they vote when those pass that are well otherwise, and are refused else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from supervisor.core.model import CheckStanding
from supervisor.core.settings import CheckPolicy, Settings
from supervisor.core.signals import Result
from supervisor.core.terms import Role, Seconds, Standing, Status
from supervisor.runtime.service import Service
from supervisor.sim.world import World
from tests.scenarios.test_storms import proved, told
from tests.stages import ALIVE, fleet, removals, settings, stage

FIRST = replace(ALIVE, version="1")
NEW = CheckPolicy("page", "http", Role.LIVENESS, 10.0, 3.0, version="1")


def with_checks(*checks: CheckPolicy) -> Settings:
    """Return settings of a fleet with these checks."""
    return settings(fleet(5, checks=checks))


def standing(service: Service, check: str) -> Standing:
    """Return what is known of a check."""
    return service.engine.ctx.world.need(CheckStanding, "web", check).standing


ROWS = {
    "all pass it": (0, Standing.GOOD, "check.votes"),
    "four of five pass it": (1, Standing.GOOD, "check.votes"),
    "three of five pass it": (2, Standing.CONDEMNED, "check.refused"),
    "nobody passes it": (5, Standing.CONDEMNED, "check.refused"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_new_check_votes_only_when_the_healthy_pass_it(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is watched its failures make nobody suspect; ten minutes later it has its answer, told once."""
    fails, expected, kind = ROWS[row]
    there = stage(with_checks(FIRST))

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)
        assert Standing.GOOD is standing(service, "alive")  # a new fleet's checks vote at once

    there.live(boot)
    there.settings = with_checks(FIRST, NEW)
    liars = {m.id for m in there.world.live("web")[:fails]}
    honest = World.ask

    def lie(self: World, name: str, check: str, timeout: Seconds) -> Result:
        result = honest(self, name, check, timeout)
        return result._replace(status=Status.CRITICAL) if check == "page" and name in liars else result

    monkeypatch.setattr(World, "ask", lie)

    async def story(service: Service, world: World) -> None:
        engine_fleet = service.engine.ctx.fleets["web"]
        await asyncio.sleep(500)
        assert Standing.SHADOW is standing(service, "page")
        assert not engine_fleet.suspects | engine_fleet.sick
        await asyncio.sleep(160)
        assert expected is standing(service, "page")
        await asyncio.sleep(20)
        assert bool(engine_fleet.suspects | engine_fleet.sick or removals(world)) is (
            expected is Standing.GOOD and fails > 0
        )

    there.live(story)
    assert len(told(there, "check.watched")) == 1
    assert len(told(there, kind)) == 1
    if expected is Standing.CONDEMNED:
        assert [] == removals(there.world)
