"""What is known of a fleet's troubles as a whole: who is sick of what, what stands as the verdict, who was asked afresh.

Owned by the fleet, written by `diagnosis` and `challenge`, in memory only: a restart begins in amnesty anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from supervisor.core.population import Label, Population
from supervisor.core.signature import Symptom
from supervisor.core.terms import BootTime, Cause, Seconds
from supervisor.core.verdict import Verdict

HOURS_KEPT = 7 * 24
HOUR: Seconds = 3600.0
EVERYBODY = frozenset({Cause.BLIND, Cause.FLEET, Cause.UNEXPLAINED, Cause.INSTANCE})
"""Verdicts that are about all of the sick: nobody is left to be explained otherwise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A challenge: who was asked afresh, and since when. `passed` is when enough had answered well."""

    at: BootTime
    peers: tuple[str, ...]
    arrivals: int  # of the population when it began: another sick machine voids it
    passed: BootTime | None = None
    failed: str = ""  # why the one before it did not pass, '' for the first


@dataclass(slots=True)
class Investigation:
    """One fleet's. `chain` is the standing verdict, then what is wrong with those whom it does not cover, and so on."""

    population: Population = field(default_factory=Population)
    chain: tuple[Verdict, ...] = ()
    affirmed: BootTime = float("-inf")  # when the evidence last spoke for the standing verdict
    judged: tuple[object, ...] = ()  # what the last weighing rested on
    raw: Verdict | None = None  # what the evidence says now; the verdict that stands may be an earlier, graver one
    by_sight: bool = False  # it was blindness that our own senses told
    burst: str = ""  # why it is no chance that so many are sick, '' while it may be
    asked: Asked | None = None
    tried_at: BootTime = float("-inf")  # when the checks that are watched were last tried
    accused: set[tuple[str, str]] = field(default_factory=set)  # checks, with versions, told as wrong while watched
    confirmed: dict[str, BootTime] = field(default_factory=dict)  # who turned sick within the hour, and when
    _shares: deque[float] = field(default_factory=lambda: deque(maxlen=HOURS_KEPT))
    _sampled: BootTime = float("-inf")

    def note_sick(self, instance: str, now: BootTime) -> None:
        """Count one that was confirmed sick, once an hour."""
        if instance not in self.confirmed:
            self.confirmed[instance] = now

    def newly_sick(self, now: BootTime) -> int:
        """Return how many turned sick within the hour."""
        self.confirmed = {name: at for name, at in self.confirmed.items() if now - at < HOUR}
        return len(self.confirmed)

    def usual(self, now: BootTime) -> float:
        """Return the share that is usually sick: the median of the last seven days, an hour a sample."""
        if now - self._sampled >= HOUR and self.population.members:
            self._sampled = now
            self._shares.append(len(self.population.sick) / len(self.population.members))
        return median(self._shares) if self._shares else 0.0

    def verdict_on(self, instance: str, standing: Verdict) -> Verdict:
        """Return what is wrong with one machine: the first verdict of the chain that covers it."""
        for verdict in self.chain:
            if self.covers(verdict, instance):
                return verdict
        return self.chain[-1] if self.chain else standing

    def covers(self, verdict: Verdict, instance: str) -> bool:
        """Return whether a verdict is about a machine."""
        if verdict.cause in EVERYBODY:
            return True
        member = self.population.members.get(instance)
        if member is None:
            return False
        if verdict.cause in (Cause.CHECK, Cause.DEPENDENCY):
            return member.symptom is not None and accuses(verdict, member.symptom)
        return labels_of(verdict) <= frozenset(member.labels)


def accuses(verdict: Verdict, symptom: Symptom) -> bool:
    """Return whether a bad check, or a broken dependency, explains a symptom."""
    return verdict.value == (symptom.check if verdict.cause is Cause.CHECK else symptom.dependency)


def labels_of(verdict: Verdict) -> frozenset[Label]:
    """Return what the machines share that a verdict is about; two labels where it takes two."""
    names, values = verdict.label.split(" and "), verdict.value.split(" and ")
    if len(names) != len(values):
        return frozenset((Label(verdict.label, verdict.value),))
    return frozenset(map(Label, names, values))
