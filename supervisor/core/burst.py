"""Whether so many sick come by chance: a Gamma posterior of the failure rate, and Poisson tails.

Called by `diagnosis`. A burst does not say what is wrong; it says that something must be, and that people should know.
"""

from __future__ import annotations

from math import exp, lgamma, log

from supervisor.core.settings import Explaining
from supervisor.core.terms import Seconds

YEAR_HOURS = 8766.0
SHAPE = 2.0
MEAN_A_YEAR = 1.5
HOUR: Seconds = 3600.0
USUAL_LEAST = 1e-4
AT_ONCE = 3


def failure_rate(failures: int = 0, machine_hours: float = 0.0) -> float:
    """Return how often a machine fails in an hour: the mean of the Gamma posterior, 1.5 a year before anything is known."""
    return (SHAPE + failures) / (SHAPE * YEAR_HOURS / MEAN_A_YEAR + machine_hours)


def tail(least: int, mean: float) -> float:
    """Return P(at least so many | Poisson)."""
    if least <= 0:
        return 1.0
    if mean <= 0.0:
        return 0.0
    if least > mean:  # the tail itself: its terms fall from the first
        term = total = exp(least * log(mean) - mean - lgamma(least + 1))
        count = least
        while term > total * 1e-12:
            count += 1
            term *= mean / count
            total += term
        return min(1.0, total)
    below = sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(least))
    return max(0.0, 1.0 - below)


def gate(hourly: int, sick: int, total: int, rate: float, usual: float, explaining: Explaining) -> str:
    """Return why it is no chance, '' while it may be. `rate` is per machine and hour, `usual` the share that is sick."""
    by_chance = tail(hourly, rate * total)
    if hourly > 1 and by_chance < explaining.burst_hourly:
        return f"{hourly} of {total} turned sick within an hour, by chance {odds(by_chance)}"
    at_once = tail(sick, max(USUAL_LEAST, usual) * total)
    if sick >= AT_ONCE and at_once < explaining.burst_now:
        return f"{sick} of {total} are sick at once, by chance {odds(at_once)}"
    return ""


def odds(chance: float) -> str:
    """Say how likely something is, in words that need no exponent: "1 in 40", "1 in 10^12"."""
    if chance >= 0.5:
        return "likely"
    if chance >= 1e-4:
        return f"1 in {1 / chance:.0f}"
    return f"1 in 10^{-log(chance) / log(10):.0f}" if chance > 0.0 else "never"
