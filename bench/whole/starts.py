"""How evenly checks start: connections opened in each tenth of a second, as the kernel counts them."""

from __future__ import annotations

import threading
import time

from bench import proc

SLOT = 0.1


class Starts(threading.Thread):
    """Counts for ever, in the network namespace that it is started in. `take` empties it."""

    def __init__(self) -> None:
        """Begin to count."""
        super().__init__(daemon=True)
        self._rates: list[float] = []
        self.start()

    def run(self) -> None:
        """Read the counter ten times a second; what a reading that came late tells of is spread over its time."""
        before, at = proc.tcp("ActiveOpens"), time.monotonic()
        while True:
            time.sleep(max(0.0, at + SLOT - time.monotonic()))
            now, opened = time.monotonic(), proc.tcp("ActiveOpens")
            self._rates.append((opened - before) / (now - at))
            before, at = opened, now

    def take(self) -> float:
        """Return the busiest tenth of a second since the last call, in starts a second; 0.0 where there was none."""
        rates, self._rates = self._rates, []
        return max(rates, default=0.0)
