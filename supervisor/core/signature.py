"""How a sick machine is sick: the pattern of its failing checks, which says more of the cause than the count does.

    U unreachable   F one check fails   D one dependency's checks fail   L slow   M mixed   X the cloud says so

Called by `diagnosis` for every machine that isn't plainly well. It knows one machine only, never its peers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from supervisor.core.evidence import Evidence
from supervisor.core.health import Chart
from supervisor.core.machine import Machine, MachineState
from supervisor.core.terms import BootTime, Health, Role, Scope

CONFIRMS = 2
"""Failures in a row after which a suspect counts: its first, and the one that was asked again at once."""
ENDED = (MachineState.STOPPED, MachineState.TERMINATED)


class Pattern(StrEnum):
    """Which of its checks fail, and how."""

    UNREACHABLE = "unreachable"
    ONE_CHECK = "one check fails"
    ONE_DEPENDENCY = "one dependency's checks fail"
    SLOW = "slow"
    MIXED = "mixed failures"
    IMPAIRED = "impaired or gone, says the cloud"


class Symptom(NamedTuple):
    """A machine's signature. `check` is the only check that fails, `dependency` what all failing checks ask on the way."""

    pattern: Pattern
    check: str = ""
    dependency: str = ""
    heartbeat: bool | None = None  # whether it still gives signs of life by another way; None: it never did
    only: bool = False  # it is the only check there is: that no other one fails says nothing
    refuses: bool = False  # nothing there works, and yet it answers: the way to it is open, and we see


def counts(chart: Chart, now: BootTime, *, before: bool) -> bool:
    """Return whether a machine is sick enough to be correlated with others: blips are not, unknown never is.

    One that counted `before` counts until it is well again: a lucky pass in an outage is not the end of it.
    """
    health = chart.finding.health
    if health is Health.SICK:
        return True
    if chart.machine is not None and chart.machine.impaired and health is not Health.UNKNOWN:
        return True
    if health is not Health.SUSPECT:
        return False
    return (
        before
        or chart.finding.unready
        or any(
            e.fails >= CONFIRMS and not e.is_stale(now)
            for e in chart.checks.values()
            if e.role in (Role.LIVENESS, Role.READINESS)
        )
    )


def read(chart: Chart, now: BootTime, heartbeat: bool | None, last: Symptom | None = None) -> Symptom:
    """Read a sick machine's symptom.

    One whose checks all pass for the moment keeps its `last` one. So does one that only blips, or of which a check passes
    again while those that fail have not been asked since: it may just be coming back, check by check.
    """
    if _is_impaired(chart.machine):
        # The cloud may tell of an end before anything fails: the last signs of life before it speak for nobody.
        return Symptom(Pattern.IMPAIRED, heartbeat=heartbeat if any(e.fails for e in chart.checks.values()) else None)
    voting = [e for e in chart.checks.values() if e.role is not Role.ADVISORY] or list(chart.checks.values())
    failing = [e for e in voting if e.fails > 0 and not e.is_stale(now)]
    if not failing:
        mute = chart.mute_since is not None and chart.slow is None
        return last or Symptom(Pattern.MIXED if mute else Pattern.SLOW, heartbeat=heartbeat)
    if last is not None and last.pattern is not Pattern.SLOW and _is_old_news(voting, failing):
        return last._replace(heartbeat=heartbeat)
    network = [e for e in voting if e.check.scope is Scope.NETWORK] or voting
    cut_off = all(e.fails > 0 for e in network)
    if cut_off and all(e.silent for e in network):
        return Symptom(Pattern.UNREACHABLE, heartbeat=heartbeat)
    sole = failing[0].check.name if len(failing) == 1 else ""
    dependency = _shared_dependency(failing, chart.checks)
    if dependency:
        return Symptom(Pattern.ONE_DEPENDENCY, sole, dependency, heartbeat)
    if sole:
        only = len(voting) <= 1
        return Symptom(Pattern.ONE_CHECK, sole, heartbeat=heartbeat, only=only)
    if cut_off:  # it refuses everything
        return Symptom(Pattern.UNREACHABLE, heartbeat=heartbeat, refuses=not any(e.silent for e in network))
    return Symptom(Pattern.MIXED, heartbeat=heartbeat)


def _is_old_news(voting: list[Evidence], failing: list[Evidence]) -> bool:
    """Return whether what fails now changes nothing: a blip, or some check has begun to pass since it last spoke."""
    if all(e.fails < CONFIRMS for e in failing):
        return True
    turned = max((e.last_pass_run for e in voting if e.fails == 0 and e.last_pass_run is not None), default=None)
    return turned is not None and any(e.last_fail is None or e.last_fail < turned for e in failing)


def _is_impaired(machine: Machine | None) -> bool:
    return machine is not None and (bool(machine.impaired) or machine.state in ENDED)


def _shared_dependency(failing: list[Evidence], checks: Mapping[str, Evidence]) -> str:
    """Return the dependency that all failing checks ask, the one whose other checks pass least; '' for none."""
    shared = set(failing[0].check.depends_on)
    for e in failing[1:]:
        shared &= set(e.check.depends_on)
    failed = {e.check.name for e in failing}

    def passing(dependency: str) -> int:
        return sum(1 for name, e in checks.items() if dependency in e.check.depends_on and name not in failed)

    return min(sorted(shared), key=passing, default="")
