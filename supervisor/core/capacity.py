"""Who serves as far as anybody can tell. Unknown is not down: what we don't see may serve all the same.

`Fleet.serving` counts those that our own checks call healthy; the floors rest on it, because they must be sure. Whether
machines are *missing*, so that others are launched in their place or people are told that nothing serves, must be judged
by who really serves: the load balancer asks them as well, and their own signs of life come by another way.
"""

from __future__ import annotations

from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart, gating
from supervisor.core.machine import MachineState, TargetHealth
from supervisor.core.terms import BootTime, Health


def may_serve(chart: Chart) -> bool:
    """Return whether one that our checks don't call healthy may serve all the same."""
    if not _is_in_traffic(chart):
        return False
    return chart.finding.health is not Health.SICK or (_is_unseen(chart) and _is_vouched(chart))


def serving(fleet: Fleet) -> int:
    """Return how many serve, those counted in that nobody sees at fault."""
    return fleet.serving + sum(1 for chart in _doubtful(fleet) if may_serve(chart))


def at_work(fleet: Fleet, now: BootTime) -> int:
    """Return how many need nobody in their place.

    Of one that is silent, the load balancer or its own signs of life must say that it serves all the same; what answers
    badly is seen well enough. One that answers well again is back before a new machine could be. Who is unknown is not
    lost.
    """
    return fleet.serving + sum(1 for chart in _doubtful(fleet) if _is_at_work(chart, now))


def words(serving: int, desired: int, doubtful: int = 0) -> str:
    """Say how many serve of how many wanted, and how many may; after a zone's return rescue machines serve as well."""
    if doubtful:
        return f"{serving} of {desired} serve for certain, {doubtful} may"
    if serving > desired > 0:
        return f"all {desired} serve, {serving - desired} more than wanted"
    return f"{serving} of {desired} serve"


def _doubtful(fleet: Fleet) -> list[Chart]:
    """Return the charts of those that `Fleet.serving` may leave out although they serve."""
    charts = (fleet.charts.get(name) for name in fleet.suspects | fleet.unknown | fleet.sick)
    return [chart for chart in charts if chart is not None and not chart.serving]


def _is_in_traffic(chart: Chart) -> bool:
    machine = chart.machine
    running = machine is not None and machine.state is MachineState.RUNNING and machine.registered is True
    return running and machine is not None and machine.target is not TargetHealth.UNHEALTHY


def _is_vouched(chart: Chart) -> bool:
    machine = chart.machine
    return machine is not None and machine.target is TargetHealth.HEALTHY and not machine.impaired


def _is_at_work(chart: Chart, now: BootTime) -> bool:
    machine, finding = chart.machine, chart.finding
    if machine is None or machine.registered is not True or machine.state is not MachineState.RUNNING:
        return False
    asked = gating(chart)
    if asked and all(evidence.passes > 0 and not evidence.is_stale(now) for evidence in asked):
        return True  # it answers again
    if not _is_in_traffic(chart):
        return False
    if finding.health is Health.UNKNOWN:
        return True
    return _is_unseen(chart) and (_is_vouched(chart) or chart.heartbeat_fresh(now) is True)


def _is_unseen(chart: Chart) -> bool:
    """Return whether nothing but silence speaks against it: then it may be us, or the way there."""
    failing = [evidence for evidence in gating(chart) if evidence.fails > 0]
    return bool(failing) and all(evidence.silent for evidence in failing)
