"""The newest numbers that checks measured, for plots. Nothing is judged by them, and a restart forgets them.

Bounded whatever is measured: so many points of a number, numbers of a check, and numbers in all. Times are on the boot
clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from supervisor.core.signals import Result
from supervisor.core.terms import BootTime, Seconds

POINTS = 240
"""Of one number: forty minutes of a check every ten seconds. With their times, 16 bytes each."""
LABELS = 64
"""Of one check of an instance. One that measures something else each time loses what it measured longest ago."""
SERIES = 10_000
"""In all, some 40 MB; more are left out, and counted."""
OLD: Seconds = 3600.0
"""What was not measured for so long makes room for others."""
LOOK: Seconds = 60.0


class Series:
    """One number over time, oldest first."""

    __slots__ = ("at", "values")

    def __init__(self) -> None:
        """Begin without a point."""
        self.at = array("d")
        self.values = array("d")

    def add(self, at: BootTime, value: float) -> None:
        """Add the newest point; the oldest goes where there are enough."""
        self.at.append(at)
        self.values.append(value)
        if len(self.at) > POINTS:
            del self.at[0], self.values[0]


class Measured:
    """Every number that is kept."""

    def __init__(self, most: int = SERIES) -> None:
        """Keep nothing yet, and `most` numbers at most."""
        self.left_out = 0  # numbers that were not kept for want of room, since the start
        self._most = most
        self._count = 0
        self._kept: dict[str, dict[str, dict[str, Series]]] = {}  # instance -> check -> label
        self._looked: BootTime = float("-inf")

    def take(self, results: Iterable[Result]) -> None:
        """Keep what came with some results. Most have none: the hot path."""
        for result in results:
            if result.metrics:
                self._add(result)

    def of(self, instance: str) -> Iterator[tuple[str, str, Series]]:
        """Yield each number of an instance with its check and its label, in order."""
        for check, found in sorted(self._kept.get(instance, {}).items()):
            for label, series in sorted(found.items()):
                yield check, label, series

    def _add(self, result: Result) -> None:
        found = self._kept.setdefault(result.instance, {}).setdefault(result.check, {})
        for label, value in result.metrics.items():
            series = found.get(label)
            if series is None:
                if len(found) >= LABELS:
                    del found[min(found, key=lambda name: found[name].at[-1])]
                    self._count -= 1
                elif not self._has_room(result.sent):
                    self.left_out += 1
                    continue
                series = found[label] = Series()
                self._count += 1
            series.add(result.sent, value)

    def _has_room(self, now: BootTime) -> bool:
        """Return whether one more number can be kept; now and then, after a look for old ones."""
        if self._count >= self._most and now - self._looked >= LOOK:
            self._looked = now
            for found in (found for checks in self._kept.values() for found in checks.values()):
                for label in [name for name, series in found.items() if now - series.at[-1] > OLD]:
                    del found[label]
                    self._count -= 1
        return self._count < self._most
