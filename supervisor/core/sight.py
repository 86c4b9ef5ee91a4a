"""Whether the supervisor itself can see: sentinels, the rate of results, clock jumps, and the amnesty afterwards.

Blind means: nobody turns sick, nothing is taken away. When sight returns, all suspicion starts afresh (an amnesty).
"""

from __future__ import annotations

from supervisor.core.settings import Guards
from supervisor.core.terms import BootTime, Now, Seconds

LEAST_WINDOW: Seconds = 10.0
ROUNDS = 2  # in a window: in less than two rounds, results that all come in time can bunch outside it
LEAST_EXPECTED = 5.0


class Sight:
    """What the supervisor knows of its own eyes. Mutable, in memory only."""

    def __init__(self, now: Now) -> None:
        """Begin with open eyes; the start-up amnesty is the engine's."""
        self.sentinels: dict[str, tuple[bool, str]] = {}
        self._offset = now.wall.timestamp() - now.boot
        self._last_step = now.boot
        self._window_from = now.boot
        self._expected = 0.0
        self._received = 0
        self._counted_to = now.boot
        self._few = ""
        self._window = LEAST_WINDOW

    def schedule(self, round_length: Seconds) -> None:
        """Take how long one round of every check takes at most: what the window has to hold several of."""
        self._window = max(LEAST_WINDOW, ROUNDS * round_length)

    def count(self, results: int) -> None:
        """Note how many results came in."""
        self._received += results

    def expect(self, per_second: float, now: BootTime, guards: Guards) -> None:
        """Advance the window with the rate of results that the schedule promises."""
        self._expected += per_second * max(0.0, now - self._counted_to)
        self._counted_to = now
        if now - self._window_from < self._window:
            return
        if self._expected >= LEAST_EXPECTED and self._received < guards.result_rate * self._expected:
            got = self._received / self._expected
            self._few = f"only {got:.0%} of the expected results arrive"
        else:
            self._few = ""
        self.restart_window(now)

    def restart_window(self, now: BootTime) -> None:
        """Count afresh: the schedule changed, or time was lost."""
        self._window_from = self._counted_to = now
        self._expected, self._received = 0.0, 0

    def gap(self, now: Now, seconds_idle_allowed: Seconds) -> tuple[Seconds, Seconds]:
        """Return (seconds lost since the last step, seconds that the wall clock jumped), and remember this step."""
        lost = max(0.0, now.boot - self._last_step - seconds_idle_allowed)
        offset = now.wall.timestamp() - now.boot
        jump = offset - self._offset
        self._last_step, self._offset = now.boot, offset
        return lost, jump

    @property
    def blind(self) -> str:
        """Why nothing may be believed now; '' when all is well."""
        failing = [
            f"sentinel {name} fails{f': {detail}' if detail else ''}"
            for name, (ok, detail) in sorted(self.sentinels.items())
            if not ok
        ]
        if self._few:
            failing.append(self._few)
        return "; ".join(failing)
