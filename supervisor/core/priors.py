"""What is believed before anybody looks: how often each cause strikes, how much it takes along, and what it looks like.

Tables only, and the two look-ups that `explaining` makes in them. The numbers are rates in a window of ten minutes, not
"given that something happened": otherwise each single death in a fleet of three would be a zone outage.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from math import log
from typing import NamedTuple

from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Cause


class Theory(StrEnum):
    """What may be going on. Several may be one cause to people: a zone may be down, or only the way to it."""

    INSTANCE = "instance"
    ZONE = "zone"
    SUBNET = "subnet"
    PATH = "path"  # the machines there are well, and only we can't reach them
    IMAGE = "image"
    COHORT = "cohort"
    DEPENDENCY = "dependency"
    CHECK = "check"
    BLIND = "blind"
    FLEET = "fleet"


class Share(NamedTuple):
    """How much of a group falls sick of a cause: a Beta distribution."""

    a: float
    b: float


ALONE = Share(0.5, 500.0)
"""Machines that fall sick each for itself: one in a thousand at a time."""
SHARES: dict[Theory, Share] = {
    Theory.ZONE: Share(4.0, 1.0),
    Theory.SUBNET: Share(4.0, 1.0),
    Theory.PATH: Share(4.0, 1.0),
    Theory.IMAGE: Share(1.0, 1.0),
    Theory.COHORT: Share(2.0, 1.0),
    Theory.DEPENDENCY: Share(3.0, 1.0),
    Theory.CHECK: Share(3.0, 1.0),
    Theory.BLIND: Share(6.0, 1.0),
    Theory.FLEET: Share(2.0, 1.0),
}
PRIORS: dict[Theory, float] = {
    Theory.ZONE: 1e-5,
    Theory.SUBNET: 1e-5,
    Theory.PATH: 2e-6,
    Theory.IMAGE: 1e-5,
    Theory.COHORT: 1e-5,
    Theory.DEPENDENCY: 1e-4,
    Theory.CHECK: 1e-6,
    Theory.BLIND: 1e-4,
    Theory.FLEET: 1e-6,
}
CHANGED: dict[Theory, float] = {
    Theory.ZONE: 1e-3,
    Theory.SUBNET: 1e-3,
    Theory.PATH: 1e-3,
    Theory.IMAGE: 0.03,
    Theory.COHORT: 1e-5,
    Theory.DEPENDENCY: 1e-3,
    Theory.CHECK: 0.01,
    Theory.BLIND: 1e-3,
    Theory.FLEET: 1e-4,
}
"""The same, soon after a change that fits. A push to the network is taken for as risky as one to a dependency."""
PAIR = 1e-7
"""Of a cause that needs two labels at once."""

_ORDER = (
    Pattern.UNREACHABLE,
    Pattern.ONE_CHECK,
    Pattern.ONE_DEPENDENCY,
    Pattern.SLOW,
    Pattern.MIXED,
    Pattern.IMPAIRED,
)
_ANSWERED = (Pattern.ONE_CHECK, Pattern.ONE_DEPENDENCY, Pattern.MIXED)
_LOOKS: dict[Theory, tuple[float, float, float, float, float, float]] = {
    Theory.INSTANCE: (0.40, 0.20, 0.05, 0.10, 0.15, 0.10),
    Theory.ZONE: (0.75, 0.01, 0.04, 0.05, 0.05, 0.10),
    Theory.SUBNET: (0.85, 0.01, 0.04, 0.05, 0.04, 0.01),
    Theory.PATH: (0.85, 0.01, 0.04, 0.05, 0.04, 0.01),
    Theory.IMAGE: (0.15, 0.30, 0.10, 0.15, 0.295, 0.005),
    Theory.COHORT: (0.30, 0.05, 0.05, 0.30, 0.10, 0.20),
    Theory.DEPENDENCY: (0.02, 0.10, 0.70, 0.15, 0.025, 0.005),
    Theory.CHECK: (0.01, 0.95, 0.02, 0.01, 0.008, 0.002),
    Theory.BLIND: (0.95, 0.01, 0.02, 0.01, 0.008, 0.002),
    Theory.FLEET: (0.30, 0.15, 0.15, 0.20, 0.15, 0.05),  # nobody knows why: nearly flat
}
_BEATS: dict[Theory, float] = {
    Theory.INSTANCE: 0.05,
    Theory.ZONE: 0.05,
    Theory.SUBNET: 0.05,
    Theory.PATH: 0.90,  # the heartbeat goes another way
    Theory.IMAGE: 0.10,
    Theory.COHORT: 0.05,
    Theory.DEPENDENCY: 0.95,
    Theory.CHECK: 0.95,
    Theory.BLIND: 0.90,
    Theory.FLEET: 0.50,
}
"""P(the heartbeat is fresh, given that the machine is unreachable)."""
_REFUSALS: dict[Theory, float] = {
    Theory.INSTANCE: 0.50,
    Theory.ZONE: 0.10,
    Theory.SUBNET: 0.02,
    Theory.PATH: 0.02,
    Theory.IMAGE: 0.50,
    Theory.COHORT: 0.30,
    Theory.DEPENDENCY: 0.50,
    Theory.CHECK: 0.50,
    Theory.BLIND: 0.02,
    Theory.FLEET: 0.50,
}
"""P(it refuses, or errs at everything, given that nothing there works): an answer comes from who is seen."""
RIGHT, WRONG, ANY = 0.97, 0.006, 0.2
"""That the failing check (or dependency) is the accused one, is another, or any one where none is accused."""
SENTINEL_FAILS = 0.9
SENTINEL_BLIPS = 0.001
CAUSES: dict[Theory, Cause] = {theory: Cause(theory) for theory in Theory if theory is not Theory.PATH}


@lru_cache(maxsize=4096)
def looks_like(symptom: Symptom, theory: Theory, accused: str = "") -> float:
    """Return ln P(symptom | theory, with what it accuses)."""
    chance = _LOOKS[theory][_ORDER.index(symptom.pattern)]
    if symptom.only:  # whatever is wrong but silence shows like this
        chance = sum(_LOOKS[theory][_ORDER.index(pattern)] for pattern in _ANSWERED)
        if theory is Theory.CHECK and symptom.check != accused:
            chance *= WRONG
    elif symptom.pattern is Pattern.ONE_CHECK:
        chance *= _key(theory is Theory.CHECK, symptom.check, accused)
    elif symptom.pattern is Pattern.ONE_DEPENDENCY:
        if theory is Theory.CHECK and symptom.check == accused:
            # A dependency that a single check asks: both theories foresee just this, and how rare they are decides.
            chance = _LOOKS[Theory.DEPENDENCY][_ORDER.index(symptom.pattern)] * RIGHT
        else:
            chance *= _key(theory is Theory.DEPENDENCY, symptom.dependency, accused)
    elif symptom.pattern is Pattern.UNREACHABLE:
        chance *= _REFUSALS[theory] if symptom.refuses else 1.0
        if symptom.heartbeat is not None:
            fresh = _BEATS[theory]
            chance *= fresh if symptom.heartbeat else 1.0 - fresh
    return log(chance)


def _key(accuses: bool, found: str, accused: str) -> float:
    if not accuses:
        return ANY
    return RIGHT if found == accused else WRONG


def sentinel_says(ok: bool, *, accused: bool) -> float:
    """Return ln P(a sentinel's answer | what it stands for is down, or not)."""
    fails = SENTINEL_FAILS if accused else SENTINEL_BLIPS
    return log(1.0 - fails if ok else fails)
