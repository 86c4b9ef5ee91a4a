"""The fleet of a scenario as a healer is told of it: settings with the shipped numbers, or a user's own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from supervisor.core.settings import CheckPolicy, FleetPolicy, RemediationPolicy, Settings
from supervisor.core.terms import Mode, Role, Scope
from supervisor.plugins import discover, planned
from supervisor.sim.exam.scenario import Scenario
from supervisor.sim.exam.site import FLEET, ZONES

INTERVAL = 10.0
TIMEOUT = 3.0
CHECKS = {
    "tcp": CheckPolicy("tcp", "tcp", Role.LIVENESS, INTERVAL, TIMEOUT, version="1"),
    "http": CheckPolicy("http", "http", Role.LIVENESS, INTERVAL, TIMEOUT, version="1"),
    "disk": CheckPolicy("disk", "disk", Role.READINESS, INTERVAL, TIMEOUT, Scope.LOCAL, version="1"),
    "deep": CheckPolicy("deep", "deep", Role.READINESS, INTERVAL, TIMEOUT, Scope.DEEP, ("db",), version="1"),
    "dns": CheckPolicy("dns", "dns", Role.READINESS, INTERVAL, TIMEOUT, Scope.DEEP, ("dns",), version="1"),
}
"""The site's five checks; those that see further than their machine may only take it out of the load balancer."""


@cache
def rung(kind: str) -> RemediationPolicy:
    """Return a built-in remediation's plan, from its plugin."""
    return planned(discover().remediations[kind].cls())


def settings_for(scenario: Scenario, size: int, base: Settings | None = None) -> Settings:
    """Return the settings of a run; `base` brings its own numbers and the shape of its first fleet."""
    checks = tuple(CHECKS[name] for name in scenario.checks)
    policy = FleetPolicy(FLEET, size, "img-1", "1.0.0", ZONES, checks, (rung("replace"),), 10.0)
    if base is None:
        return Settings(Mode.AUTO, {FLEET: policy}, surfaces=())
    theirs = next((fleet for _, fleet in sorted(base.fleets.items())), policy)
    policy = replace(
        policy,
        checks=theirs.checks or checks,
        ladder=theirs.ladder,
        inventory_interval=theirs.inventory_interval,
        stateful=theirs.stateful,
    )
    return replace(base, mode=Mode.AUTO, fleets={FLEET: policy}, surfaces=())
