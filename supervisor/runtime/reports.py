"""What is known of an instance without asking it, gathered for the passive checks."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.api import BeatReport, CheckReport, Instance, Report
from supervisor.core.context import Context
from supervisor.core.health import Chart
from supervisor.core.terms import BootTime
from supervisor.runtime.heartbeats import Payload
from supervisor.runtime.runner import boottime


class Reports:
    """Reads what the engine knows, between its steps."""

    def __init__(self, ctx: Context, said: Callable[[str], Payload] = lambda _: Payload()) -> None:
        """`ctx` is the engine's; `said` returns what came with an instance's newest sign of life."""
        self._ctx = ctx
        self._said = said

    def of(self, instance: Instance) -> Report:
        """Return what is known now; nothing of an instance that nobody knows."""
        chart, policy = self._ctx.charts.get(instance.id), self._ctx.settings.fleets.get(instance.fleet)
        if chart is None or policy is None:
            return Report()
        now = boottime()
        return Report(
            beat=self._beat(chart, now),
            deaf=self._ctx.hearing.deaf or self._ctx.fleets[instance.fleet].hearing.deaf,
            impaired=None if chart.machine is None else chart.machine.impaired,
            image=policy.image,
            version=policy.version,
            checks=_checks(chart, now),
        )

    def _beat(self, chart: Chart, now: BootTime) -> BeatReport | None:
        heartbeat = chart.heartbeat
        if heartbeat is None or not heartbeat.beats:
            return None
        said = self._said(chart.id)
        fresh = not heartbeat.is_stale(now)
        return BeatReport(max(0.0, now - heartbeat.last), fresh, heartbeat.mean, said.metrics, said.facts)


def _checks(chart: Chart, now: BootTime) -> dict[str, CheckReport]:
    found: dict[str, CheckReport] = {}
    for name, evidence in chart.checks.items():
        if evidence.last is not None and evidence.status is not None:
            age = max(0.0, now - evidence.last)
            found[name] = CheckReport(evidence.status, age, age <= evidence.weights.stale_after)
    return found
