"""A check host on virtual time: the fleet's checks at their cadence, the suspect's pace included."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Mapping, Sequence

from supervisor.core.settings import CheckPolicy
from supervisor.core.signals import AskNow, Command, Forget, Observe, Result, Stretch
from supervisor.runtime.wheel import phase
from supervisor.sim.failpoints import Life
from supervisor.sim.world import World

FASTEST = 0.2


class SimHost:
    """Asks the world. One heap, however many machines."""

    def __init__(self, world: World, checks: Mapping[str, Sequence[CheckPolicy]], life: Life) -> None:
        """Know each fleet's checks."""
        self._world = world
        self._checks = checks
        self._life = life
        self._watched: dict[str, Observe] = {}
        self._heap: list[tuple[float, str, str]] = []
        self._asked: dict[tuple[str, str], None] = {}  # besides the schedule
        self._stretch = 1.0
        self._news = asyncio.Event()

    def apply(self, commands: Sequence[Command]) -> None:
        """Take `Observe`, `Forget`, `AskNow` and `Stretch`."""
        now = self._world.clock.boot
        for command in commands:
            if isinstance(command, Observe):
                known = self._watched.get(command.instance)
                self._watched[command.instance] = command
                if known is None or known.fast != command.fast:
                    self._heap = [item for item in self._heap if item[1] != command.instance]
                    heapq.heapify(self._heap)
                    for check in self._checks[command.fleet]:
                        first = now + self._phase(command, check)
                        heapq.heappush(self._heap, (first, command.instance, check.name))
            elif isinstance(command, Forget):
                self._watched.pop(command.instance, None)
            elif isinstance(command, AskNow):
                for name in command.instances:
                    watched = self._watched.get(name)
                    checks = self._checks[watched.fleet] if watched is not None else ()
                    self._asked |= dict.fromkeys((name, check.name) for check in checks)
            elif isinstance(command, Stretch):
                self._stretch = command.factor
        self._news.set()

    def _phase(self, watched: Observe, check: CheckPolicy) -> float:
        pace = self._pace(watched, check)
        return phase(f"{watched.instance}/{check.name}", pace) if self._world.checks_spread else pace / 2

    def _pace(self, watched: Observe, check: CheckPolicy) -> float:
        return max(FASTEST, check.interval / 5) if watched.fast else check.interval

    async def results(self) -> AsyncIterator[Sequence[Result]]:
        """Yield for ever."""
        while True:
            now = self._world.clock.boot
            asked, self._asked = self._asked, {}
            batch = [self._ask(i, self._check(self._watched[i], c)) for i, c in asked if i in self._watched]
            while self._heap and self._heap[0][0] <= now:
                due, instance, name = heapq.heappop(self._heap)
                watched = self._watched.get(instance)
                if watched is None:
                    continue
                check = self._check(watched, name)
                batch.append(self._ask(instance, check))
                heapq.heappush(self._heap, (max(due, now - 1) + self._pace(watched, check), instance, name))
            if batch:
                yield batch
            else:
                await self._until_due(now)
                self._life.check()

    def _check(self, watched: Observe, name: str) -> CheckPolicy:
        return next(c for c in self._checks[watched.fleet] if c.name == name)

    def _ask(self, instance: str, check: CheckPolicy) -> Result:
        limit = min(check.timeout * self._stretch, max(check.interval, check.timeout))
        return self._world.ask(instance, check.name, limit)

    async def _until_due(self, now: float) -> None:
        """Sleep until the first check is due, or the next command comes: virtual time is dear by the wake-up."""
        self._news.clear()
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self._heap[0][0] - now, self._news.set) if self._heap else None
        await self._news.wait()
        if alarm is not None:
            alarm.cancel()
