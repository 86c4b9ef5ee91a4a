"""A stateful fake cloud behind the `Cloud` port: idempotent by token, eventually running, killable at every call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

from supervisor.core.machine import Leftover, Machine, Offer
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Outcome,
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
    Unclear,
)
from supervisor.core.terms import Seconds
from supervisor.errors import ProviderError
from supervisor.sim.failpoints import Life
from supervisor.sim.world import Behaviour, Call, SimMachine, World

LATENCY: Seconds = 0.05
DISPOSABLE = ("expired", "failed-candidate")

Fault = Callable[[Request], Outcome | None]


def machine_id(token: str) -> str:
    """Return the id that a token's machine gets."""
    return "i-" + hashlib.sha256(token.encode()).hexdigest()[:8]


class FakeCloud:
    """One fleet's cloud. `refuse` may answer in the cloud's place; `lose` says whose answer is lost after the effect."""

    def __init__(
        self,
        world: World,
        fleet: str,
        life: Life | None = None,
        *,
        refuse: Fault = lambda _: None,
        lose: Callable[[Request], bool] = lambda _: False,
    ) -> None:
        """Stand before a world, for one life of the daemon."""
        self._world = world
        self._fleet = fleet
        self._life = life or Life()
        self._refuse = refuse
        self._lose = lose

    async def offer(self) -> Offer:
        """Fail: stories bring their offer with their settings."""
        raise ProviderError("a story brings its own offer")

    async def leftovers(self) -> Sequence[Leftover]:
        """Return what is left, or fail."""
        await asyncio.sleep(LATENCY)
        self._life.check()
        if self._world.cloud_down or self._world.blind:
            raise ProviderError("the cloud API answers 503")
        return [one for _, one in sorted(self._world.leftovers.items()) if one.fleet == self._fleet]

    async def inventory(self) -> Sequence[Machine]:
        """Return the list, or fail."""
        await asyncio.sleep(LATENCY)
        self._life.check()
        if self._world.cloud_down or self._world.blind:
            raise ProviderError("the cloud API answers 503")
        return [] if self._world.empty_list else self._world.shown(self._fleet)

    async def perform(self, request: Request) -> Outcome:
        """Carry out one request, or die before it, or after its effect."""
        self._life.point(f"{request.verb} before")
        await asyncio.sleep(LATENCY)
        self._life.check()
        said = self._refuse(request)
        if said is not None:
            self._log(request, said, effect=False)
            return said
        before, serving = self._fingerprint(), self._world.serving(self._fleet)
        outcome = self._effect(request)
        self._log(request, outcome, effect=self._fingerprint() != before, serving_before=serving)
        self._life.point(f"{request.verb} after")
        await asyncio.sleep(LATENCY)
        self._life.check()
        if self._lose(request):
            return Unclear("the answer was lost")
        return outcome

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return the last lines that a machine has printed."""
        if self._world.logs_take:
            await asyncio.sleep(self._world.logs_take)
        machine = self._world.machines.get(instance)
        return machine.log[-lines:] if machine is not None else []

    async def close(self) -> None:
        """Do nothing."""

    def _log(self, request: Request, outcome: Outcome, *, effect: bool, serving_before: int = 0) -> None:
        world = self._world
        after = world.serving(self._fleet)
        machine = world.machines.get(getattr(request, "instance", ""))
        passes = machine.passes if machine is not None else 0
        world.calls.append(
            Call(
                world.next_order(),
                world.clock.boot,
                request,
                outcome,
                effect,
                max(serving_before, after),
                after,
                passes,
            )
        )

    def _fingerprint(self) -> tuple[object, ...]:
        world = self._world
        machines = tuple(
            (m.id, m.stopped, m.terminated, m.isolated, m.registered_at, m.mark, len(m.restarts))
            for m in world.machines.values()
        )
        return (machines, len(world.snapshots), len(world.leftovers))

    def _effect(self, request: Request) -> Outcome:
        if isinstance(request, Launch):
            return self._launch(request)
        if isinstance(request, Sweep):
            return self._sweep(request)
        machine = self._world.machines.get(request.instance)
        if machine is None or machine.terminated:
            if isinstance(request, Terminate | Deregister):
                return Done(request.instance, "gone already")
            return Refused(f"there is no machine {request.instance}")
        match request:
            case Register():
                if machine.isolated or not machine.is_running(self._world.clock.boot):
                    return Refused(f"{machine.id} does not run")
                if machine.registered_at is None:
                    machine.registered_at = self._world.clock.boot
            case Deregister():
                machine.registered_at = None
                machine.terminated = bool(machine.group)  # its group finds it unhealthy, and ends it
            case Capture():
                return self._capture(request)
            case Isolate():
                machine.isolated, machine.registered_at, machine.group = True, None, ""
                self._world.tick()
            case Restore():
                machine.isolated = machine.stopped = False
            case Restart():
                if request.token not in machine.restarts:
                    machine.restarts.add(request.token)
                    machine.stopped, machine.behaviour = False, Behaviour.WELL
                    machine.launched, machine.passes = self._world.clock.boot, 0
            case Stop():
                machine.stopped = True
            case Mark():
                machine.mark = request.state
            case Terminate():
                if machine.mark not in DISPOSABLE:
                    return Refused(f"{machine.id} carries no mark that permits its end")
                if machine.held:
                    return Refused(f"{machine.id} is held: {machine.held}")
                if machine.registered_at is not None:
                    return Refused(f"{machine.id} is still registered")
                machine.terminated = True
        return Done(machine.id)

    def _launch(self, request: Launch) -> Outcome:
        name = machine_id(request.token)
        known = self._world.machines.get(name)
        if known is not None:
            same = (known.zone, known.image, known.version, known.tags)
            if same != (request.zone, request.image, request.version, request.tags):
                return Refused("IdempotentParameterMismatch: this token was used with other parameters")
            return Done(name)
        address = f"127.1.{len(self._world.machines) // 250}.{len(self._world.machines) % 250 + 1}"
        self._world.machines[name] = SimMachine(
            id=name,
            fleet=request.fleet,
            zone=request.zone,
            image=request.image,
            version=request.version,
            address=address,
            token=request.token,
            tags=request.tags,
            launched=self._world.clock.boot,
            boots_in=self._world.boots_in,
        )
        return Done(name)

    def _sweep(self, request: Sweep) -> Outcome:
        found = self._world.leftovers.pop(request.instance, None)
        return Done(request.instance, "" if found else "gone already")

    def _capture(self, request: Capture) -> Outcome:
        """Look by token before acting: a snapshot has no idempotency of its own."""
        if (request.instance, request.token) not in self._world.snapshots:
            self._world.snapshots.append((request.instance, request.token))
        return Done(request.instance, f"snapshot/{request.token[:8]}")
