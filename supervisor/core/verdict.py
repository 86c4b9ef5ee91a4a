"""What may be wrong, weighed: an explanation, and the verdict that stands. Values only; made by `diagnosis`."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.terms import BootTime, Cause


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
        if self.cause is Cause.INSTANCE:
            return "each for itself"
        return f"{self.label or self.cause} {self.value}".strip()


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


def well(now: BootTime) -> Verdict:
    """Return the verdict where nobody is sick."""
    return Verdict(Cause.INSTANCE, "", "", 1.0, now)
