"""Asks each fleet's cloud for its machines, at the configured interval and right after anything was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from supervisor.core.model import Seconds
from supervisor.core.signals import InventoryFailed, InventorySeen
from supervisor.errors import ProviderError
from supervisor.ports import Clock, Cloud

log = structlog.get_logger()

ANSWER_LIMIT: Seconds = 30.0
LEAST_PAUSE: Seconds = 0.2


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

    async def _ask(self) -> InventorySeen | InventoryFailed:
        asked = self._clock.now().boot
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                machines = await self._cloud.inventory()
        except TimeoutError:
            return InventoryFailed(self.fleet, f"no answer within {ANSWER_LIMIT:.0f}s")
        except ProviderError as error:
            return InventoryFailed(self.fleet, str(error))
        except Exception as error:  # noqa: BLE001  # a provider's bug is no evidence against a machine
            log.warning("inventory.raised", fleet=self.fleet, error=f"{type(error).__name__}: {error}")
            return InventoryFailed(self.fleet, f"{type(error).__name__}: {error}")
        return InventorySeen(self.fleet, tuple(machines), asked)
