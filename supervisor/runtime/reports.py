"""What is known of an instance without asking it, gathered for the passive checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from supervisor.api import AlertReport, BeatReport, CheckReport, Instance, Report
from supervisor.core import model
from supervisor.core.context import Context
from supervisor.core.health import Chart
from supervisor.core.terms import BootTime, Lifecycle, Status
from supervisor.runtime.heartbeats import Payload
from supervisor.runtime.runner import boottime


class Reports:
    """Reads what the engine knows, between its steps."""

    def __init__(
        self,
        ctx: Context,
        alerts: Callable[[str], Sequence[AlertReport] | None] = lambda _: None,
        said: Callable[[str], Payload] = lambda _: Payload(),
    ) -> None:
        """`ctx` is the engine's; `alerts` returns those that fire for an instance, None where nobody would know.

        `said` returns what came with an instance's newest sign of life.
        """
        self._ctx = ctx
        self._said = said
        self._alerts = alerts

    def names(self) -> dict[str, str]:
        """Return the ids of the instances that are there by what others may call them: id and address."""
        found = [i for i in self._ctx.world.values(model.Instance) if i.lifecycle is not Lifecycle.RETIRED]
        return {i.address: i.id for i in found if i.address} | {i.id: i.id for i in found}

    def of(self, instance: Instance) -> Report:
        """Return what is known now; nothing of an instance that nobody knows."""
        chart = self._ctx.charts.get(instance.id)
        if chart is None:
            return Report()
        now, good = boottime(), self._ctx.world.good_image(instance.fleet)
        return Report(
            beat=self._beat(chart, now),
            deaf=self._ctx.hearing.deaf or self._ctx.fleets[chart.fleet].hearing.deaf,
            impaired=None if chart.machine is None else chart.machine.impaired,
            image=None if good is None else good.id,
            version=None if good is None else good.version,
            alerts=self._alerts(instance.id),
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
            fresh, silent = age <= evidence.weights.stale_after, evidence.status is Status.CRITICAL and evidence.silent
            found[name] = CheckReport(evidence.status, age, fresh, silent, evidence.text)
    return found
