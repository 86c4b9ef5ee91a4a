"""Every mutating call of the daemon, in order, and the places at each of them where the daemon can be killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.standins.aws.call import Call, Json

Moment = Literal["before", "after", "late"]
MOMENTS: tuple[Moment, ...] = ("before", "after", "late")


@dataclass(slots=True)
class Entry:
    """One mutating call. `effect` says whether it changed anything; `answer` is "" for yes, or the error's code."""

    number: int
    service: str
    action: str
    params: Json
    by_daemon: bool
    at: float = field(default_factory=time.time)
    order: int = 0
    """Its place among the effects of all calls; 0 where there was none."""
    effect: bool = False
    answer: str | None = None
    """None where no answer was ever sent."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Fire at the daemon's mutating call of this number.

    Before: it has no effect. After: it has its effect, and the answer is lost. Late: fire at once, and let the effect
    come `late_by` of our seconds afterwards.
    """

    number: int
    moment: Moment
    callback: Callable[[], object]
    late_by: float = 0.5


class Log:
    """The calls of a run. Numbers begin at 0 and count only what the daemon does."""

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[Entry] = []
        self.fired: list[Stop] = []
        self.witnesses: list[Callable[[Entry], object]] = []
        """Each is shown every mutating call of the daemon on its arrival, before any effect."""
        self._stops: list[Stop] = []
        self._number = 0
        self._effects = 0

    @property
    def daemons(self) -> list[Entry]:
        """The daemon's mutating calls."""
        return [e for e in self.entries if e.by_daemon]

    @property
    def effects(self) -> list[Entry]:
        """The daemon's calls that changed something, in the order of their effects."""
        return sorted((e for e in self.daemons if e.effect), key=lambda e: e.order)

    def clear(self) -> None:
        """Forget the calls and the stops, and count from 0 again; the witnesses stay."""
        witnesses = self.witnesses
        self.__init__()  # type: ignore[misc]  # the same empty log, for whoever holds it
        self.witnesses = witnesses

    def stop(self, number: int, moment: Moment, callback: Callable[[], object], late_by: float = 0.5) -> None:
        """Arm a stop; it fires once. `callback` runs in a thread, so it may wait for a process to die."""
        self._stops.append(Stop(number, moment, callback, late_by))

    def begin(self, call: Call) -> Entry:
        """Note a mutating call on its arrival."""
        entry = Entry(self._number if call.is_daemons else -1, call.service, call.action, call.params, call.is_daemons)
        self._number += call.is_daemons
        self.entries.append(entry)
        for witness in self.witnesses if entry.by_daemon else ():
            witness(entry)
        return entry

    def done(self, entry: Entry, call: Call) -> None:
        """Note that a call said yes."""
        entry.effect = call.has_effect
        if entry.effect:
            self._effects += 1
            entry.order = self._effects

    def armed(self, entry: Entry) -> Stop | None:
        """Return the stop that is armed for a call, and disarm it."""
        found = next((s for s in self._stops if entry.by_daemon and s.number == entry.number), None)
        if found:
            self._stops.remove(found)
        return found

    async def fire(self, stop: Stop) -> None:
        """Do what was armed."""
        await asyncio.to_thread(stop.callback)
        self.fired.append(stop)
