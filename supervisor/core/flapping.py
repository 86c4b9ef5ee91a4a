"""A machine that is suspect and well again in turn: counted, set aside until it is stable, and given up at last.

A blip is no change: only a suspicion that a second look confirmed counts, once when it is and once when it ends.
"""

from __future__ import annotations

from collections import deque

from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Seconds


class Flapping:
    """The changes of one machine, and the spell that it is in, if it is in one. In memory; spells are stored."""

    __slots__ = ("_changes", "since", "spells", "stood")

    def __init__(self) -> None:
        """Start steady."""
        self._changes: deque[BootTime] = deque()
        self.stood = False  # the present suspicion was confirmed by a second look
        self.since: BootTime | None = None  # when the present spell began
        self.spells = 0  # begun within a day, the present one included

    def change(self, now: BootTime, judgement: Judgement) -> bool:
        """Count one change; return whether a spell begins with it."""
        self._changes.append(now)
        while now - self._changes[0] > judgement.flap_window:
            self._changes.popleft()
        if self.since is not None or len(self._changes) < judgement.flap_changes:
            return False
        self.since = now
        return True

    def forgive(self) -> None:
        """Count none of the changes so far: they were not its own. A spell that has begun goes on."""
        self._changes.clear()

    @property
    def changes(self) -> int:
        """How many changes are remembered."""
        return len(self._changes)

    def stable_for(self, judgement: Judgement) -> Seconds:
        """Return how long it must pass before the spell ends: each spell of a day doubles it."""
        return judgement.flap_stable * 2.0 ** max(0, self.spells - 1)

    def end(self) -> None:
        """End the spell."""
        self.since = None
        self.stood = False
        self._changes.clear()
