"""How often a well machine fails a check by chance: learnt over a fleet, from the results of quiet times.

Called by the study of a fleet every few seconds. What is counted waits a minute before it is believed: the failures
with which a machine turns sick are taken back, they were no blips.
"""

from __future__ import annotations

from collections import deque
from math import exp

from supervisor.core.evidence import Tally
from supervisor.core.terms import BootTime, Seconds, Status

MEMORY: Seconds = 86400.0
BELIEVED_AFTER: Seconds = 60.0
PRIOR_RESULTS = 1000.0  # so many results weigh as much as the configured rate
LEAST, MOST = 0.002, 0.05


class Blips:
    """The blip rate of one check over a fleet. `fails` and `total` fade with `MEMORY`."""

    __slots__ = ("_fails_seen", "_passes_seen", "_pending", "_studied_at", "fails", "total")

    def __init__(self, fails: float = 0.0, total: float = 0.0) -> None:
        """Go on with what was learnt before."""
        self.fails, self.total = fails, total
        self._passes_seen = self._fails_seen = 0
        self._pending: deque[tuple[BootTime, int, int]] = deque()
        self._studied_at: BootTime | None = None

    def study(self, tally: Tally, now: BootTime, *, frozen: bool) -> None:
        """Take what was counted since the last time; nothing of the last minute counts while `frozen`."""
        passes, fails = tally[Status.OK], tally[Status.CRITICAL]
        new = (now, passes - self._passes_seen, fails - self._fails_seen)
        self._passes_seen, self._fails_seen = passes, fails
        since, self._studied_at = self._studied_at, now
        if frozen:
            self._pending.clear()
            return
        self._pending.append(new)
        if since is not None:
            fade = exp(-(now - since) / MEMORY)
            self.fails *= fade
            self.total *= fade
        while self._pending and now - self._pending[0][0] >= BELIEVED_AFTER:
            _, more_passes, more_fails = self._pending.popleft()
            self.fails += more_fails
            self.total += more_passes + more_fails

    def rate(self, configured: float) -> float:
        """Return the share of questions that a well machine fails; the configured one until enough was seen."""
        learnt = (self.fails + PRIOR_RESULTS * configured) / (self.total + PRIOR_RESULTS)
        return min(max(learnt, LEAST), max(MOST, configured))
