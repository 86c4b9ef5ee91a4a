"""A machine that is suspect and well again in turn: counted, set aside until it is stable, and given up at last.

A blip is no stumble: only a suspicion that a second look confirmed counts, once.
"""

from __future__ import annotations

from collections import deque

from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Seconds


class Flapping:
    """The stumbles of one machine, and the spell that it is in, if it is in one. In memory; spells are stored."""

    __slots__ = ("_stumbles", "because", "since", "spells", "stood")

    def __init__(self) -> None:
        """Start steady."""
        self._stumbles: deque[BootTime] = deque()
        self.stood = False  # the present suspicion was confirmed by a second look
        self.since: BootTime | None = None  # when the present spell began
        self.because = ""  # what began it, with its numbers
        self.spells = 0  # begun within a day, the present one included

    def stumble(self, now: BootTime, judgement: Judgement) -> None:
        """Count one stumble."""
        self._stumbles.append(now)
        while now - self._stumbles[0] > judgement.flap_window:
            self._stumbles.popleft()

    def begin(self, now: BootTime, because: str) -> None:
        """Begin a spell."""
        self.since = now
        self.because = because

    def forgive(self) -> None:
        """Count none of the stumbles so far: they were not its own. A spell that has begun goes on."""
        self._stumbles.clear()

    @property
    def stumbles(self) -> int:
        """How many stumbles are remembered."""
        return len(self._stumbles)

    @property
    def span(self) -> Seconds:
        """The time over which they lie."""
        return self._stumbles[-1] - self._stumbles[0] if self._stumbles else 0.0

    def stable_for(self, judgement: Judgement) -> Seconds:
        """Return how long it must pass before the spell ends: each spell of a day doubles it."""
        return judgement.flap_stable * 2.0 ** max(0, self.spells - 1)

    def end(self) -> None:
        """End the spell."""
        self.since = None
        self.because = ""
        self.stood = False
        self._stumbles.clear()
