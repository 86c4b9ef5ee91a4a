"""A timer wheel: a hundred thousand cadences for the price of a list. Pure: the caller brings the time.

Keys wait in slots of 10 ms, taken modulo one turn; what lies further than a turn away goes round again. Adding,
moving and removing cost the same however many keys there are.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import ceil
from typing import Generic, TypeVar
from zlib import crc32

K = TypeVar("K", bound=Hashable)


def phase(name: str, interval: float) -> float:
    """Return where in its interval a cadence starts, in seconds: spread evenly, and the same after a restart."""
    return crc32(name.encode()) / 2**32 * interval


class Wheel(Generic[K]):
    """Keys by the time they are due, in seconds of any one clock. Never early; late by less than one slot."""

    def __init__(self, now: float, slot: float = 0.01, slots: int = 4096) -> None:
        """Start turning at `now`."""
        self._slot = slot
        self._slots: list[dict[K, float]] = [{} for _ in range(slots)]
        self._place: dict[K, int] = {}
        self._turned = int(now / slot)

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._place)

    def add(self, key: K, due: float) -> None:
        """Let a key wait; an earlier wait of the same key is forgotten."""
        self.remove(key)
        number = max(ceil(due / self._slot), self._turned + 1) % len(self._slots)
        self._slots[number][key] = due
        self._place[key] = number

    def remove(self, key: K) -> None:
        """Forget a key, if it waits."""
        number = self._place.pop(key, None)
        if number is not None:
            del self._slots[number][key]

    def advance(self, now: float) -> list[tuple[K, float]]:
        """Turn to `now`; return the keys that are due, each with the time it was due, earliest first."""
        target = int(now / self._slot)
        turns = min(target - self._turned, len(self._slots))
        found: list[tuple[K, float]] = []
        for step in range(turns):
            slot = self._slots[(target - step) % len(self._slots)]
            found += [(key, due) for key, due in slot.items() if due <= now]
        self._turned = max(self._turned, target)
        for key, _ in found:
            self.remove(key)
        return sorted(found, key=lambda item: item[1])
