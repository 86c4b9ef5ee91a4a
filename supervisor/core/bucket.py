"""How fast a cloud is asked for machines: a bucket of tokens that fills by itself, and more slowly once the cloud objects.

Called by the workflow before each launch. In memory only: a restart begins with a full bucket.
"""

from __future__ import annotations

from supervisor.core.settings import Guards
from supervisor.core.terms import BootTime, Seconds

RECOVERS: Seconds = 60.0  # without an objection, before the rate doubles again
SLOWEST = 1 / 64  # of the rate
ONE_OBJECTION: Seconds = 5.0  # answers to calls that were on their way together are one


class Bucket:
    """One bucket, for all fleets: clouds count the calls of an account."""

    def __init__(self, now: BootTime) -> None:
        """Begin full, at full rate."""
        self._tokens: float | None = None
        self._at = now
        self._share = 1.0
        self._changed = now
        self._objected: BootTime = float("-inf")

    def take(self, guards: Guards, now: BootTime) -> bool:
        """Take one token; False: not yet."""
        while self._share < 1.0 and now - self._changed >= RECOVERS:
            self._share, self._changed = min(1.0, 2 * self._share), self._changed + RECOVERS
        full = float(guards.launch_burst)
        had = full if self._tokens is None else self._tokens
        self._tokens = min(full, had + (now - self._at) * guards.launch_rate * self._share)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def throttled(self, now: BootTime) -> None:
        """Go half as fast from now on: the cloud said that it is too much."""
        if now - self._objected < ONE_OBJECTION:
            return
        self._share = max(SLOWEST, self._share / 2)
        self._changed = self._objected = now
