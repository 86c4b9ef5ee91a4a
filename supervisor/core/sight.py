"""Whether the supervisor itself can see: sentinels, its own pace, the rate of results, clock jumps, and the amnesty.

Blind means: nobody turns sick, nothing is taken away. When sight returns, all suspicion starts afresh (an amnesty).
The score says how slow the supervisor itself is (Lifeguard, Dadgar 2017): time limits grow with it, and more failures
are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.settings import Guards
from supervisor.core.signals import SelfReported, Sense, SentinelReported
from supervisor.core.terms import BootTime, Now, Seconds

FLICKERS: Seconds = 1800.0
"""Sight that is lost again so soon after it came back only flickers: it must stay clear for twice as long."""
MOST_TIMES = 4
LEAST_WINDOW: Seconds = 10.0
ROUNDS = 2  # in a window: in less than two rounds, results that all come in time can bunch outside it
LEAST_EXPECTED = 5.0

TICK: Seconds = 5.0
MOST = 8
BLIND_FROM = 3
LAG: Seconds = 0.25
START_DELAY = 0.5  # of an interval
SENTINELS_HOLD = 2


@dataclass(frozen=True, slots=True)
class Sentinel:
    """What a sentinel said last."""

    ok: bool
    detail: str = ""
    sense: Sense = Sense.SIGHT
    of: str = ""


class Sight:
    """What the supervisor knows of its own eyes. Mutable, in memory only."""

    def __init__(self, now: Now) -> None:
        """Begin with open eyes; the start-up amnesty is the engine's."""
        self.sentinels: dict[str, Sentinel] = {}
        self.score = 0  # 0 to 8: how slow the supervisor itself is
        self._troubles: tuple[str, ...] = ()  # of the last tick that was not clean
        self._lost: tuple[str, ...] = ()
        self._ticked_at = now.boot
        self._lag: Seconds = 0.0
        self._start_delay = 0.0
        self._names_resolve = True
        self._offset = now.wall.timestamp() - now.boot
        self._last_step = now.boot
        self._window_from = now.boot
        self._expected = 0.0
        self._received = 0
        self._counted_to = now.boot
        self._few = ""
        self._window = LEAST_WINDOW
        self._why = ""  # it was lost, until it is believed again
        self._lost_at: BootTime = float("-inf")  # when it was seen to be lost last
        self._back_at: BootTime = float("-inf")  # when it was believed again
        self._times = 1
        self._clear_for: Seconds = 0.0

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

    def hear(self, signal: SentinelReported) -> None:
        """Take what a sentinel says."""
        if signal.gone:
            self.sentinels.pop(signal.name, None)
        else:
            self.sentinels[signal.name] = Sentinel(signal.ok, signal.detail, signal.sense, signal.of)
        self._lost = self._find_lost()

    def failing(self, sense: Sense) -> dict[str, str]:
        """Return whom sentinels of a sense speak against (a zone, a dependency), and in which words."""
        told = ((s.of or name, name, s) for name, s in sorted(self.sentinels.items()) if s.sense is sense and not s.ok)
        return {of: _words(name, sentinel) for of, name, sentinel in told}

    def watched(self, sense: Sense) -> set[str]:
        """Return for whom there is a sentinel of a sense."""
        return {s.of or name for name, s in self.sentinels.items() if s.sense is sense}

    def feel(self, signal: SelfReported) -> None:
        """Take how the supervisor itself is doing; the worst counts until the next tick."""
        self._lag = max(self._lag, signal.lag)
        self._start_delay = max(self._start_delay, signal.start_delay)
        self._names_resolve = self._names_resolve and signal.names_resolve

    def is_tick_due(self, now: BootTime) -> bool:
        """Return whether it is time to score the supervisor again."""
        return now - self._ticked_at >= TICK

    def tick(self, now: BootTime, broken: str) -> bool:
        """Score the supervisor afresh; return whether the score has changed.

        `broken` says that most checks fail themselves, or ''. Each trouble adds one; a clean tick takes one away. Lost
        sentinels blind by themselves: they hold the score at two, so that sight can return with them.
        """
        self._ticked_at = now
        troubles: list[str] = []
        if self._lag > LAG:
            troubles.append(f"its loops lag by {self._lag:.2g}s")
        if self._start_delay > START_DELAY:
            troubles.append(f"checks start {self._start_delay:.0%} of their interval late")
        if not self._names_resolve:
            troubles.append("names don't resolve")
        if broken:
            troubles.append(broken)
        lost = self._lost
        self._lag, self._start_delay, self._names_resolve = 0.0, 0.0, True
        before = self.score
        self.score = min(MOST, before + len(troubles)) if troubles or lost else max(0, before - 1)
        if lost:
            self.score = max(self.score, SENTINELS_HOLD)
        if troubles or lost:
            self._troubles = (*troubles, *lost)
        return self.score != before

    def _find_lost(self) -> tuple[str, ...]:
        """Return which sentinels say that nothing can be seen: those of sight, or all zones at once."""
        found = [_words(name, s) for name, s in sorted(self.sentinels.items()) if s.sense is Sense.SIGHT and not s.ok]
        zones = [s for s in self.sentinels.values() if s.sense is Sense.ZONE]
        if len(zones) > 1 and not any(s.ok for s in zones):
            found.append(f"the sentinels of all {len(zones)} zones fail")
        return tuple(found)

    def watch(self, now: BootTime, guards: Guards) -> None:
        """Note whether we see. What was lost is believed again only after it has been clear for a while.

        Eyes that open and close all the time are blind: each opening would be told, and be an amnesty for nothing.
        """
        trouble = self._trouble()
        if trouble:
            if not self._why:
                flickers = now - self._back_at <= FLICKERS
                self._times = min(MOST_TIMES, 2 * self._times) if flickers else 1
                self._clear_for = self._times * guards.sight_quiet
            self._why, self._lost_at = trouble, now
        elif self._why and now - self._lost_at >= self._clear_for:
            self._why, self._back_at = "", now

    @property
    def blind(self) -> str:
        """Why nothing may be believed now; '' when all is well."""
        trouble = self._trouble()
        return trouble if trouble or not self._why else f"{self._why}, not yet over for {self._clear_for:.0f}s"

    def _trouble(self) -> str:
        failing = list(self._lost)
        if self.score >= BLIND_FROM and not failing:
            failing.append(f"the supervisor itself is slow: score {self.score} of {MOST} ({', '.join(self._troubles)})")
        if self._few:
            failing.append(self._few)
        return "; ".join(failing)


def _words(name: str, sentinel: Sentinel) -> str:
    return f"sentinel {name} fails{f': {sentinel.detail}' if sentinel.detail else ''}"
