"""What may be wrong, weighed: an explanation, and the verdict that stands. Values only; made by `diagnosis`."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.terms import BootTime, Cause
from supervisor.core.text import percent

WHOLE = {
    Cause.INSTANCE: "each for itself",
    Cause.FLEET: "the whole fleet",
    Cause.BLIND: "we cannot see",
    Cause.UNEXPLAINED: "not understood",
}
"""What is said of a cause that is not about a label."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer to what is wrong, with its weight.

    `label` and `value` say what the sick share ("zone", "a"); both are '' for a cause that needs none. `evidence` are
    sentences for people: the counts, the signature, the heartbeats, the changes.
    """

    cause: Cause
    label: str
    value: str
    probability: float
    evidence: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Name it in short: "zone a", "image v2", "each for itself"."""
        return f"{self.label} {self.value}".strip() if self.label else WHOLE.get(self.cause, str(self.cause))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is judged to be wrong, since when, and everything that was weighed, best first."""

    cause: Cause
    label: str
    value: str
    probability: float
    since: BootTime
    ranked: tuple[Explanation, ...] = ()
    sentence: str = ""  # what is wrong, how sure: the short form that chat carries

    @property
    def words(self) -> str:
        """Name it in short, as an explanation does."""
        return Explanation(self.cause, self.label, self.value, self.probability).words


def how_sure(cause: str, sentence: str, probability: float) -> str:
    """Say how sure a verdict is: "98 % sure"; '' where its sentence does, and where the likeliest is no verdict."""
    return "" if cause == Cause.UNEXPLAINED or " sure" in sentence else f"{percent(probability)} sure"


def well(now: BootTime) -> Verdict:
    """Return the verdict where nobody is sick."""
    return Verdict(Cause.INSTANCE, "", "", 1.0, now)
