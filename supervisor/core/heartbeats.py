"""Whether the signs of life still come that a machine sends by itself, by another way than the checks go.

Phi accrual (Hayashibara 2004): φ = -log10 P(a beat is still to come after so long a silence), from the running mean
and deviation of the machine's own beats. A stale heartbeat alone accuses nobody; it is a second class of evidence.
"""

from __future__ import annotations

from functools import cache
from math import erfc, inf, log10, sqrt
from statistics import NormalDist

from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime

WINDOW = 100  # beats that the mean and the deviation remember
OLD = 1 / WINDOW  # what the next beat weighs after so many
LATE = 1.5  # usual spaces between two beats: the next one is overdue


class Heartbeat:
    """The beats of one machine: constant memory, however many there were."""

    __slots__ = (
        "_deviation",
        "_expected",
        "_variance",
        "beats",
        "fresh_until",
        "last",
        "mean",
        "stale_at",
        "waits_from",
    )

    def __init__(self) -> None:
        """Start before the first beat."""
        self.last: BootTime = -inf
        self.beats = 0
        self.mean = 0.0
        self._variance = 0.0
        self._expected = 0.0
        self._deviation = 1.0
        self.waits_from: BootTime = -inf  # the last beat, or the last excuse
        self.fresh_until: BootTime = -inf
        self.stale_at: BootTime = -inf

    def beat(self, at: BootTime, judgement: Judgement) -> None:
        """Take one beat; one that is older than the last, or was counted, says nothing new."""
        if at <= self.last:
            return
        beats = self.beats
        if beats:
            weight = OLD if beats > WINDOW else 1 / beats
            off = at - self.last - self.mean
            self.mean += weight * off
            self._variance = (1 - weight) * (self._variance + weight * off * off)
        self.beats = beats + 1
        self.last = self.waits_from = at
        self._expected = expected = self.mean + judgement.heartbeat_pause
        least = judgement.heartbeat_deviation
        # Nearly all beats are more regular than we believe any to be: no root for those.
        deviation = sqrt(self._variance) if self._variance > least * least else least
        self._deviation = deviation
        self.fresh_until = self.stale_at = at + expected + _deviations(judgement.heartbeat_phi) * deviation

    def excuse(self, now: BootTime, judgement: Judgement) -> None:
        """Begin to wait afresh: beats may have been missed by us. That is no sign of life."""
        self.waits_from = max(self.last, now)
        self.stale_at = self.waits_from + self._expected + _deviations(judgement.heartbeat_phi) * self._deviation

    def phi(self, now: BootTime) -> float:
        """Return how surprising the silence is: 8 means that it comes by chance once in 10^8 beats."""
        deviations = (now - self.last - self._expected) / self._deviation
        chance = 0.5 * erfc(deviations / sqrt(2))
        return -log10(chance) if chance > 0 else inf

    def is_fresh(self, now: BootTime) -> bool:
        """Return whether the last beat is so young that the silence since then is an ordinary one."""
        return now < self.fresh_until

    def is_stale(self, now: BootTime) -> bool:
        """Return whether the silence surprises, all excuses counted. Neither fresh nor stale: nobody can say."""
        return now >= self.stale_at

    def is_missed(self, now: BootTime, judgement: Judgement) -> bool:
        """Return whether a beat or more is overdue, long before the silence surprises."""
        return self.is_stale(now) or now - self.waits_from > max(judgement.heartbeat_pause, LATE * self.mean)


@cache
def _deviations(phi: float) -> float:
    """Return how many deviations beyond the expected moment φ is reached."""
    return -NormalDist().inv_cdf(10**-phi)
