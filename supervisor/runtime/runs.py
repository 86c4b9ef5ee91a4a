"""The runs in flight of a check host: how one begins, what bounds them, and what is told of each at its end.

A check that asks one question goes by the `Asker`, without a task; any other has a task of its own.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import TypeAlias

from supervisor.api import CheckResult
from supervisor.core.duration import words
from supervisor.runtime.asking import Asker, Outcome
from supervisor.runtime.custody import Custody
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import boottime, run_check
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


class Run:
    """One run. `limit` is its time limit in seconds, as it was stretched when it began."""

    __slots__ = ("asked", "begun", "limit", "pair", "spec", "stood", "task")

    def __init__(self, pair: Pair, begun: float, limit: float, stood: float, *, asked: bool) -> None:
        """Begin. `stood`: how long the host had stood still until then; `asked`: besides the schedule."""
        self.pair = pair
        self.spec = pair.spec
        self.begun = begun
        self.limit = limit
        self.stood = stood
        self.asked = asked
        self.task: asyncio.Task[None] | None = None


class Runs:
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
        self._open = 0
        self._open_asked = 0
        self._most = min(MOST_IN_FLIGHT, max(SPARE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE))
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[Pair, None] = {}  # wait to be run besides the schedule, the first asked first

    def __len__(self) -> int:
        """Return how many are under way."""
        return self._open

    def turn(self, now: float) -> None:
        """Note that the host turns; start what was asked besides the schedule, as far as there is room."""
        self.stood = self._stood(now)
        self._turned = now
        if self._asked:
            self._start_asked()

    def start(self, pair: Pair, now: float) -> bool:
        """Start a run whose turn it is; return False where it can't be now."""
        if pair.run is None and self._open < self._most:
            self._begin(pair, now, asked=False)
            return True
        if pair.run is not None:
            self._press(pair.run, now)
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
        room = min(MOST_ASKED - self._open_asked, self._most - self._open)
        ready = (pair for pair in list(self._asked) if pair.run is None)
        for pair in islice(ready, max(0, room)):
            del self._asked[pair]
            self._begin(pair, boottime(), asked=True)

    def _begin(self, pair: Pair, now: float, *, asked: bool) -> None:
        spec = pair.spec
        limit = spec.timeout
        if self.stretch > 1.0:  # however slow we are ourselves, the time is up before the same question is due again
            limit = min(limit * self.stretch, max(spec.interval * LONGEST, limit))
        run = pair.run = Run(pair, now, limit, self.stood, asked=asked)
        self.started += 1
        self._open += 1
        self._open_asked += asked
        if spec.prepared is None:
            run.task = asyncio.create_task(self._with_a_task(run), name=str(pair))
            self._tasks.add(run.task)
            return
        self._asker.ask(spec.prepared, pair.watched.instance.address, limit, partial(self._answered, run))

    async def _with_a_task(self, run: Run) -> None:
        spec = run.spec
        running = run_check(spec.check, run.pair.watched.instance, self._probe, run.limit)
        try:
            ran = await (self._custody.hold(spec.kind, spec.file, running) if self._custody else running)
        except BaseException:
            self._close(run)
            raise
        finally:
            if run.task is not None:
                self._tasks.discard(run.task)
        self._ended(run, ran.result, ran.sent, ran.done)

    def _answered(self, run: Run, outcome: Outcome) -> None:
        """Take what came of a question that was put without a task."""
        done, spec = boottime(), run.spec
        if spec.judge is None:
            raise TypeError(f"{spec.kind} asks no question")
        if self._custody is None:
            result = spec.judge.judge(outcome, run.limit)
        else:
            result = self._custody.call(spec.kind, spec.file, spec.judge.judge, outcome, run.limit)
        self._ended(run, result, run.begun, done)

    def _ended(self, run: Run, result: CheckResult, sent: float, done: float) -> None:
        self._close(run)
        if result.silent and self._stood(boottime()) - run.stood > min(STOOD_STILL, run.limit / 2):
            # The answer may have come and waited: our own standing still is no instance's silence.
            result = CheckResult.unknown("the check host itself stood still meanwhile")
        if run.pair.waits:
            self._report(run.pair, result, sent, done)

    def _close(self, run: Run) -> None:
        run.pair.run = None
        self._open -= 1
        self._open_asked -= run.asked

    def _press(self, run: Run, now: float) -> None:
        """Cancel a run again that goes on although it was told that its time is up, and say so."""
        if run.task is not None and now - run.begun > run.limit + GRACE:
            run.task.cancel()
            text = f"the check goes on, {words(now - run.begun)} after it began, though its time was up; mend it"
            self._report(run.pair, CheckResult.unknown(text), now, now)

    def _stood(self, now: float) -> float:
        """Return for how many seconds we have stood still, all together."""
        return self.stood + (now - self._turned if now - self._turned > STALL else 0.0)
