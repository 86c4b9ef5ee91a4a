"""The real clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from supervisor.core.terms import Now


class SystemClock:
    """CLOCK_BOOTTIME for durations, UTC for people."""

    def now(self) -> Now:
        """Return the present moment."""
        return Now(time.clock_gettime(time.CLOCK_BOOTTIME), datetime.now(UTC))
