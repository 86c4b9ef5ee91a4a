"""Slow machines: those whose answers take much longer than their peers', for minutes.

Peers are the machines of one fleet and one type, compared check by check; where a type has only a few, the whole
fleet. The hot path only compares an answer with a limit; the limit follows from the peers' median and spread every few
seconds. When the median itself has moved, no machine is at fault for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, inf, log

from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Role, Seconds

PEERS = 5  # besides itself
LIKE = 3  # of a type, itself included: fewer do not tell a slow machine from a slow type
SAMPLE = 1000  # of a large fleet, so many speak for all
DEVIATIONS = 5.0
RATIO = 2.0
LEAST_SPREAD = 0.1
SHARE = 0.8
MOVED = 1.5
MEMORY: Seconds = 3600.0
MOOD: Seconds = 0.005  # differences below are the mood of the network and of the hosts: the least limit is twice that
MILLISECOND: Seconds = 0.001


@dataclass(frozen=True, slots=True)
class Slow:
    """A machine's answers to a check have been slow since `since`."""

    check: str
    role: Role
    since: BootTime
    latency: Seconds
    median: Seconds

    @property
    def words(self) -> str:
        """Say how slow, for people."""
        times = self.latency / max(self.median, MILLISECOND)
        factor = round(times, 1 if times < 10 else None)
        return (
            f"{self.check}: {factor:g} times as slow as its peers ({_said(self.latency)}, median {_said(self.median)})"
        )


class _Trail:
    """The last comparisons of one machine, newest in the lowest bit."""

    __slots__ = ("begun", "bits", "latency", "seen")

    def __init__(self, begun: BootTime) -> None:
        self.begun = begun
        self.bits = 0
        self.seen = 0
        self.latency: Seconds = 0.0  # of the last slow answer

    def take(self, latency: Seconds, window: int, *, slow: bool) -> None:
        if slow:
            self.latency = latency
        self.bits = ((self.bits << 1) | slow) & ((1 << window) - 1)
        self.seen = min(self.seen + 1, window)

    @property
    def share(self) -> float:
        return self.bits.bit_count() / self.seen


class Pace:
    """How fast one check is answered by the machines of one type."""

    __slots__ = (
        "_begun",
        "_compared_at",
        "_memory",
        "_moved",
        "_slow",
        "_trails",
        "check",
        "late",
        "limit",
        "median",
        "role",
    )

    def __init__(self, check: str, role: Role) -> None:
        """Start without a limit: nobody is slow."""
        self.check = check
        self.role = role
        self.limit: Seconds = inf
        self.median: Seconds = 0.0
        self.late: set[str] = set()  # who was above the limit since the last comparison
        self._memory: float | None = None
        self._begun: BootTime = 0.0
        self._compared_at: BootTime | None = None
        self._moved = 0  # comparisons in a row with a moved median
        self._trails: dict[str, _Trail] = {}
        self._slow: set[str] = set()

    def set_limit(self, latencies: Sequence[Seconds], now: BootTime, everyone: Sequence[Seconds] = ()) -> None:
        """Derive the limit from the peers' latest answers; too few of them, or a moved median, and there is none.

        A few of a type are compared with `everyone`: by the slower of both medians, for a type may well be slower.
        """
        self.limit = inf
        few = len(latencies) <= PEERS
        if few and (len(latencies) < LIKE or len(everyone) <= PEERS):
            return
        ranked = sorted(everyone if few else latencies)
        middle = _middle(ranked)
        spread = max(LEAST_SPREAD, 1.4826 * _deviation(ranked, middle))
        if few:
            middle = max(middle, _middle(sorted(latencies)))
        # What differs by less than the mood is compared as equal; what is told to people is the median itself.
        self.median = exp(middle) if middle > log(MOOD) else ranked[len(ranked) // 2]
        if self._memory is None or self._compared_at is None:
            self._memory, self._begun = middle, now
        if abs(middle - self._memory) > log(MOVED):
            self._moved += 1
        else:
            self._moved = 0
            self.limit = exp(middle + max(DEVIATIONS * spread, log(RATIO)))
        # A plain mean until the memory is long enough: the first answers of a fleet come while everybody starts.
        elapsed = now - self._compared_at if self._compared_at is not None else 0.0
        length = min(MEMORY, now - self._begun)
        self._memory += (middle - self._memory) * (1 - exp(-elapsed / length) if length else 0.0)
        self._compared_at = now

    def compare(
        self, latest: dict[str, Seconds | None], judgement: Judgement, now: BootTime
    ) -> Iterator[tuple[str, Slow | None]]:
        """Compare whom `watched` named, by their latest answers (None: none since); yield who is slow, and who no more.

        While the median has moved nothing is compared. A moment of it proves nothing either way; once it lasts longer
        than a slow machine may seem well, all that was found is forgotten.
        """
        window = max(1, round(judgement.slow_after / judgement.compare_every))
        if self._moved > (1 - SHARE) * window:
            self._trails.clear()
        elif self._moved:
            return
        for name in sorted(latest):
            latency = latest[name]
            if latency is None:
                continue
            trail = self._trails.get(name)
            if trail is None:
                trail = self._trails[name] = _Trail(now)
            trail.take(latency, window, slow=latency > self.limit)
            if not trail.bits:
                del self._trails[name]
            if trail.share >= SHARE and now - trail.begun >= judgement.slow_after:
                self._slow.add(name)
                yield name, Slow(self.check, self.role, trail.begun, trail.latency, self.median)
            elif name in self._slow:
                self._slow.discard(name)
                yield name, None
        for name in sorted(self._slow - self._trails.keys()):
            self._slow.discard(name)
            yield name, None

    def forget(self, name: str) -> None:
        """Forget a machine that has left."""
        self.late.discard(name)
        self._slow.discard(name)
        self._trails.pop(name, None)

    def begin_amnesty(self) -> None:
        """Forget who was slow."""
        self.late.clear()
        self._slow.clear()
        self._trails.clear()

    def watched(self) -> set[str]:
        """Return who was late since the last comparison, or of late; and begin anew."""
        found = self.late | self._trails.keys()
        self.late = set()
        return found


def _said(latency: Seconds) -> str:
    return f"{latency:.3g}s" if latency >= 1.0 else f"{latency * 1000:.3g}ms"


def _log(latency: Seconds) -> float:
    return log(max(latency, MOOD))


def _middle(ranked: Sequence[Seconds]) -> float:
    """Return the median of the logarithms: only the middle ones need be taken."""
    half = len(ranked) // 2
    if len(ranked) % 2:
        return _log(ranked[half])
    return (_log(ranked[half - 1]) + _log(ranked[half])) / 2


def _deviation(ranked: Sequence[Seconds], middle: float) -> float:
    """Return the median distance of the logarithms from the middle: the nearest ones are walked, from the middle out."""
    count = len(ranked)
    half = count // 2
    below, above = half - 1, half
    left = middle - _log(ranked[below])
    right = _log(ranked[above]) - middle
    before = here = 0.0
    for _ in range(half + 1):
        before = here
        if left <= right:
            here = left
            below -= 1
            left = middle - _log(ranked[below]) if below >= 0 else inf
        else:
            here = right
            above += 1
            right = _log(ranked[above]) - middle if above < count else inf
    return here if count % 2 else (before + here) / 2
