"""How often a well machine stumbles by chance, and so how many stumbles in a short time are too many for chance.

A stumble is a suspicion that a second look confirmed: a burst of loss of a few seconds makes one. How often that
happens is learnt over a fleet in quiet times, as blips are. The number that counts as flapping follows from it, from
the fleet's size, and from the false alarms that it may raise: two bursts in half an hour come to some machine of a
large fleet every few hours. Called by the watch for flapping machines, and by the study of a fleet.
"""

from __future__ import annotations

from collections import deque
from math import exp, log

from supervisor.core.burst import tail
from supervisor.core.evidence import MONTH
from supervisor.core.terms import BootTime, Seconds

DAY: Seconds = 86400.0
MEMORY: Seconds = 7 * DAY
BELIEVED_AFTER: Seconds = 60.0
PRIOR_RATE = 1.0  # stumbles of a machine in a day, until more is known
PRIOR_DAYS = 30.0  # of one machine, that weigh as much
LEAST, MOST = 0.1, 12.0
WELL_PEERS = 10  # that are thought of besides the others: in a small fleet, one other stumble says little
MOST_NEEDED = 60


class Stumbles:
    """The stumbles of one fleet. `count` and `days` (of one machine) fade with `MEMORY`."""

    __slots__ = ("_last", "_new", "_pending", "_studied_at", "count", "days")

    def __init__(self, count: float = 0.0, days: float = 0.0) -> None:
        """Go on with what was learnt before."""
        self.count, self.days = count, days
        self._last: dict[str, BootTime] = {}  # machine -> its latest stumble, oldest first
        self._new = 0
        self._pending: deque[tuple[BootTime, int, float]] = deque()
        self._studied_at: BootTime | None = None

    def note(self, name: str, now: BootTime, window: Seconds) -> None:
        """Count a stumble. Only a machine's first in a window teaches: one that flaps must not make that usual."""
        while self._last:
            oldest = next(iter(self._last))
            if now - self._last[oldest] <= window:
                break
            del self._last[oldest]
        if self._last.pop(name, None) is None:
            self._new += 1
        self._last[name] = now

    def study(self, machines: int, now: BootTime, *, frozen: bool) -> None:
        """Take what was counted since the last time; nothing of the last minute counts while `frozen`."""
        new, self._new = self._new, 0
        since, self._studied_at = self._studied_at, now
        if frozen:
            self._pending.clear()
            return
        if since is not None:
            fade = exp(-(now - since) / MEMORY)
            self.count *= fade
            self.days *= fade
            self._pending.append((now, new, machines * (now - since) / DAY))
        while self._pending and now - self._pending[0][0] >= BELIEVED_AFTER:
            _, more, days = self._pending.popleft()
            self.count += more
            self.days += days

    @property
    def rate(self) -> float:
        """Stumbles that a well machine has in a day."""
        learnt = (self.count + PRIOR_RATE * PRIOR_DAYS) / (self.days + PRIOR_DAYS)
        return min(max(learnt, LEAST), MOST)

    def expected(self, name: str, machines: int, window: Seconds) -> float:
        """Return how many a well machine has in a window: as learnt, or as the others have now, if that is more.

        When many stumble at the same time, one more that does so is nothing special, whatever they share.
        """
        others = len(self._last) - (name in self._last)
        peers = max(machines - 1, others) + WELL_PEERS
        return max(self.rate * window / DAY, -log(1.0 - others / peers))


def needed(machines: int, expected: float, window: Seconds, alarms: float) -> int:
    """Return the fewest stumbles within a window that a whole fleet sees by chance `alarms` times a month, or less.

    Each stumble may be the last one needed: then the others lie in the window before it.
    """
    looks = max(1, machines) * expected * MONTH / window
    count = 1
    while count < MOST_NEEDED and looks * tail(count - 1, expected) > alarms:
        count += 1
    return count
