"""Asks each fleet's cloud for its machines, at the configured interval and right after anything was changed.

What machines left behind is asked for about once an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from supervisor.core.signals import InventoryFailed, InventorySeen, LeftoversSeen
from supervisor.core.terms import Seconds
from supervisor.errors import ProviderError
from supervisor.ports import Clock, Cloud

log = structlog.get_logger()

ANSWER_LIMIT: Seconds = 30.0
LEAST_PAUSE: Seconds = 0.2
LEFTOVERS_FIRST: Seconds = 300.0
LEFTOVERS_INTERVAL: Seconds = 3600.0

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
        return InventorySeen(self.fleet, tuple(machines), asked)


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
