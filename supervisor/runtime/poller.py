"""Asks each fleet's cloud for its machines, at the configured interval and right after anything was changed.

What machines left behind is asked for about once an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import structlog

from supervisor.core.machine import Machine
from supervisor.core.model import Instance
from supervisor.core.requests import Words
from supervisor.core.signals import InventoryFailed, InventorySeen, LeftoversSeen
from supervisor.core.terms import BootTime, Seconds
from supervisor.core.world import Key
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
        journal: Mapping[Key, Instance] = MappingProxyType({}),
    ) -> None:
        """`report` takes each answer to the engine. What `journal` says of a machine as well is kept once."""
        self.fleet = fleet
        self.interval = interval
        self._cloud = cloud
        self._clock = clock
        self._journal = journal
        self._report = report
        self._now = asyncio.Event()
        self._last: Mapping[str, Machine] = {}
        self._words: dict[Words, Words] = {}  # what many machines share, kept once

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
        return await self._compared(machines, asked)

    async def _compared(self, machines: Sequence[Machine], asked: BootTime) -> InventorySeen:
        """Return the list with what is new in it; who is described just as before is the same object as before.

        Neither the engine nor the history need look at the others then, and no description is kept twice.
        """
        before, listed, news, appeared = self._last, dict[str, Machine](), list[str](), 0
        for first in range(0, len(machines), AT_ONCE):
            for machine in machines[first : first + AT_ONCE]:
                known = before.get(machine.id)
                if known is not None and known == machine:
                    listed[known.id] = known
                    continue
                listed[machine.id] = self._sharing(machine)
                news.append(machine.id)
                appeared += known is None
            await asyncio.sleep(0)
        if len(listed) != len(before) + appeared:
            news += [name for name in before if name not in listed]
        self._last = listed if news else before
        return InventorySeen(self.fleet, self._last, asked, before, tuple(news))

    def _sharing(self, machine: Machine) -> Machine:
        """Return a machine with its name and address as the journal has them, and its labels as those of its like."""
        labels = self._words.setdefault(machine.labels, machine.labels)
        known = self._journal.get(machine.id)
        if known is None:
            return replace(machine, labels=labels)
        address = known.address if known.address == machine.address else machine.address
        return replace(machine, id=known.id, address=address, labels=labels)


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
