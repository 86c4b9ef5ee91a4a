"""Virtual time for the exam: one heap of calls, taken in order; what falls on the same moment, in the order it was asked."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from supervisor.core.terms import BootTime, Seconds

Call = Callable[[], None]


class Clockwork:
    """Time moves only from one call to the next."""

    def __init__(self, start: BootTime = 0.0) -> None:
        """Start at a moment."""
        self.now: BootTime = start
        self._heap: list[tuple[BootTime, int, Call]] = []
        self._count = 0

    def at(self, moment: BootTime, call: Call) -> None:
        """Have something called at a moment, not before now."""
        self._count += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._count, call))

    def after(self, seconds: Seconds, call: Call) -> None:
        """Have something called so many seconds from now."""
        self.at(self.now + seconds, call)

    def every(self, seconds: Seconds, call: Call, first: Seconds = 0.0) -> None:
        """Have something called again and again, for ever."""

        def again() -> None:
            call()
            self.after(seconds, again)

        self.after(first, again)

    def run(self, until: BootTime) -> None:
        """Let time pass."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            call()
        self.now = max(self.now, until)
