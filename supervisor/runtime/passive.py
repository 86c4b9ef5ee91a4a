"""Passive checks: judged here in the daemon, on their cadence, from what came in by other ways. They ask nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from supervisor.api import Instance, PassiveCheck, Report
from supervisor.core.signals import Observe, Result
from supervisor.runtime.runner import boottime, judged_passively
from supervisor.runtime.schedule import Pair, Schedule, Spec

TICK = 0.1
"""Seconds: ten thousand judgements a second hold the loop for some milliseconds each time."""


class PassiveHost:
    """Everyone whose passive checks are judged."""

    def __init__(self, report: Callable[[Instance], Report], results: asyncio.Queue[Sequence[Result]]) -> None:
        """`report` returns what is known of an instance now; what it means goes to `results`."""
        self._report = report
        self._results = results
        self._schedule = Schedule(boottime())
        self._fleets: Mapping[str, Mapping[str, Spec]] = {}
        self._asked: dict[str, None] = {}

    def configure(self, fleets: Mapping[str, Mapping[str, Spec]], watched: Iterable[Observe]) -> None:
        """Take the passive checks by fleet and name; fleets without any are left out. `watched` is everyone."""
        self._fleets = fleets
        self._schedule.configure(fleets, boottime())
        for command in watched:
            self.observe(command)

    def observe(self, command: Observe) -> None:
        """Judge an instance from now on, if its fleet has a passive check."""
        if command.fleet in self._fleets:
            instance = Instance(
                command.instance, command.fleet, command.address, command.zone, command.image, command.version
            )
            self._schedule.observe(instance, boottime(), fast=command.fast)
        else:
            self._schedule.forget(command.instance)

    def forget(self, instance: str) -> None:
        """Judge an instance no more."""
        self._schedule.forget(instance)

    def ask(self, instances: Iterable[str]) -> None:
        """Judge these at once as well."""
        self._asked |= dict.fromkeys(instances)

    async def run(self) -> None:
        """Judge who is due, for ever."""
        while True:
            results = self.turn(boottime())
            if results:
                await self._results.put(results)
            await asyncio.sleep(TICK)

    def turn(self, now: float) -> list[Result]:
        """Return the results of those that are due at `now`, on CLOCK_BOOTTIME, and of those that were asked for."""
        due = [pair for pair, _ in self._schedule.due(now)]
        due += [pair for name in self._asked for pair in self._schedule.pairs(name)]
        self._asked.clear()
        return [self._judged(pair, now) for pair in due]

    def _judged(self, pair: Pair, now: float) -> Result:
        check, instance = pair.spec.check, pair.watched.instance
        if not isinstance(check, PassiveCheck):
            raise TypeError(f"{pair.spec.kind} is no passive check")
        found = judged_passively(check, instance, self._report(instance))
        return Result(instance.id, pair.spec.name, found.status, found.silent, now, now, found.text, found.metrics)
