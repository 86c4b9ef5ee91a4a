"""How long a fleet's machines take to boot, and from when on one has failed to: learnt from the last good boots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import ceil

from supervisor.core.settings import Judgement
from supervisor.core.terms import Seconds

KEPT = 50
ENOUGH = 10
QUANTILE = 0.995
FACTOR = 1.5


class Boots:
    """The durations of the last good boots, from the launch until the startup checks passed."""

    __slots__ = ("durations",)

    def __init__(self, durations: Iterable[Seconds] = ()) -> None:
        """Go on with what was learnt before."""
        self.durations: deque[Seconds] = deque(durations, maxlen=KEPT)

    def note(self, duration: Seconds) -> None:
        """Take one good boot."""
        self.durations.append(duration)

    def deadline(self, judgement: Judgement) -> Seconds:
        """Return the time after which a newcomer has failed to boot; the configured one until ten boots are known."""
        if len(self.durations) < ENOUGH:
            return judgement.boot_deadline
        ordered = sorted(self.durations)
        longest = ordered[ceil(QUANTILE * len(ordered)) - 1]
        return min(max(FACTOR * longest, judgement.boot_least), judgement.boot_most)
