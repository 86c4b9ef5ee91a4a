"""What a check of ours may cost, as ratios of CPU to somebody else's; each ratio is within one round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.prober.checker import Work
from bench.prober.rounds import Figure
from bench.prober.sickbay import PROBER


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of a figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Goal:
    """At most so many times the CPU of another for the same check, or of our own for another."""

    work: Work
    most: float
    other: str
    other_work: Work
    words: str


GOALS = (
    Goal(Work.HTTP, 1.2, "haproxy", Work.HTTP, "http: at most 1.2 times haproxy's"),
    Goal(Work.HTTP, 1 / 4, "blackbox_exporter", Work.HTTP, "http: at most 1/4 of blackbox_exporter's"),
    Goal(Work.HTTP, 1 / 25, "nagios4", Work.HTTP, "http: at most 1/25 of nagios4's"),
    Goal(Work.HTTP, 1 / 25, "icinga2", Work.HTTP, "http: at most 1/25 of icinga2's"),
    Goal(Work.TCP, 1.4, "haproxy", Work.TCP, "tcp: at most 1.4 times haproxy's"),
    Goal(Work.TLS, 1.3, "blackbox_exporter", Work.TLS, "tls: at most 1.3 times blackbox_exporter's"),
    Goal(Work.KEPT, 0.4, PROBER, Work.HTTP, "kept: at most 0.4 times our own with new connections"),
)


def spread(values: Sequence[float]) -> Spread | None:
    """Return middle and ends, None of nothing."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def ratio(figures: Sequence[Figure], name: str, work: Work, other: str, other_work: Work) -> Spread | None:
    """Return one's CPU for each check over another's, in the rounds in which both kept up; None if in none."""
    cost = {(f.round, f.work, f.name): f.total for f in figures if f.kept_up}
    pairs = [(cost.get((n, work, name)), cost.get((n, other_work, other))) for n in {f.round for f in figures}]
    return spread([mine / theirs for mine, theirs in pairs if mine is not None and theirs])


def verdict(goal: Goal, measured: Spread | None) -> str:
    """Say whether a goal is met, by the median."""
    if measured is None:
        return "not measured"
    return "met" if measured.median <= goal.most else "MISSED"
