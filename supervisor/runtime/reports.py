"""What is known of an instance without asking it, gathered for the passive checks."""

from __future__ import annotations

from supervisor.api import BeatReport, CheckReport, Instance, Report
from supervisor.core.context import Context
from supervisor.core.health import Chart
from supervisor.core.terms import BootTime
from supervisor.runtime.runner import boottime


class Reports:
    """Reads what the engine knows, between its steps."""

    def __init__(self, ctx: Context) -> None:
        """`ctx` is the engine's."""
        self._ctx = ctx

    def of(self, instance: Instance) -> Report:
        """Return what is known now; nothing of an instance that nobody knows."""
        chart, policy = self._ctx.charts.get(instance.id), self._ctx.settings.fleets.get(instance.fleet)
        if chart is None or policy is None:
            return Report()
        now = boottime()
        return Report(
            beat=_beat(chart, now),
            impaired=None if chart.machine is None else chart.machine.impaired,
            image=policy.image,
            version=policy.version,
            checks=_checks(chart, now),
        )


def _beat(chart: Chart, now: BootTime) -> BeatReport | None:
    heartbeat = chart.heartbeat
    if heartbeat is None or not heartbeat.beats:
        return None
    return BeatReport(max(0.0, now - heartbeat.last), heartbeat.is_fresh(now))


def _checks(chart: Chart, now: BootTime) -> dict[str, CheckReport]:
    found: dict[str, CheckReport] = {}
    for name, evidence in chart.checks.items():
        if evidence.last is not None and evidence.status is not None:
            age = max(0.0, now - evidence.last)
            found[name] = CheckReport(evidence.status, age, age <= evidence.weights.stale_after)
    return found
