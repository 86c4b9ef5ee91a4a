"""A timer wheel: a hundred thousand cadences for the price of a list. Pure: the caller brings the time.

Items wait in slots of 5 ms, taken modulo one turn; what lies further than a turn away goes round again, and of the slot
that has only begun those wait on whose time is still to come. An item carries its own due time and knows where it waits,
so that it costs nothing beside itself. Adding and removing cost the same however many items there are.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from zlib import crc32


def phase(name: str, interval: float) -> float:
    """Return where in its interval a cadence starts, in seconds: spread evenly, and the same after a restart."""
    return crc32(name.encode()) / 2**32 * interval


class Timed:
    """What can wait in one wheel. `due` is in seconds of any one clock, `place` is where it waits; both are the wheel's."""

    __slots__ = ("due", "place")

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self.due = 0.0
        self.place: list[Any] | None = None  # Any: items like this one

    @property
    def waits(self) -> bool:
        """Whether it waits for its time."""
        return self.place is not None


T = TypeVar("T", bound=Timed)


class Wheel(Generic[T]):
    """Items by the time they are due: found at the first turn after it, never before."""

    def __init__(self, now: float, slot: float = 0.005, slots: int = 8192) -> None:
        """Start turning at `now`."""
        self._slot = slot
        self._slots: list[list[T]] = [[] for _ in range(slots)]
        self._turned = int(now / slot)

    def add(self, item: T, due: float) -> None:
        """Let an item wait; an earlier wait of the same item is forgotten."""
        if item.place is not None:
            item.place.remove(item)
        slot = self._slots[max(int(due / self._slot), self._turned) % len(self._slots)]
        slot.append(item)
        item.due, item.place = due, slot

    def remove(self, item: T) -> None:
        """Forget an item, if it waits."""
        if item.place is not None:
            item.place.remove(item)
            item.place = None

    def advance(self, now: float) -> list[T]:
        """Turn to `now`; return the items that are due, earliest first, to the precision of a slot."""
        target = int(now / self._slot)
        turns = min(target + 1 - self._turned, len(self._slots))
        found: list[T] = []
        for number in range(target + 1 - turns, target + 1):
            if slot := self._slots[number % len(self._slots)]:
                found += [item for item in slot if item.due <= now]
                slot[:] = [item for item in slot if item.due > now]
        self._turned = max(self._turned, target)
        for item in found:
            item.place = None
        return found
