"""What goes wrong in the demo, when it lifts, and what the right outcome is. Made from outside, on real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from supervisor.core.model import Incident, IncidentState, Instance, Quarantine, Resolution
from supervisor.core.signals import Event, Said
from supervisor.core.terms import SERVING, Cause, FleetState, Seconds
from supervisor.daemon import Daemon
from supervisor.providers.local import faults

FLEET = "web"
OUTAGE: Seconds = 15.0  # how long a zone stays out after it was named


class Fault(StrEnum):
    """What breaks."""

    CRASH = "crash"
    HANG = "hang"
    ERRORS = "errors"
    SLOW = "slow"
    ZONE = "zone"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Shape:
    """The fleet that a fault is shown on."""

    desired: int
    zones: tuple[str, ...]

    @property
    def words(self) -> str:
        """Say it."""
        return f"{NUMBERS[self.desired]} real web servers in {NUMBERS[len(self.zones)]} zones"


NUMBERS = {2: "two", 3: "three", 6: "six", 12: "twelve"}
SMALL = Shape(6, ("a", "b"))
WIDE = Shape(12, ("a", "b", "c"))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a plot ended: rightly or not, in one sentence, with the incident that told of it (0 for none)."""

    right: bool
    reason: str
    incident: int


class Plot(Protocol):
    """One fault from its beginning to its end."""

    shape: Shape
    limit: Seconds  # within which the fleet must be well again

    async def begin(self, daemon: Daemon, folder: Path) -> str:
        """Break it; return what was broken, in words."""
        ...

    async def lift(self) -> str:
        """Wait until the fault may end by itself, and end it; return what was done, '' for a fault that stays."""
        ...

    def is_over(self) -> bool:
        """Return whether the story has come to its end, besides the fleet being well."""
        ...

    def ending(self) -> Ending:
        """Return whether that was right."""
        ...


def plot(fault: Fault) -> Plot:
    """Return a fresh plot."""
    match fault:
        case Fault.ZONE:
            return ZoneOut()
        case Fault.BLIND:
            return Blinded()
        case _:
            return OneSick(fault)


BREAK: dict[Fault, Callable[[Path, str, str], None]] = {
    Fault.CRASH: faults.crash,
    Fault.HANG: faults.hang,
    Fault.ERRORS: faults.errors,
    Fault.SLOW: lambda state, fleet, instance: faults.slow(state, fleet, instance, 0.15),
}
WORDS = {
    Fault.CRASH: "its processes are killed",
    Fault.HANG: "it keeps its port open and answers nobody",
    Fault.ERRORS: "it answers everything with HTTP 500",
    Fault.SLOW: "it answers everything well, but 150ms later than before",
}


class OneSick:
    """One machine breaks for good: it alone is set aside and replaced."""

    shape = SMALL

    def __init__(self, fault: Fault) -> None:
        """Know how."""
        self._fault = fault
        self.limit = 120.0 if fault is Fault.SLOW else 60.0
        self._victim = ""

    async def begin(self, daemon: Daemon, folder: Path) -> str:
        """Break the first one that serves."""
        self._daemon = daemon
        victim = next(i for i in _members(daemon) if i.lifecycle in SERVING)
        self._victim = victim.id
        await asyncio.to_thread(BREAK[self._fault], folder, FLEET, victim.id)
        return f"{victim.id} (zone {victim.zone}): {WORDS[self._fault]}"

    async def lift(self) -> str:
        """Stay."""
        return ""

    def is_over(self) -> bool:
        """Its incident is closed."""
        incident = self._incident()
        return incident is not None and incident.state is IncidentState.CLOSED

    def _incident(self) -> Incident | None:
        return _last(self._daemon, lambda i: i.instance == self._victim)

    def ending(self) -> Ending:
        """The right machine was set aside, and no other one."""
        kept, incident = _kept(self._daemon), self._incident()
        number = incident.id if incident is not None else 0
        if incident is None or incident.resolution is not Resolution.REPLACED or kept != [self._victim]:
            told = f"set aside: {', '.join(kept) or 'nobody'}; expected {self._victim} alone"
            return Ending(False, told, number)
        return Ending(True, f"{self._victim} was replaced by {incident.replacement}; nobody else was touched", number)


class ZoneOut:
    """Every machine of a zone falls silent at once, and comes back: the zone is named, and nobody is removed."""

    shape = WIDE
    limit = 150.0

    async def begin(self, daemon: Daemon, folder: Path) -> str:
        """Cut one zone off."""
        self._daemon, self._folder = daemon, folder
        self._zone = self.shape.zones[1]
        self._cut = [i.id for i in _members(daemon) if i.zone == self._zone]
        for name in self._cut:
            await asyncio.to_thread(faults.hang, folder, FLEET, name)
        return f"zone {self._zone}: all of its {len(self._cut)} machines fall silent at once"

    async def lift(self) -> str:
        """Let it come back, some time after it was named."""
        while self._incident() is None:  # noqa: ASYNC110  # the engine calls nobody; a demo may look
            await asyncio.sleep(0.1)
        await asyncio.sleep(OUTAGE)
        for name in self._cut:
            await asyncio.to_thread(faults.heal, self._folder, FLEET, name)
        return f"zone {self._zone} is back"

    def is_over(self) -> bool:
        """The zone's incident is closed."""
        incident = self._incident()
        return incident is not None and incident.state is IncidentState.CLOSED

    def _incident(self) -> Incident | None:
        return _last(self._daemon, lambda i: i.verdict is Cause.ZONE and i.about == f"zone {self._zone}")

    def ending(self) -> Ending:
        """The zone was named, and nobody was removed."""
        incident, removed = self._incident(), _removed(self._daemon)
        if incident is None:
            return Ending(False, f"zone {self._zone} was not named", 0)
        if removed:
            return Ending(False, f"removed: {', '.join(removed)}; expected nobody", incident.id)
        return Ending(True, f"zone {self._zone} was named, and nobody was removed", incident.id)


class Blinded:
    """The supervisor's own eyes are stopped: it says so, and touches nobody."""

    shape = SMALL
    limit = 90.0

    async def begin(self, daemon: Daemon, folder: Path) -> str:
        """Stop the process that runs the checks."""
        del folder
        self._daemon = daemon
        self._told: list[str] = []
        daemon.service.listeners.append(self._listen)
        self._stopped = daemon.hosts.prober.stats.pid
        os.kill(self._stopped, signal.SIGSTOP)
        return "the supervisor itself: the process that runs its checks is stopped, no answer comes in"

    def _listen(self, events: Sequence[Event]) -> None:
        self._told += [event.kind for event in events if isinstance(event, Said)]

    async def lift(self) -> str:
        """The supervisor starts another one by itself."""
        while self._daemon.hosts.prober.stats.pid == self._stopped:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.1)
        return "the supervisor has given that process up, and started another one"

    def is_over(self) -> bool:
        """It has told that it could not see, it sees again, and the amnesty is over."""
        context = self._daemon.service.engine.ctx
        fleet = context.fleets[FLEET]
        rounds = context.settings.judgement.amnesty_rounds
        sees = not context.sight.blind and fleet.clean_rounds(context.now.boot) >= rounds
        return "sight.lost" in self._told and sees and fleet.state is FleetState.OPTIMAL

    def ending(self) -> Ending:
        """Nobody was removed."""
        removed = _removed(self._daemon)
        if removed:
            return Ending(False, f"removed: {', '.join(removed)}; expected nobody", 0)
        return Ending(True, "it said that it could not see, touched nobody, and sees again", 0)


def _members(daemon: Daemon) -> list[Instance]:
    world = daemon.service.engine.ctx.world
    return [world.need(Instance, name) for name in sorted(world.members[FLEET])]


def _last(daemon: Daemon, is_meant: Callable[[Incident], bool]) -> Incident | None:
    found = [i for i in daemon.service.engine.ctx.world.all(Incident) if is_meant(i)]
    return found[-1] if found else None


def _kept(daemon: Daemon) -> list[str]:
    return sorted(q.instance for q in daemon.service.engine.ctx.world.all(Quarantine) if q.ended_at is None)


def _removed(daemon: Daemon) -> list[str]:
    """Return everyone who is not in the load balancer any more, for whatever reason."""
    return sorted({*_kept(daemon), *(i.id for i in _members(daemon) if i.served and i.lifecycle not in SERVING)})
