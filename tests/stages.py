"""Ready-made fleets and scripts for the stories: a sentence each, on virtual time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from supervisor.core.model import Incident, IncidentState, Instance, Learnt
from supervisor.core.requests import Launch, Request
from supervisor.core.settings import CheckPolicy, FleetPolicy, Guards, Judgement, RemediationPolicy, Settings
from supervisor.core.signals import OperatorAsked, OperatorVerb, Reply
from supervisor.core.terms import FleetState, Lifecycle, Mode, Role
from supervisor.plugins import discover, planned
from supervisor.runtime.service import Service
from supervisor.sim.run import Stage, until
from supervisor.sim.time import VirtualClock
from supervisor.sim.world import World
from supervisor.store import MemoryStore

ALIVE = CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0)
LISTENS = CheckPolicy("listens", "tcp", Role.LIVENESS, 10.0, 3.0)
TWO_CHECKS = (ALIVE, LISTENS)
"""For a fault that many machines have: where all of them fail one and the same check, it is the check that is accused."""


@cache  # the plugins stay as they are, and finding them costs as much as an hour of virtual time
def rung(kind: str) -> RemediationPolicy:
    """Return a built-in remediation's plan, from its plugin."""
    return planned(discover().remediations[kind].cls())


def fleet(desired: int = 6, *, ladder: tuple[str, ...] = ("replace",), **changes: Any) -> FleetPolicy:
    """Return a fleet called web, in two zones, with one liveness check."""
    policy = FleetPolicy(
        name="web",
        desired=desired,
        image="img-1",
        version="1.0.0",
        zones=("a", "b"),
        checks=(ALIVE,),
        ladder=tuple(rung(kind) for kind in ladder),
        inventory_interval=10.0,
    )
    return replace(policy, **changes)


def settings(policy: FleetPolicy | None = None, *, mode: Mode = Mode.AUTO, **changes: Any) -> Settings:
    """Return settings with the shipped numbers, but acting."""
    policy = policy or fleet()
    made = Settings(mode=mode, fleets={policy.name: policy}, judgement=Judgement(), guards=Guards(), surfaces=("chat",))
    return replace(made, **changes)


def stage(given: Settings | None = None) -> Stage:
    """Return an empty world with these settings."""
    return Stage(World(VirtualClock()), MemoryStore(), given or settings())


def state(service: Service) -> FleetState | None:
    """Return the state of the fleet web."""
    return service.engine.ctx.fleets["web"].state


def is_calm(service: Service) -> bool:
    """Return whether the fleet is OPTIMAL and nothing is under way."""
    world = service.engine.ctx.world
    return state(service) is FleetState.OPTIMAL and not world.running["web"] and not world.open_of["web"]


async def calm(service: Service, world: World, limit: float = 3600.0) -> None:
    """Wait until the fleet is well and nothing is under way."""
    await until(lambda: is_calm(service), limit)


def instances(service: Service, *lifecycles: Lifecycle) -> list[Instance]:
    """Return the fleet's instances, by id, of these lifecycles only if any are given."""
    world = service.engine.ctx.world
    found = [world.need(Instance, i) for i in sorted(world.members["web"])]
    return [i for i in found if not lifecycles or i.lifecycle in lifecycles]


def incidents(service: Service) -> list[Incident]:
    """Return the incidents about single instances."""
    return [i for i in service.engine.ctx.world.all(Incident) if i.instance]


def open_incidents(service: Service) -> list[Incident]:
    """Return those that are not closed."""
    return [i for i in incidents(service) if i.state is not IncidentState.CLOSED]


async def ask(service: Service, verb: OperatorVerb, reason: str = "a test") -> Reply:
    """Ask for something as an operator."""
    world = service.engine.ctx.world
    return await service.ask(
        OperatorAsked(f"r{world.identity.counter}-{type(verb).__name__}", verb, "ada", "test", reason)
    )


def commits(there: Stage) -> int:
    """Return how many commits there were, besides those that only wrote down what was learnt."""
    return sum(1 for c in there.commits if not all(isinstance(record, Learnt) for record in (*c.changes, *c.deletes)))


def removals(world: World) -> list[Request]:
    """Return what was taken away."""
    return [
        c.request
        for c in world.calls
        if c.effect and c.request.verb in ("deregister", "isolate", "terminate", "restart")
    ]


def launches(world: World) -> list[Launch]:
    """Return the launches that made a machine."""
    return [c.request for c in world.calls if isinstance(c.request, Launch) and c.effect]


def running(service: Service) -> int:
    """Return how many workflows run."""
    return len(service.engine.ctx.world.running["web"])
