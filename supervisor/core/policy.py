"""Decides what to do about one instance or one empty slot: a pure function of findings and guard readings.

A decision is a value. Doing it is the workflow's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from supervisor.core.guards import Act, Facts, Reading, holding, holding_fill
from supervisor.core.health import Finding
from supervisor.core.journal import Verb
from supervisor.core.settings import RemediationPolicy
from supervisor.core.terms import SERVING, Health, Lifecycle


@dataclass(frozen=True, slots=True)
class Remediate:
    """Begin a rung of the ladder."""

    remediation: RemediationPolicy


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take out of the load balancer: reversible, nothing else is touched."""


@dataclass(frozen=True, slots=True)
class Return:
    """Put a withdrawn instance that recovered back into the load balancer."""


@dataclass(frozen=True, slots=True)
class Fill:
    """Launch a machine into an empty slot."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Act, but for these guards."""

    what: str
    readings: tuple[Reading, ...]

    @property
    def guards(self) -> tuple[str, ...]:
        """The names of the guards that hold."""
        return tuple(reading.guard for reading in self.readings)


@dataclass(frozen=True, slots=True)
class Nothing:
    """Leave it be."""

    reason: str


Decision: TypeAlias = Remediate | Withdraw | Return | Fill | Hold | Nothing


LAUNCHING_STOPPED = frozenset({"launch_breaker", "image"})
"""Guards of a launch that keep a healing from beginning which needs one."""


def decide_instance(
    finding: Finding,
    lifecycle: Lifecycle,
    facts: Facts,
    ladder: tuple[RemediationPolicy, ...],
    rung: int,
    *,
    under_way: bool,
) -> Decision:
    """Decide about one instance. `rung` is where on the ladder its incident stands."""
    if under_way:
        return Nothing("a workflow is under way")
    if finding.health is Health.SICK:
        return _decide_sick(lifecycle, facts, ladder, rung)
    if lifecycle in SERVING and finding.unready and facts.group:
        return Nothing(f'not ready, and left in the load balancer: Auto Scaling group "{facts.group}" registers here')
    if lifecycle in SERVING and finding.unready:
        readings = holding(Act.WITHDRAW, facts)
        return Hold("withdraw", readings) if readings else Withdraw()
    if lifecycle is Lifecycle.WITHDRAWN and finding.health is Health.HEALTHY:
        readings = holding(Act.REGISTER, facts)
        return Hold("return", readings) if readings else Return()
    return Nothing(finding.reason)


def _decide_sick(lifecycle: Lifecycle, facts: Facts, ladder: tuple[RemediationPolicy, ...], rung: int) -> Decision:
    if rung >= len(ladder):
        return Nothing("the ladder is at its end: a person must decide")
    remediation = ladder[rung]
    if lifecycle not in remediation.starts_from:
        return Nothing(f"{remediation.kind} does not start from {lifecycle}")
    readings = list(holding(Act.REMEDIATE, facts))
    for act in _unprotected(remediation):
        readings += [r for r in holding(act, facts) if r.guard not in {known.guard for known in readings}]
    if any(step.verb is Verb.LAUNCH for step in remediation.plan):
        # Who is only partly well serves better than a machine that will not come.
        readings += [r for r in holding(Act.LAUNCH, facts) if r.guard in LAUNCHING_STOPPED]
    return Hold(remediation.kind, tuple(readings)) if readings else Remediate(remediation)


def _unprotected(remediation: RemediationPolicy) -> list[Act]:
    """Return the acts that this plan takes before any replacement serves: their floors count from the beginning."""
    acts: list[Act] = []
    for step in remediation.plan:
        if step.verb is Verb.LAUNCH:
            break
        if step.verb is Verb.WITHDRAW and not step.optional:
            acts.append(Act.WITHDRAW)
        elif step.verb is Verb.ISOLATE:
            acts.append(Act.ISOLATE)
        elif step.verb is Verb.RESTART:
            acts.append(Act.RESTART)
    return acts


def decide_slot(facts: Facts) -> Decision:
    """Decide about one empty slot. Nobody need be sick."""
    readings = holding_fill(facts)
    return Hold("fill", readings) if readings else Fill()
