"""How fast we may call AWS: token buckets like its own, at half of their size, so that people and others have room.

https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html has the numbers. They belong to the account in a
region, for whoever calls. `Bucket` is arithmetic; `Buckets` is the lock around it, and waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

PACES: Mapping[str, tuple[float, float]] = {
    "reads": (50, 10.0),
    "unfiltered reads": (25, 5.0),
    "mutations": (25, 2.5),
    "RunInstances": (2, 1.0),
    "StartInstances": (2, 1.0),
    "TerminateInstances": (50, 2.5),
    "CreateTags": (50, 5.0),
    "elbv2": (20, 5.0),
    "autoscaling": (20, 5.0),
}
"""Calls at once, and calls a second: half of AWS's."""

PATIENCE = 4.0  # seconds that a call waits for its turn
CROWD = 1.0  # seconds in which refusals count as one: those calls were on their way before we slowed down
LEAST_PACE = 1 / 16
RECOVERY = 300.0  # seconds from standing still to full speed
READS = ("Describe", "Get", "List")


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many calls at once, so many a second. Times are seconds on any one clock.

    Never more than `capacity + rate * t` calls begin in any `t` seconds. `tokens` below nought are calls that wait.
    """

    capacity: float
    rate: float
    tokens: float
    at: float
    pace: float = 1.0
    """The share of the rate that AWS lets us have: halved when it refuses, back in `RECOVERY` seconds."""
    refused: float = -math.inf
    """When it was halved last."""

    def filled(self, now: float) -> Bucket:
        """Let time pass."""
        passed = max(0.0, now - self.at)
        # The slower pace of the beginning counts for the whole time: too few tokens are safe, too many are not.
        tokens = min(self.capacity, self.tokens + passed * self.rate * self.pace)
        return replace(self, tokens=tokens, at=max(self.at, now), pace=min(1.0, self.pace + passed / RECOVERY))

    def taken(self, now: float, patience: float) -> tuple[Bucket, float | None]:
        """Take a token; return the seconds until it is there, or None (and take nothing) beyond the patience."""
        full = self.filled(now)
        wait = max(0.0, 1.0 - full.tokens) / (full.rate * full.pace)
        if wait > patience:
            return full, None
        return replace(full, tokens=full.tokens - 1.0), wait

    def slowed(self, now: float) -> Bucket:
        """Go at half the pace: AWS has refused, so its bucket is empty, whatever we thought."""
        full = self.filled(now)
        empty = replace(full, tokens=min(full.tokens, 0.0))
        if now - full.refused < CROWD:
            return empty
        return replace(empty, pace=max(LEAST_PACE, full.pace / 2), refused=now)


class Buckets:
    """The buckets of one account in one region. Safe to use from any thread."""

    def __init__(self, paces: Mapping[str, tuple[float, float]] = PACES, patience: float = PATIENCE) -> None:
        """Begin with full ones. `patience` in seconds."""
        now = time.monotonic()
        self._patience = patience
        self._lock = threading.Lock()
        self._buckets = {name: Bucket(n, rate, n, now) for name, (n, rate) in paces.items()}

    def wait(self, service: str, action: str, params: Mapping[str, object]) -> bool:
        """Wait for a call's turn; False, soon, if it would take too long."""
        name = bucket_of(service, action, params)
        with self._lock:
            self._buckets[name], wait = self._buckets[name].taken(time.monotonic(), self._patience)
        if wait is None:
            return False
        if wait:
            time.sleep(wait)
        return True

    def slow(self, service: str, action: str, params: Mapping[str, object]) -> None:
        """Take note that AWS refused such a call as one too many."""
        name = bucket_of(service, action, params)
        with self._lock:
            self._buckets[name] = self._buckets[name].slowed(time.monotonic())


def bucket_of(service: str, action: str, params: Mapping[str, object]) -> str:
    """Return the name of the bucket that a call takes from, as AWS groups its actions."""
    if service != "ec2":
        return service if service in PACES else "reads"  # who we are is asked by a person's command, once
    if action in PACES:
        return action
    if not action.startswith(READS):
        return "mutations"
    narrowed = any(key.endswith(("Id", "Ids")) or key in ("Filters", "MaxResults") for key in params)
    return "reads" if narrowed else "unfiltered reads"
