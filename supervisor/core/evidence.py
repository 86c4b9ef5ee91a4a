"""What the results of one check say about one instance: mutable numbers, updated in place for every result.

The suspicion score is a CUSUM of log-likelihood ratios, `S = max(0, S + ln P(result | sick) / P(result | well))`
(Page 1954). It confirms after a number of failures that follows from the fleet's size and the tolerated false alarms,
instead of a guessed "three in a row". A second, slow score (`gray`) finds the half-sick, which fail now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TypeAlias

from supervisor.core.pace import Pace
from supervisor.core.settings import CheckPolicy, Judgement
from supervisor.core.signals import Result
from supervisor.core.terms import BootTime, Role, Seconds, Status

MONTH: Seconds = 30 * 86400.0
KEPT_RESULTS = 8
COUNTED_IN_A_ROW = 2  # of a run of failures, for half-sickness: blips come in runs, and a crash is the fast score's


Tally: TypeAlias = dict[Status, int]
"""How many results of each status were taken. Every status has its entry: the hot path only adds."""


def new_tally() -> Tally:
    """Return a tally of nothing."""
    return dict.fromkeys(Status, 0)


@dataclass(slots=True)
class Weights:
    """How one check's results count: what a failure adds, a pass takes away, and the scores that count.

    Shared by all evidence of the check, and changed in place when a fleet has learnt better.
    """

    on_fail: float
    on_pass: float
    condemns_at: float
    stale_after: Seconds
    gray_on_fail: float
    gray_on_pass: float
    gray_suspects_at: float
    gray_condemns_at: float

    def take(self, other: Weights) -> None:
        """Become like another."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))


def weights(
    check: CheckPolicy, desired: int, judgement: Judgement, blip_rate: float | None = None, stretch: float = 1.0
) -> Weights:
    """Derive the weights from the fleet's size, so that the whole fleet sees `false_alarms_per_month`.

    `blip_rate` is the check's own, once learnt; `stretch` multiplies its time limit while the supervisor is slow.
    """
    well = judgement.blip_rate if blip_rate is None else blip_rate
    sick, gray = judgement.sick_rate, judgement.gray_rate
    looks = max(1, desired) * MONTH / check.interval
    return Weights(
        on_fail=log(sick / well),
        on_pass=log((1 - sick) / (1 - well)),
        condemns_at=log(max(2.0, looks / judgement.false_alarms_per_month)),
        stale_after=judgement.fresh_intervals * check.interval + check.timeout * stretch,
        gray_on_fail=max(0.0, log(gray / well)),
        gray_on_pass=min(0.0, log((1 - gray) / (1 - well))),
        gray_suspects_at=judgement.gray_suspects_at,
        gray_condemns_at=judgement.gray_condemns_at,
    )


class Evidence:
    """The state of one check on one instance. Times are on the boot clock."""

    __slots__ = (
        "answered",
        "check",
        "failing_since",
        "fails",
        "gray",
        "gray_answered",
        "gray_since",
        "last",
        "last_fail",
        "last_pass_run",
        "latency",
        "owner",
        "pace",
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

    def __init__(
        self,
        check: CheckPolicy,
        weights: Weights,
        tally: Tally | None = None,
        owner: str = "",
        pace: Pace | None = None,
    ) -> None:
        """Start without any knowledge. `tally` and `pace` are of this check over the whole fleet."""
        self.check = check
        self.tally = new_tally() if tally is None else tally
        self.role: Role = check.role
        self.weights = weights
        self.status: Status | None = None
        self.text = ""
        self.owner = owner
        self.pace = pace if pace is not None else Pace(check.name, check.role)
        self.latency: Seconds = 0.0  # of the last pass
        self.recent: tuple[
            tuple[BootTime, Status, str], ...
        ] = ()  # newest last; no pass but the first after something else
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
        self.gray = 0.0  # the slow score
        self.gray_answered = False  # as `answered`, of what the slow score rests on
        self.gray_since: BootTime | None = None  # when it reached what condemns

    def acquit(self) -> None:
        """End the present suspicion: the next failure begins another one. Half-sickness is not forgotten by that."""
        self.score = 0.0
        self.failing_since = None
        self.answered = False

    def take(self, result: Result, weight: float = 1.0) -> None:
        """Count one result. UNKNOWN says nothing about the instance; WARNING neither accuses nor acquits.

        A failure counts by `weight`: less, when something else shows that the machine lives.
        """
        status = result.status
        self.tally[status] += 1
        if status is not self.status or status is not Status.OK:
            self._remember(result)
        elif result.text:
            self.text = result.text
        self.status = status
        if status is Status.UNKNOWN:
            return
        self.last = result.sent
        if status is Status.OK:
            if self.passes == 0:
                self.last_pass_run = result.sent
            self.passes += 1
            self.fails = 0
            self.latency = latency = result.done - result.sent
            if latency > self.pace.limit:
                self.pace.late.add(self.owner)
            if self.gray > 0.0:
                self._pass_gray()
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
            self.score = min(self.score + weight * self.weights.on_fail, 2 * self.weights.condemns_at)
            if self.fails <= COUNTED_IN_A_ROW:
                self._fail_gray(result, weight)

    def passes_again(self, sent: BootTime, done: BootTime) -> bool:
        """Count one more pass of a check of which nothing is suspected; return False, and count nothing, when something is.

        `take` would do the same; nearly all results of a well fleet come here, so it asks for as little as it can.
        """
        ok = Status.OK
        if self.status is not ok or not self.passes or self.score or self.gray:
            return False
        self.tally[ok] += 1
        self.passes += 1
        self.last = sent
        self.latency = latency = done - sent
        if latency > self.pace.limit:
            self.pace.late.add(self.owner)
        return True

    def _pass_gray(self) -> None:
        self.gray = max(0.0, self.gray + self.weights.gray_on_pass)
        if self.gray < self.weights.gray_condemns_at:
            self.gray_since = None
        if self.gray == 0.0:
            self.gray_answered = False

    def _fail_gray(self, result: Result, weight: float) -> None:
        self.gray = min(self.gray + weight * self.weights.gray_on_fail, 2 * self.weights.gray_condemns_at)
        self.gray_answered = self.gray_answered or not result.silent
        if self.gray >= self.weights.gray_condemns_at and self.gray_since is None:
            self.gray_since = result.sent

    def _remember(self, result: Result) -> None:
        self.text = result.text
        if result.status is Status.OK and not self.recent:
            return
        self.recent = (*self.recent, (result.sent, result.status, result.text))[-KEPT_RESULTS:]

    def is_stale(self, now: BootTime) -> bool:
        """Return whether the last usable result is too old to speak."""
        return self.last is None or now - self.last > self.weights.stale_after

    @property
    def is_gray(self) -> bool:
        """Whether it fails too often for a well machine, though it works."""
        return self.gray > self.weights.gray_suspects_at

    @property
    def is_quiet(self) -> bool:
        """Whether nothing speaks against the instance loudly enough to be heard."""
        return self.fails == 0 and self.score == 0.0 and self.gray <= self.weights.gray_suspects_at
