"""How long a fleet's machines take to boot, and from when on one has failed to: learnt from the last good boots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import ceil

from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Seconds

KEPT = 50
ENOUGH = 10
QUANTILE = 0.995
FACTOR = 1.5


class Boots:
    """The durations of the last good boots, from the launch until the startup checks passed."""

    __slots__ = ("durations", "noted")

    def __init__(self, durations: Iterable[Seconds] = ()) -> None:
        """Go on with what was learnt before."""
        self.durations: deque[Seconds] = deque(durations, maxlen=KEPT)
        self.noted: deque[BootTime] = deque((float("-inf") for _ in self.durations), maxlen=KEPT)

    def note(self, duration: Seconds, now: BootTime) -> None:
        """Take one good boot."""
        self.durations.append(duration)
        self.noted.append(now)

    def deadline(self, judgement: Judgement, begun: BootTime = float("inf")) -> Seconds:
        """Return the time after which a newcomer has failed to boot; the configured one until ten boots are known.

        What was known when it began counts. Of many launched together the quickest are known first: what they took
        must not be the measure of the others.
        """
        ordered = sorted(d for d, at in zip(self.durations, self.noted, strict=True) if at <= begun)
        if len(ordered) < ENOUGH:
            return judgement.boot_deadline
        longest = ordered[ceil(QUANTILE * len(ordered)) - 1]
        return min(max(FACTOR * longest, judgement.boot_least), judgement.boot_most)
