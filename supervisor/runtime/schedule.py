"""The schedule of a check host: which check of which instance is due when, and what of it was missed.

One object stands for each check of each instance, and everything known of the two hangs on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.api import Check, Instance
from supervisor.runtime.asking import Prepared
from supervisor.runtime.runner import Judge
from supervisor.runtime.wheel import Timed, Wheel, phase

if TYPE_CHECKING:
    from supervisor.runtime.runs import Run

FASTEST = 0.2
HURRY = 5
"""So many times as often as others a suspect is asked."""
MOST_HURRIED = 2000.0
"""Runs a second that suspects may cost, all together: when a whole fleet fails, each is asked less often again."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A check of a fleet. With `prepared` and `judge` it is asked without a coroutine."""

    name: str
    kind: str
    file: str
    check: Check
    interval: float
    timeout: float
    prepared: Prepared | None = None
    judge: Judge | None = None

    @property
    def hurried(self) -> float:
        """Its interval for a suspect, in seconds."""
        return max(FASTEST, self.interval / HURRY) if self.interval > FASTEST else self.interval


class Watched:
    """An instance, and its checks."""

    __slots__ = ("fast", "instance", "pairs")

    def __init__(self, instance: Instance, *, fast: bool) -> None:
        """Begin without any checks."""
        self.instance = instance
        self.fast = fast
        self.pairs: tuple[Pair, ...] = ()


class Pair(Timed):
    """One check of one instance. `told` is the text of its last result, if that was a pass and has been told."""

    __slots__ = ("run", "spec", "told", "watched")

    def __init__(self, watched: Watched, spec: Spec) -> None:
        """Begin with nothing told."""
        super().__init__()
        self.watched = watched
        self.spec = spec
        self.told: str | None = None
        self.run: Run | None = None

    def __str__(self) -> str:
        """Return a name for logs, and for its place in the interval."""
        return f"{self.watched.instance.id}/{self.spec.name}"


class Schedule:
    """Everyone that is watched, and whose turn it is. Times are on CLOCK_BOOTTIME, in seconds."""

    def __init__(self, now: float) -> None:
        """Begin with nobody to watch."""
        self.missed = 0
        self._specs: Mapping[str, Mapping[str, Spec]] = {}
        self._watched: dict[str, Watched] = {}
        self._wheel: Wheel[Pair] = Wheel(now)
        self._hurried = 0.0  # runs a second that suspects would cost

    def __len__(self) -> int:
        """Return how many instances are watched."""
        return len(self._watched)

    def configure(self, specs: Mapping[str, Mapping[str, Spec]], now: float) -> None:
        """Take the checks of every fleet; everybody begins anew, in its place of the interval."""
        self._specs = specs
        for watched in self._watched.values():
            known = {pair.spec.name: pair for pair in self._put_off(watched)}
            self._put_on(watched, known, now)

    def observe(self, instance: Instance, now: float, *, fast: bool) -> None:
        """Watch an instance, at a suspect's pace or not; one that is watched only changes its pace."""
        watched = self._watched.get(instance.id)
        if watched is None:
            watched = self._watched[instance.id] = Watched(instance, fast=fast)
            self._put_on(watched, {}, now)
            return
        watched.instance = instance
        if watched.fast == fast:
            return
        watched.fast = fast
        self._hurry(watched, 1 if fast else -1)
        for pair in watched.pairs:
            if pair.run is None:
                self._wheel.add(pair, now + phase(str(pair), self._pace(pair)))

    def forget(self, name: str) -> tuple[Pair, ...]:
        """Watch an instance no more; return what was asked of it."""
        watched = self._watched.pop(name, None)
        return self._put_off(watched) if watched is not None else ()

    def pairs(self, name: str) -> tuple[Pair, ...]:
        """Return what is asked of an instance; nothing of one that is not watched."""
        watched = self._watched.get(name)
        return watched.pairs if watched is not None else ()

    def due(self, now: float) -> Iterator[tuple[Pair, float]]:
        """Turn to `now`; yield whose turn it is, each with the time that it was due. Its next time is set already."""
        for pair in self._wheel.advance(now):
            due = pair.due
            pace = self._pace(pair) if pair.watched.fast else pair.spec.interval
            following = due + pace
            if following <= now:  # time was lost: go on from now, on the same phase
                lost = int((now - due) / pace)
                self.missed += lost
                following = due + (lost + 1) * pace
            self._wheel.add(pair, following)
            yield pair, due

    def _put_on(self, watched: Watched, known: Mapping[str, Pair], now: float) -> None:
        """Let every check of an instance wait for its time; what is known of one already stays."""
        pairs: list[Pair] = []
        for spec in self._specs.get(watched.instance.fleet, {}).values():
            pair = known.get(spec.name) or Pair(watched, spec)
            pair.spec = spec
            pairs.append(pair)
        watched.pairs = tuple(pairs)
        if watched.fast:
            self._hurry(watched, 1)
        for pair in pairs:
            start = phase(str(pair), pair.spec.interval)
            self._wheel.add(pair, now + (start - now) % self._pace(pair))

    def _put_off(self, watched: Watched) -> tuple[Pair, ...]:
        """Let none of an instance's checks wait any more."""
        pairs = watched.pairs
        if watched.fast:
            self._hurry(watched, -1)
        for pair in pairs:
            self._wheel.remove(pair)
            pair.told = None
        watched.pairs = ()
        return pairs

    def _hurry(self, watched: Watched, sign: int) -> None:
        self._hurried += sign * sum(1.0 / pair.spec.hurried for pair in watched.pairs)

    def _pace(self, pair: Pair) -> float:
        spec = pair.spec
        if not pair.watched.fast:
            return spec.interval
        return min(spec.interval, spec.hurried * max(1.0, self._hurried / MOST_HURRIED))
