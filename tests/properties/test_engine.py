"""Whatever breaks, whenever, and whatever operators ask: the invariants hold, and unknown is never sick."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from supervisor.core.facts import facts_of
from supervisor.core.guards import Act, holding
from supervisor.core.model import Incident, IncidentKind, Quarantine, Removal
from supervisor.core.requests import Outcome, Refused, Request, Throttled
from supervisor.core.signals import (
    Hold,
    OperatorVerb,
    Pause,
    Purge,
    ReleaseFromQuarantine,
    Resume,
    SentinelReported,
    Unhold,
)
from supervisor.core.terms import Health, Mode
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage
from supervisor.sim.world import Behaviour, World
from tests import stages

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # a story of twelve moves is short enough to read as it is

ACTIONS = (
    "crash", "hang", "errors", "well", "vanish", "blind", "sees", "cloud down", "cloud up", "empty list", "full list",
    "pause", "resume", "hold", "unhold", "release", "purge", "wall jump", "suspend", "sentinel fails", "sentinel well",
)  # fmt: skip


@dataclass(frozen=True)
class Move:
    """Something that happens, to the machine with this number, after so many seconds."""

    what: str
    whom: int
    after: float


MOVES = st.lists(
    st.builds(Move, st.sampled_from(ACTIONS), st.integers(0, 7), st.floats(0, 400)), min_size=1, max_size=12
)


async def happen(move: Move, service: Service, world: World, asked: set[str]) -> None:
    """Let one move happen."""
    ids = sorted(world.machines)
    name = ids[move.whom % len(ids)] if ids else "i-none"
    kept = [q.instance for q in service.engine.ctx.world.all(Quarantine) if q.ended_at is None]
    verb: OperatorVerb | None = None
    if not ids and move.what in ("crash", "hang", "errors", "well", "vanish"):
        return
    match move.what:
        case "crash":
            world.crash(name)
        case "hang" | "errors" | "well":
            world.behave(name, Behaviour(move.what))
        case "vanish":
            world.vanish(name)
        case "blind" | "sees":
            world.blind = move.what == "blind"
        case "cloud down" | "cloud up":
            world.cloud_down = move.what == "cloud down"
        case "empty list" | "full list":
            world.empty_list = move.what == "empty list"
        case "wall jump":
            world.clock.jump_wall(1800.0 * (move.whom - 3))
        case "suspend":
            world.clock.suspend(100.0 * move.whom)
        case "sentinel fails" | "sentinel well":
            service.report(SentinelReported("prober", move.what == "sentinel well"))
        case "pause":
            verb = Pause(f"p{move.whom % 2}", seconds=move.after)
        case "resume":
            verb = Resume(f"p{move.whom % 2}")
        case "hold":
            verb = Hold(name, seconds=600.0)
        case "unhold":
            verb = Unhold(name)
        case "release" | "purge" if kept:
            asked.add(kept[move.whom % len(kept)])
            kind = ReleaseFromQuarantine if move.what == "release" else Purge
            verb = kind(kept[move.whom % len(kept)])
    if verb is not None:
        await stages.ask(service, verb)


@cache
def proved(desired: int) -> Stage:
    """Return a fleet that has come up and left probation; every example plays on a copy."""
    there = stages.stage(stages.settings(stages.fleet(desired)))

    async def boot(service: Service, world: World) -> None:
        await stages.calm(service, world)
        await asyncio.sleep(900)

    there.live(boot)
    return there


def play(moves: Sequence[Move], desired: int, refusals: Sequence[int], kill_at: int | None) -> None:
    """Play the moves, perhaps with a kill in between, and check what must always be true."""
    answers = iter(refusals)

    def refuse(_: Request) -> Outcome | None:
        said = next(answers, 0)
        said_of: dict[int, Outcome] = {1: Refused("no"), 2: Throttled("slow down"), 3: Refused("full", capacity=True)}
        return said_of.get(said)

    there = copy.deepcopy(proved(desired))
    asked: set[str] = set()
    there.make_cloud = lambda world, name, life: FakeCloud(world, name, life, refuse=refuse)
    left = list(moves)

    async def script(service: Service, world: World) -> None:
        while left:
            await asyncio.sleep(left[0].after)
            await happen(left.pop(0), service, world, asked)
            judged(service, world)
        await asyncio.sleep(600)
        judged(service, world)

    there.live(script, kill_at)
    there.live(script)
    evidence = Evidence(there.records(), there.world, there.commits, there.settings, frozenset(asked))
    assert [] == check(evidence, ended=False)


def judged(service: Service, world: World) -> None:
    """What must be true at every moment of judging."""
    ctx = service.engine.ctx
    fleet = ctx.fleets["web"]
    for name, chart in fleet.charts.items():
        machine = world.machines.get(name)
        if chart.finding.health is Health.SICK and machine is not None:
            assert machine.was_ill, f"{name} was never ill and is called sick"
    for incident in ctx.world.all(Incident):
        machine = world.machines.get(incident.instance)
        if incident.kind is IncidentKind.SICK and machine is not None:
            assert machine.was_ill, f"incident {incident.id} is about a machine that was never ill"
    unsettled = [r for r in ctx.world.all(Removal) if r.settled_at is None]
    facts = facts_of(ctx, fleet)
    assert facts.credits == max(1, fleet.policy.desired // 20) - len(unsettled)
    assert facts.serving == sum(1 for c in fleet.charts.values() if c.serving)
    if ctx.sight.blind or ctx.holders:
        assert holding(Act.ISOLATE, facts)


@given(MOVES, st.integers(1, 7), st.lists(st.integers(0, 5), max_size=12), st.none() | st.integers(0, 60))
@settings(max_examples=20, phases=UNSHRUNK)
def test_the_invariants_hold_whatever_happens(
    moves: list[Move], desired: int, refusals: list[int], kill_at: int | None
) -> None:
    """Random faults, refusals, operators, clocks and one kill."""
    play(moves, desired, refusals, kill_at)


@given(MOVES)
@settings(max_examples=8, phases=UNSHRUNK)
def test_in_observe_mode_nothing_is_ever_changed(moves: list[Move]) -> None:
    """The shipped mode may be trusted blindly."""
    there = copy.deepcopy(proved(6))
    there.settings = stages.settings(mode=Mode.OBSERVE)
    before = len(there.world.calls)

    async def script(service: Service, world: World) -> None:
        for move in moves:
            await asyncio.sleep(move.after)
            if move.what not in ("release", "purge"):
                await happen(move, service, world, set())
        await asyncio.sleep(300)

    there.live(script)
    assert before == len(there.world.calls)


def test_the_same_moves_make_the_same_story() -> None:
    """Deterministic: same signals in, same records out."""
    moves = [Move("crash", 1, 10.0), Move("errors", 2, 300.0), Move("well", 2, 50.0)]

    def story() -> list[str]:
        there = stages.stage()

        async def script(service: Service, world: World) -> None:
            await stages.calm(service, world)
            for move in moves:
                await asyncio.sleep(move.after)
                await happen(move, service, world, set())
            await asyncio.sleep(900)

        there.live(script)
        return [f"{m.at} {m.text}" for m in there.chat.messages]

    assert story() == story()
