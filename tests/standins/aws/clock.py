"""The stand-in's time: AWS's own seconds, which may pass faster than ours and may be skipped."""

from __future__ import annotations

import time
from dataclasses import dataclass


class Clock:
    """Seconds of AWS since the start. With a rate of 20, its five minutes are our fifteen seconds."""

    def __init__(self, rate: float = 1.0) -> None:
        """Begin at nought."""
        self.rate = rate
        self._began = time.monotonic()
        self._skipped = 0.0

    @property
    def now(self) -> float:
        """AWS's seconds since the start."""
        return (time.monotonic() - self._began) * self.rate + self._skipped

    def forward(self, seconds: float) -> None:
        """Skip some of AWS's seconds."""
        self._skipped += seconds

    def ours(self, seconds: float) -> float:
        """Return how long AWS's seconds take us."""
        return seconds / self.rate


@dataclass(slots=True)
class Timing:
    """How long things take, in AWS's seconds. The defaults are AWS's on a good day; all may be changed at any time."""

    visible: float = 2.0
    """From the answer of RunInstances until any other call knows the instance."""
    pending: float = 15.0
    booting: float = 10.0
    """From `running` until the machine's web server listens; until then it refuses connections."""
    initializing: float = 120.0
    """From `running` until the status checks have an opinion."""
    stopping: float = 10.0
    shutting_down: float = 10.0
    gone: float = 3600.0
    """From `terminated` until the instance is no longer shown."""
    registering: float = 5.0
    """From RegisterTargets until the load balancer's first probe."""
    snapshot: float = 600.0
    """From CreateSnapshots until a snapshot is `completed`."""
    launching: float = 5.0
    """Between two looks of an Auto Scaling group at itself."""
