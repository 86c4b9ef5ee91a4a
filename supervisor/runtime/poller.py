"""Asks each fleet's cloud for its machines, at the configured interval and right after anything was changed.

What machines left behind is asked for about once an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from supervisor.core.machine import Machine
from supervisor.core.signals import InventoryFailed, InventorySeen, LeftoversSeen
from supervisor.core.terms import Seconds
from supervisor.errors import ProviderError
from supervisor.ports import Clock, Cloud

log = structlog.get_logger()

ANSWER_LIMIT: Seconds = 30.0
LEAST_PAUSE: Seconds = 0.2
LEFTOVERS_FIRST: Seconds = 300.0
LEFTOVERS_INTERVAL: Seconds = 3600.0

AT_ONCE = 2000
"""Machines of a list that are compared before others get a turn."""

T = TypeVar("T")


class Poller:
    """One fleet's inventory."""

    def __init__(
        self,
        fleet: str,
        cloud: Cloud,
        clock: Clock,
        interval: Seconds,
        report: Callable[[InventorySeen | InventoryFailed], None],
    ) -> None:
        """`report` takes each answer to the engine."""
        self.fleet = fleet
        self.interval = interval
        self._cloud = cloud
        self._clock = clock
        self._report = report
        self._now = asyncio.Event()
        self._known: dict[str, Machine] = {}

    def poke(self) -> None:
        """Ask again soon: something was changed."""
        self._now.set()

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            self._report(await self._ask())
            await asyncio.sleep(min(LEAST_PAUSE, self.interval))
            try:
                async with asyncio.timeout(max(0.0, self.interval - LEAST_PAUSE)):
                    await self._now.wait()
            except TimeoutError:
                pass
            self._now.clear()

    async def watch_leftovers(self, report: Callable[[LeftoversSeen], None]) -> None:
        """Ask for ever what machines left behind, seldom. A failure is unknown: nothing is reported."""
        await asyncio.sleep(LEFTOVERS_FIRST)
        while True:
            asked = self._clock.now().boot
            found, trouble = await _answer(self._cloud.leftovers())
            if found is None:
                log.warning("leftovers.unknown", fleet=self.fleet, error=trouble)
            else:
                report(LeftoversSeen(self.fleet, tuple(found), asked))
            await asyncio.sleep(LEFTOVERS_INTERVAL)

    async def _ask(self) -> InventorySeen | InventoryFailed:
        asked = self._clock.now().boot
        machines, trouble = await _answer(self._cloud.inventory())
        if machines is None:
            return InventoryFailed(self.fleet, trouble)
        return InventorySeen(self.fleet, await self._recognised(machines), asked)

    async def _recognised(self, machines: Sequence[Machine]) -> tuple[Machine, ...]:
        """Return each machine that is described just as before as the object that described it before.

        The engine then sees at a glance that nothing has changed, and no description is kept twice.
        """
        known, listed = self._known, dict[str, Machine]()
        for first in range(0, len(machines), AT_ONCE):
            for machine in machines[first : first + AT_ONCE]:
                before = known.get(machine.id)
                listed[machine.id] = before if before == machine and before is not None else machine
            await asyncio.sleep(0)
        self._known = listed
        return tuple(listed[machine.id] for machine in machines)


async def _answer(question: Awaitable[T]) -> tuple[T | None, str]:
    """Return a cloud's answer, else None and why there is none."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            return await question, ""
    except TimeoutError:
        return None, f"no answer within {ANSWER_LIMIT:.0f}s"
    except ProviderError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001  # a provider's bug is no evidence against a machine
        log.warning("cloud.raised", error=f"{type(error).__name__}: {error}")
        return None, f"{type(error).__name__}: {error}"
