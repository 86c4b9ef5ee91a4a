"""What is to be played, and what came of it: values that cross between processes, and into tables."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.terms import BootTime, Seconds
from supervisor.sim.exam.score import Score

SICKBAY, ORACLE = "sickbay", "oracle"


@dataclass(frozen=True, slots=True)
class Play:
    """One scenario, fleet size, seed and policy. `without` names what Sickbay has to do without."""

    path: str
    size: int
    seed: int
    policy: str
    without: str = ""
    quick: bool = False
    config: str = ""
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Saying:
    """Something that people were told."""

    at: BootTime
    text: str
    cause: str = ""
    urgent: bool = True


@dataclass(frozen=True, slots=True)
class Trace:
    """A run over time, for a plot. `serving` and `sick` are steps: a moment, and the number from then on."""

    lasts: Seconds
    desired: int
    demand: float
    serving: tuple[tuple[BootTime, float], ...]
    sick: tuple[tuple[BootTime, float], ...]
    removals: tuple[BootTime, ...]
    launches: tuple[BootTime, ...]
    said: tuple[Saying, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What was really wrong, for tables: whether many share it, and whether there was a cause to name at once."""

    number: int
    shared: bool
    cause: str
    names: bool  # the scenario expects the cause to be told within five minutes


@dataclass(frozen=True, slots=True)
class Played:
    """One play, and its score."""

    play: Play
    truth: Truth
    score: Score
    trace: Trace | None = None
