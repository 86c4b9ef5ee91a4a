"""The runs in flight of a check host: how one is launched, what bounds them, and what is told of each when it lands.

A check that asks one question goes by the `Asker`, without a task; any other has a task of its own.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeAlias

from supervisor.api import AskingCheck, CheckResult
from supervisor.core.duration import words
from supervisor.runtime.asking import Asker, Outcome
from supervisor.runtime.custody import Custody
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import boottime, judged, run_check
from supervisor.runtime.schedule import Pair

MOST_IN_FLIGHT = 40_000
SPARE = 1000
"""Descriptors that are left for all else."""
STALL = 0.1
"""Seconds without a turn of our own that count as standing still."""
STOOD_STILL = 0.5
"""Seconds of standing still, or half the time limit, during which an answer that did not come proves nothing."""
GRACE = 1.0
"""Seconds that a check has to end once its time is up."""
LONGEST = 0.9
"""Of its interval a stretched time limit may take: one that is silent must have landed when it is due again."""
MOST_ASKED = 200
"""Runs in flight besides the schedule: a challenge asks hundreds of machines at once, and must not starve the others."""

Report: TypeAlias = Callable[[Pair, CheckResult, float, float], None]
"""Takes a result, and when it was sent and done on CLOCK_BOOTTIME."""


class Flight:
    """One run. `limit` is its time limit in seconds, as it was stretched when it began."""

    __slots__ = ("asked", "begun", "flights", "limit", "pair", "spec", "stood", "task")

    def __init__(self, flights: Flights, pair: Pair, begun: float, limit: float, *, asked: bool) -> None:
        """Begin. `asked`: besides the schedule."""
        self.flights = flights
        self.pair = pair
        self.spec = pair.spec
        self.begun = begun
        self.limit = limit
        self.stood = flights.stood
        self.asked = asked
        self.task: asyncio.Task[None] | None = None

    def answered(self, outcome: Outcome) -> None:
        """Take what came of a question."""
        self.flights.answered(self, outcome)


class Flights:
    """All runs of one host."""

    def __init__(self, probe: NetworkProbe, asker: Asker, custody: Custody | None, report: Report) -> None:
        """Begin with none; `custody` keeps an eye on foreign code."""
        self.stretch = 1.0
        self.started = 0
        self.stood = 0.0  # seconds that the host has stood still, since the start
        self._probe = probe
        self._asker = asker
        self._custody = custody
        self._report = report
        self._turned = boottime()
        self._flying = 0
        self._flying_asked = 0
        self._most = min(MOST_IN_FLIGHT, max(SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE))
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[Pair, None] = {}  # wait to be run besides the schedule, the first asked first

    def __len__(self) -> int:
        """Return how many are under way."""
        return self._flying

    def turn(self, now: float) -> None:
        """Note that the host turns; start what was asked besides the schedule, as far as there is room."""
        self.stood = self._stood(now)
        self._turned = now
        if self._asked:
            self._start_asked()

    def start(self, pair: Pair, now: float) -> bool:
        """Start a run whose turn it is; return False where it can't be now."""
        if pair.flight is None and self._flying < self._most:
            self._launch(pair, now, asked=False)
            return True
        if pair.flight is not None:
            self._press(pair.flight, now)
        return False

    def ask(self, pairs: Iterable[Pair]) -> None:
        """Have these run besides the schedule; one that is asked twice before it could run, runs once."""
        self._asked |= dict.fromkeys(pairs)

    def forget(self, pairs: Iterable[Pair]) -> None:
        """Ask no more; what is under way may end, and nothing is told of it."""
        for pair in pairs:
            self._asked.pop(pair, None)

    def forget_asked(self) -> None:
        """Ask nobody besides the schedule any more."""
        self._asked.clear()

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """The tasks under way: to be cancelled at the end. Questions end with their asker."""
        return tuple(self._tasks)

    def _start_asked(self) -> None:
        """Who is in flight waits for its turn: that answer was on its way before anybody asked, and proves nothing."""
        room = min(MOST_ASKED - self._flying_asked, self._most - self._flying)
        ready = (pair for pair in list(self._asked) if pair.flight is None)
        for pair in islice(ready, max(0, room)):
            del self._asked[pair]
            self._launch(pair, boottime(), asked=True)

    def _launch(self, pair: Pair, now: float, *, asked: bool) -> None:
        spec = pair.spec
        # However slow we are ourselves, the time is up before the same question is due again.
        limit = min(spec.timeout * self.stretch, max(spec.interval * LONGEST, spec.timeout))
        flight = pair.flight = Flight(self, pair, now, limit, asked=asked)
        self.started += 1
        self._flying += 1
        self._flying_asked += asked
        if spec.prepared is None:
            flight.task = asyncio.create_task(self._run(flight), name=str(pair))
            self._tasks.add(flight.task)
            return
        self._asker.ask(spec.prepared, pair.watched.instance.address, limit, flight.answered)

    async def _run(self, flight: Flight) -> None:
        spec = flight.spec
        running = run_check(spec.check, flight.pair.watched.instance, self._probe, flight.limit)
        try:
            ran = await (self._custody.hold(spec.kind, spec.file, running) if self._custody else running)
        except BaseException:
            self._land(flight)
            raise
        finally:
            if flight.task is not None:
                self._tasks.discard(flight.task)
        self._landed(flight, ran.result, ran.sent, ran.done)

    def answered(self, flight: Flight, outcome: Outcome) -> None:
        """Take what came of a question that was put without a task."""
        done, spec = boottime(), flight.spec
        if not isinstance(spec.check, AskingCheck):
            raise TypeError(f"{spec.kind} asks no question")
        if self._custody is None:
            result = judged(spec.check, outcome, flight.limit)
        else:
            result = self._custody.call(spec.kind, spec.file, judged, spec.check, outcome, flight.limit)
        self._landed(flight, result, flight.begun, done)

    def _landed(self, flight: Flight, result: CheckResult, sent: float, done: float) -> None:
        self._land(flight)
        if result.silent and self._stood(boottime()) - flight.stood > min(STOOD_STILL, flight.limit / 2):
            # The answer may have come and waited: our own standing still is no instance's silence.
            result = CheckResult.unknown("the check host itself stood still meanwhile")
        if flight.pair.waits:
            self._report(flight.pair, result, sent, done)

    def _land(self, flight: Flight) -> None:
        flight.pair.flight = None
        self._flying -= 1
        self._flying_asked -= flight.asked

    def _press(self, flight: Flight, now: float) -> None:
        """Cancel a run again that goes on although it was told that its time is up, and say so."""
        if flight.task is not None and now - flight.begun > flight.limit + GRACE:
            flight.task.cancel()
            text = f"the check goes on, {words(now - flight.begun)} after it began, though its time was up; mend it"
            self._report(flight.pair, CheckResult.unknown(text), now, now)

    def _stood(self, now: float) -> float:
        """Return for how many seconds we have stood still, all together."""
        return self.stood + (now - self._turned if now - self._turned > STALL else 0.0)
