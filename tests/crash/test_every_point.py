"""A daemon that is killed anywhere finishes what it began: each commit and each cloud call of each workflow, in turn."""

from __future__ import annotations

import asyncio
import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from supervisor.core import triage
from supervisor.core.journal import Workflow, WorkflowKind, WorkflowState
from supervisor.core.machine import Leftover, LeftoverKind
from supervisor.core.model import Instance, Quarantine
from supervisor.core.settings import Guards, Judgement, Retention, Settings
from supervisor.core.signals import Hold, LeftoversSeen, Promote, Purge, ReleaseFromQuarantine
from supervisor.core.terms import Lifecycle, Role
from supervisor.runtime.service import Service
from supervisor.sim.failpoints import Life
from supervisor.sim.invariants import Evidence, Violation, check, quiescent
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, Group, World
from supervisor.store import MemoryStore
from tests.stages import ALIVE, TWO_CHECKS, ask, calm, fleet, incidents, instances, settings, stage

Breaks = Callable[[Service, World], None]


def nothing(_: Service, __: World) -> None:
    """Only the first boot."""


def crash(service: Service, world: World) -> None:
    """One machine dies."""
    world.crash(instances(service)[0].id)


def errors(service: Service, world: World) -> None:
    """One machine answers with errors."""
    world.behave(instances(service)[0].id, Behaviour.ERRORS)


def vanish(service: Service, world: World) -> None:
    """One machine is no longer listed."""
    world.vanish(instances(service)[0].id)


def zone_out(service: Service, world: World) -> None:
    """Zone a no longer answers, and its cloud says so."""
    for machine in world.live("web"):
        if machine.zone == "a":
            machine.behaviour, machine.impaired = Behaviour.HANG, "the host does not answer"


def zone_back(world: World) -> None:
    """Zone a answers again."""
    for machine in world.live("web"):
        if machine.zone == "a":
            machine.behaviour, machine.impaired = Behaviour.WELL, ""


READY = replace(ALIVE, name="ready", role=Role.READINESS)


def leave(service: Service, world: World) -> None:
    """A machine of yesterday has left a volume behind."""
    made = world.clock.now().wall - timedelta(hours=2)
    world.leave(Leftover("vol-1", "web", LeftoverKind.VOLUME, "i-gone", made))


def lost_journal(service: Service, world: World) -> None:
    """One machine runs outside the load balancer, and nobody remembers why."""
    world.machines[instances(service)[0].id].registered_at = None


SOON_OVER = Guards(zone_rescue_after=15.0, zone_quiet=40.0, breaker_window=60.0, breaker_quiet=15.0, half_open=20.0)


@dataclass(frozen=True)
class Case:
    """A workflow from its cause to its end."""

    breaks: Breaks
    ladder: tuple[str, ...] = ("replace",)
    then: str = ""  # what an operator asks for afterwards
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings
    fleet_changes: dict[str, Any] = field(default_factory=dict)
    size: int = 3


CASES = {
    "the first boot": Case(nothing),
    "a crash, replaced": Case(crash),
    "errors, replaced": Case(errors),
    "errors, restarted": Case(errors, ("restart", "replace")),
    "errors, set aside and filled": Case(errors, ("quarantine",)),
    "a vanished machine, filled": Case(vanish),
    "released from quarantine": Case(errors, ("replace",), "release"),
    "purged from quarantine": Case(errors, ("replace",), "purge"),
    "stopped in quarantine": Case(errors, ("replace",), "stop", changes={"retention": Retention(60.0, 1e6)}),
    "destroyed when its time and its notice are over": Case(
        errors, ("replace",), "end", changes={"retention": Retention(1e6, 60.0, notice=20.0)}
    ),
    "held within the notice of its end": Case(
        errors, ("replace",), "keep", changes={"retention": Retention(1e6, 60.0, notice=20.0)}
    ),
    "withdrawn and returned": Case(errors, ("replace",), "return", fleet_changes={"checks": (READY,)}),
    "left behind, swept": Case(leave, ("replace",), "sweep"),
    "sick in a group, replaced by it": Case(errors, fleet_changes={"group": "web"}),
    "sick in a group, restarted": Case(errors, ("restart", "replace"), fleet_changes={"group": "web"}),
    "gone from a group, replaced by it": Case(vanish, fleet_changes={"group": "web"}),
    "adopted after the journal was lost": Case(lost_journal, ("replace",), "adopt"),
    "a zone that is out, rescued": Case(
        zone_out,
        then="zone",
        changes={"guards": SOON_OVER, "judgement": Judgement(parole_passes=2, parole_after=10.0)},
        fleet_changes={"checks": TWO_CHECKS},
        size=6,
    ),
    "an image on trial, its control passes": Case(
        crash,
        then="trial",
        changes={"judgement": Judgement(boot_deadline=35.0), "guards": Guards(launch_retry=(0.0, 10.0))},
    ),
}


SEQUELS = frozenset({"release", "purge", "stop", "end", "keep"})
"""What follows a replacement begins with who is kept: `errors, replaced` has been killed at the points before."""


def kept_now(service: Service) -> list[Quarantine]:
    """Return who is in quarantine."""
    return [q for q in service.engine.ctx.world.all(Quarantine) if q.ended_at is None]


def rescues(service: Service) -> list[Workflow]:
    """Return the launches besides those wanted, oldest first."""
    return [w for w in service.engine.ctx.world.all(Workflow) if w.kind is WorkflowKind.RESCUE]


class Player:
    """Plays one case, life after life: breaks things once, asks once, and waits until all is well."""

    def __init__(self, case: Case) -> None:
        """Begin with a healthy world."""
        self.case = case
        self.broken = False
        self.asked = frozenset[str]()
        self.operated = False

    async def prepare(self, service: Service, world: World) -> None:
        """Let the fleet come up and prove itself."""
        await calm(service, world)
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == self.case.size, 3600)
        if self.case.then in SEQUELS:
            await self._break(service, world)

    async def _break(self, service: Service, world: World) -> None:
        """Break it once, and wait until it is healed."""
        if not self.broken:
            await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == self.case.size, 3600)
            self.broken = True
            self.case.breaks(service, world)
        gone = self.case.breaks is vanish
        await until(lambda: bool(incidents(service)) or (gone and len(world.machines) > 3), 600)
        await calm(service, world)

    async def play(self, service: Service, world: World) -> None:
        """Play the case, or what is left of it."""
        if self.case.then == "return":
            await self._withdraw_and_return(service, world)
            return
        if self.case.then == "zone":
            await self._rescue(service, world)
            return
        if self.case.then == "adopt":
            await calm(service, world)
            await asyncio.sleep(5)
            return
        if self.case.then == "sweep":
            await self._look_twice(service, world)
            return
        if self.case.breaks is not nothing:
            await self._break(service, world)
        if self.case.then in SEQUELS:
            await self._operate(service, world)
        await calm(service, world)
        await asyncio.sleep(5)

    async def _withdraw_and_return(self, service: Service, world: World) -> None:
        """A readiness check fails, and passes again: out of the load balancer and back, nothing else."""
        patient = min(world.machines)
        if not self.broken:
            await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == self.case.size, 3600)
            self.broken = True
            world.behave(patient, Behaviour.ERRORS)
        await until(lambda: world.machines[patient].registered_at is None or self.operated, 600)
        world.behave(patient, Behaviour.WELL)
        self.operated = True
        await until(lambda: world.machines[patient].registered_at is not None, 3600)
        await calm(service, world)

    async def _rescue(self, service: Service, world: World) -> None:
        """A zone is out until those launched besides serve; when it is back, nobody is too many for long."""
        if not self.broken:
            await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == self.case.size, 3600)
            self.broken = True
            self.case.breaks(service, world)
        if not self.operated:
            await until(lambda: any(w.state is WorkflowState.DONE for w in rescues(service)), 1800)
            self.operated = True
            zone_back(world)
        await until(lambda: len(world.live("web")) == self.case.size, 7200)
        await calm(service, world)

    async def _look_twice(self, service: Service, world: World) -> None:
        """Show what is left, now and as it was an hour ago, until it is swept."""
        if not self.broken:
            await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == self.case.size, 3600)
            self.broken = True
            self.case.breaks(service, world)
        await calm(service, world)
        await until(lambda: triage.is_amnesty_over(service.engine.ctx, service.engine.ctx.fleets["web"]), 600)
        for ago in (3600.0, 0.0):
            service.inbox.put(LeftoversSeen("web", tuple(world.leftovers.values()), world.clock.boot - ago))
        await until(lambda: not world.leftovers, 600)
        await calm(service, world)

    async def _operate(self, service: Service, world: World) -> None:
        kept = kept_now(service)
        waits = self.case.then in ("end", "keep")
        if not kept or (service.engine.ctx.world.workflow_of(kept[0].instance) and not waits):
            return
        name = kept[0].instance
        if self.case.then == "stop":
            await until(lambda: world.machines[name].stopped, 3600)
            await until(lambda: service.engine.ctx.world.workflow_of(name) is None, 3600)
            return
        if self.case.then == "end":
            await until(lambda: world.machines[name].terminated, 3600)
            await until(lambda: not kept_now(service), 60)
            return
        if self.case.then == "keep":
            await until(lambda: world.machines[name].mark == "expired" or self.operated, 3600)
            self.operated = True
            if service.engine.ctx.world.need(Instance, name).held_until is None:
                await ask(service, Hold(name, seconds=1e6))
            await until(lambda: world.machines[name].mark == "", 600)
            await until(lambda: service.engine.ctx.world.workflow_of(name) is None, 60)
            return
        self.asked = frozenset({name})
        world.behave(name, Behaviour.WELL)
        world.machines[name].passes = 0
        verb = ReleaseFromQuarantine(name) if self.case.then == "release" else Purge(name)
        await ask(service, verb)
        await until(lambda: service.engine.ctx.world.workflow_of(name) is None, 3600)


PREPARED: dict[tuple[tuple[str, ...], str, bool], Stage] = {}
"""Fleets that have come up, by ladder, sequel and whether a group owns them, with who is kept if that is where the case begins: each run plays on a copy."""


def put_on_trial(there: Stage) -> None:
    """Let healing launch another image from now on, which a person has promoted, and which does not boot."""
    policy = replace(there.settings.fleets["web"], image="img-2", version="2.0.0")
    there.settings = replace(there.settings, fleets={"web": policy})

    async def promote(service: Service, _: World) -> None:
        await until(lambda: triage.is_amnesty_over(service.engine.ctx, service.engine.ctx.fleets["web"]), 600)
        assert (await ask(service, Promote("web"))).ok

    there.live(promote)
    there.world.bad_images.add("img-2")


def ready(case: Case, given: Settings | None = None) -> tuple[Stage, Player]:
    """Return a stage at the point where the case begins."""
    wanted = given or settings(fleet(case.size, ladder=case.ladder, **case.fleet_changes), **case.changes)
    there, player = stage(replace(wanted, surfaces=())), Player(case)
    if "group" in case.fleet_changes:
        there.world.groups["web"] = Group("web", 3)
    if case.breaks is not nothing:
        key = (case.ladder, case.then, "group" in case.fleet_changes)
        if key not in PREPARED:
            there.live(player.prepare)
            if case.then == "trial":
                put_on_trial(there)
            if case.breaks is lost_journal:
                there.world.machines[min(there.world.machines)].registered_at = None
                there.store = MemoryStore("another")
                there.world.calls.clear()
                there.commits.clear()
            PREPARED[key] = there
        there, player.broken = copy.deepcopy(PREPARED[key]), case.then in SEQUELS
    return there, player


def verdict(there: Stage, player: Player) -> list[Violation]:
    """Check the invariants, and that another restart changes nothing."""
    found = check(Evidence(there.records(), there.world, there.commits, there.settings, player.asked))
    before = len(there.world.calls)

    async def idle(service: Service, _: World) -> None:
        await asyncio.sleep(60)

    there.live(idle)
    return found + quiescent(there.world.calls[before:])


def clean_run(case: Case) -> tuple[list[str], list[Violation]]:
    """Return the points that a case passes when nobody is killed."""
    there, player = ready(case)
    life = there.live(player.play)
    return life.points, verdict(there, player)


@pytest.mark.parametrize("name", CASES)
def test_a_case_without_a_kill_breaks_nothing(name: str) -> None:
    """The baseline holds every invariant, so that what breaks below is the kill's doing."""
    points, found = clean_run(CASES[name])

    assert [] == found
    assert any(point.endswith("after") for point in points)


def kill_and_recover(case: Case, at: int, changed: Settings | None = None) -> tuple[Life, list[Violation]]:
    """Kill at one point, restart (with another configuration if given), and judge the end."""
    there, player = ready(case)
    life = there.live(player.play, kill_at=at)
    if changed is not None:
        there.settings = replace(changed, surfaces=())
    there.live(player.play)
    return life, verdict(there, player)


@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_point_it_finishes_the_same_work_once(name: str) -> None:
    """Before and after each commit and each cloud call: one replacement, nothing lost, nobody else touched."""
    points, _ = clean_run(CASES[name])
    broken = {}
    for at in range(len(points)):
        life, found = kill_and_recover(CASES[name], at)
        assert len(life.points) == at + 1, "the run before the kill must be the clean run's"
        if found:
            broken[f"{at}: {points[at]}"] = found

    assert {} == broken


CHANGES = {
    "a larger fleet": settings(fleet(4)),
    "another image": settings(fleet(3, image="img-2", version="2.0.0")),
    "another ladder": settings(fleet(3, ladder=("restart",))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_killed_and_restarted_with_another_configuration_it_still_finishes(change: str) -> None:
    """Plans are frozen in the journal: a changed file changes what comes next, never what was begun."""
    case = CASES["errors, replaced"]
    points, _ = clean_run(case)
    broken = {}
    for at in range(len(points)):
        _, found = kill_and_recover(case, at, CHANGES[change])
        if found:
            broken[f"{at}: {points[at]}"] = found

    assert {} == broken


def test_killed_again_within_the_recovery_it_still_finishes() -> None:
    """Two kills in a row, the second one anywhere in the recovery from the first."""
    case = CASES["errors, replaced"]
    points, _ = clean_run(case)
    broken = {}
    for first in range(0, len(points), 5):
        for second in range(0, 24, 4):
            there, player = ready(case)
            there.live(player.play, kill_at=first)
            there.live(player.play, kill_at=second)
            there.live(player.play)
            found = verdict(there, player)
            if found:
                broken[f"{first}, then {second}"] = found

    assert {} == broken


def test_a_kill_within_a_step_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """No task of the dead life is left behind to complain when it is collected."""
    case = CASES["the first boot"]
    points, _ = clean_run(case)
    for at, point in enumerate(points):
        if "commit" not in point:
            there, player = ready(case)
            there.live(player.play, kill_at=at)
    gc.collect()

    assert any("launch" in point for point in points)
    assert [] == [said for record in caplog.records if "Killed" in (said := record.getMessage())]
