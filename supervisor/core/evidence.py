"""What the results of one check say about one instance: mutable numbers, updated in place for every result.

The suspicion score is a CUSUM of log-likelihood ratios, `S = max(0, S + ln P(result | sick) / P(result | well))`
(Page 1954). It confirms after a number of failures that follows from the fleet's size and the tolerated false alarms,
instead of a guessed "three in a row".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TypeAlias

from supervisor.core.settings import CheckPolicy, Judgement
from supervisor.core.signals import Result
from supervisor.core.terms import BootTime, Role, Seconds, Status

MONTH: Seconds = 30 * 86400.0
KEPT_RESULTS = 8


Tally: TypeAlias = dict[Status, int]
"""How many results of each status were taken. Every status has its entry: the hot path only adds."""


def new_tally() -> Tally:
    """Return a tally of nothing."""
    return dict.fromkeys(Status, 0)


@dataclass(frozen=True, slots=True)
class Weights:
    """How one check's results count: what a failure adds, a pass takes away, and the score that condemns."""

    on_fail: float
    on_pass: float
    condemns_at: float
    stale_after: Seconds


def weights(check: CheckPolicy, desired: int, judgement: Judgement) -> Weights:
    """Derive the weights from the fleet's size, so that the whole fleet sees `false_alarms_per_month`."""
    well, sick = judgement.blip_rate, judgement.sick_rate
    looks = max(1, desired) * MONTH / check.interval
    return Weights(
        on_fail=log(sick / well),
        on_pass=log((1 - sick) / (1 - well)),
        condemns_at=log(max(2.0, looks / judgement.false_alarms_per_month)),
        stale_after=judgement.fresh_intervals * check.interval + check.timeout,
    )


class Evidence:
    """The state of one check on one instance. Times are on the boot clock."""

    __slots__ = (
        "answered",
        "check",
        "failing_since",
        "fails",
        "last",
        "last_fail",
        "last_pass_run",
        "passes",
        "recent",
        "role",
        "score",
        "silent",
        "status",
        "tally",
        "text",
        "weights",
    )

    def __init__(self, check: CheckPolicy, weights: Weights, tally: Tally | None = None) -> None:
        """Start without any knowledge. `tally` counts the results of this check over the whole fleet."""
        self.check = check
        self.tally = new_tally() if tally is None else tally
        self.role: Role = check.role
        self.weights = weights
        self.status: Status | None = None
        self.text = ""
        self.recent: list[tuple[BootTime, Status, str]] = []
        self.reset()

    def reset(self) -> None:
        """Forget all suspicion and all credit: an amnesty, or a machine that was restarted."""
        self.score = 0.0
        self.fails = 0
        self.passes = 0
        self.failing_since: BootTime | None = None
        self.last_fail: BootTime | None = None
        self.last_pass_run: BootTime | None = None  # when the present run of passes began
        self.last: BootTime | None = None
        self.answered = False  # a failure of this run was an answer, not silence
        self.silent = False

    def take(self, result: Result) -> None:
        """Count one result. UNKNOWN says nothing about the instance; WARNING neither accuses nor acquits."""
        status = result.status
        self.tally[status] += 1
        if status is not self.status or status is not Status.OK:
            self._remember(result)
        self.status = status
        if status is Status.UNKNOWN:
            return
        self.last = result.sent
        if status is Status.OK:
            if self.passes == 0:
                self.last_pass_run = result.sent
            self.passes += 1
            self.fails = 0
            if self.score > 0.0:
                self.score = max(0.0, self.score + self.weights.on_pass)
                if self.score == 0.0:
                    self.failing_since = None
                    self.answered = False
        elif status is Status.CRITICAL:
            if self.failing_since is None:
                self.failing_since = result.sent
            self.last_fail = result.sent
            self.fails += 1
            self.passes = 0
            self.silent = result.silent
            self.answered = self.answered or not result.silent
            # A cap: one outage of hours must not take hours of passes to forget.
            self.score = min(self.score + self.weights.on_fail, 2 * self.weights.condemns_at)

    def _remember(self, result: Result) -> None:
        self.text = result.text
        self.recent.append((result.sent, result.status, result.text))
        if len(self.recent) > KEPT_RESULTS:
            del self.recent[0]

    def is_stale(self, now: BootTime) -> bool:
        """Return whether the last usable result is too old to speak."""
        return self.last is None or now - self.last > self.weights.stale_after

    @property
    def is_quiet(self) -> bool:
        """Whether nothing at all speaks against the instance."""
        return self.fails == 0 and self.score == 0.0
