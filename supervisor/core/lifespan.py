"""How often a fleet's machines fail: what surprise is measured by.

The posterior of a Gamma prior (shape 2, mean 1.5 failures in an instance-year), so a young fleet has a sane rate and an
old one its own.
"""

from __future__ import annotations

from supervisor.core.terms import Seconds

HOUR: Seconds = 3600.0
PRIOR_FAILURES = 2.0
PRIOR_HOURS = PRIOR_FAILURES / (1.5 / (365.25 * 24))


class Lifespan:
    """Failures of single machines that were confirmed, and the hours that machines have served."""

    __slots__ = ("failures", "hours")

    def __init__(self, failures: float = 0.0, hours: float = 0.0) -> None:
        """Go on with what was learnt before."""
        self.failures, self.hours = failures, hours

    def serve(self, machines: int, seconds: Seconds) -> None:
        """Count the time that so many machines served."""
        self.hours += machines * seconds / HOUR

    @property
    def rate(self) -> float:
        """Failures that one machine may be expected to have in an hour."""
        return (PRIOR_FAILURES + self.failures) / (PRIOR_HOURS + self.hours)
