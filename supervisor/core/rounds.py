"""The rounds: each machine is visited when something is said of it, or when its time has come, and judged afresh.

    a result, an inventory, a look that was planned -> the chart's finding, the fleet's counts, the next look

The engine calls it. It judges health and nothing more: what follows from a finding is decided in triage. It is the
one that moves a machine out of probation, because that is a matter of its health and of time alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import islice

from supervisor.core import diagnosis, inventory, learnt, plans, steadiness, triage
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart, Surroundings, judge, judge_startup, suspect_since
from supervisor.core.model import Instance, Slot
from supervisor.core.signals import InstanceMoved
from supervisor.core.terms import COMING, SERVING, BootTime, Cause, Health, Lifecycle

AT_ONCE = 250
"""Machines of those spoken of that one step visits: a few hundredths of a second."""


class Rounds:
    """Who is to be judged next, and the judging of one. The plan of looks is not stored: a restart looks at all."""

    def __init__(self, ctx: Context) -> None:
        """Begin with nobody planned: every machine gets its look when it is first spoken of."""
        self._ctx = ctx
        self._heap: list[tuple[BootTime, str]] = []
        self._queue: dict[str, None] = {}  # to be visited, a few at each step
        self._left = AT_ONCE  # of those, in this step

    def next_look(self) -> BootTime | None:
        """Return when the next machine or fleet wants to be looked at."""
        while self._heap and self._is_outdated(*self._heap[0]):
            heapq.heappop(self._heap)
        times = [f.look for f in self._ctx.fleets.values() if f.look is not None]
        if self._queue:
            times.append(self._ctx.now.boot)
        if self._heap:
            times.append(self._heap[0][0])
        return min(times, default=None)

    def visit_moved(self, fleet: Fleet) -> None:
        """Judge those afresh that a decision has put in service: nothing need ever be reported of them again."""
        for event in list(self._ctx.turn.events):
            if isinstance(event, InstanceMoved) and event.new in SERVING and event.fleet == fleet.policy.name:
                if event.old is Lifecycle.WITHDRAWN and self._ctx.world.incident_of(event.fleet, event.instance):
                    learnt.note_return(self._ctx, fleet, event.instance)
                self.visit(fleet, event.instance)
        if fleet.dirty:
            fleet.look = self._ctx.now.boot + triage.AGAIN

    def visit(self, fleet: Fleet, name: str) -> None:
        """Judge one instance afresh, and plan when to look again."""
        ctx = self._ctx
        instance = ctx.world.get(Instance, name)
        chart = fleet.charts.get(name)
        if instance is None or chart is None or instance.lifecycle in inventory.SET_ASIDE:
            return
        now = ctx.now.boot
        fleet.match(chart)
        if instance.lifecycle in COMING:
            finding = judge_startup(chart, ctx.settings.judgement, now)
        else:
            steadiness.settle(ctx, fleet, instance, chart)
            finding = judge(chart, ctx.settings.judgement, self._surroundings(fleet, instance, chart), now)
            if steadiness.watch(ctx, fleet, instance, chart, finding):
                finding = judge(chart, ctx.settings.judgement, self._surroundings(fleet, instance, chart), now)
            self._count_failure(fleet, chart, finding.health)
            if finding.health is Health.HEALTHY and chart.finding.health in (Health.SUSPECT, Health.SICK):
                for evidence in chart.checks.values():
                    evidence.acquit()
        edge = fleet.set_finding(chart, finding)
        diagnosis.observe(ctx, fleet, instance, chart)
        fleet.set_serving(
            chart, serving=inventory.is_serving(chart, instance, healthy=finding.health is Health.HEALTHY)
        )
        if edge:
            ctx.observe(fleet, instance)
        look = finding.look_at
        if instance.lifecycle is Lifecycle.PROBATION:
            ends = self._leave_probation(fleet, instance, chart)
            look = ends if look is None else min(look, ends)
        if look is not None and look != chart.look:
            chart.look = look
            heapq.heappush(self._heap, (look, name))

    def begin(self) -> None:
        """Begin a step."""
        self._left = AT_ONCE

    def visit_soon(self, names: Iterable[str]) -> None:
        """Visit these at once as far as a step allows it, the rest at the next steps, first come first served.

        At the first sight of a large fleet, and when all of it fails, everybody is spoken of; one step must not keep all
        others waiting for that.
        """
        self._queue |= dict.fromkeys(names)
        if not self._queue or not self._left:
            return
        for name in list(islice(self._queue, self._left)):
            del self._queue[name]
            self._left -= 1
            chart = self._ctx.charts.get(name)
            if chart is not None:
                self.visit(self._ctx.fleets[chart.fleet], name)
        if not self._queue:
            self._queue = {}  # one that was long stays slow to read

    def _count_failure(self, fleet: Fleet, chart: Chart, health: Health) -> None:
        """Count a machine that turns sick by itself; what many share says nothing of how long one lives."""
        if health is Health.SICK and chart.finding.health is not Health.SICK:
            alone = fleet.verdict.cause is Cause.INSTANCE and not fleet.storm
            window, now = self._ctx.settings.guards.breaker_window, self._ctx.now.boot
            if alone and not fleet.was_sick_lately(chart.id, window, now):
                fleet.lifespan.failures += 1

    def _surroundings(self, fleet: Fleet, instance: Instance, chart: Chart) -> Surroundings:
        now, heartbeat = self._ctx.now.boot, chart.heartbeat
        sees = not self._ctx.sight.blind and triage.is_amnesty_over(self._ctx, fleet)
        fresh = fleet.inventory_at is not None and now - fleet.inventory_at <= fleet.inventory_limit
        fresh = fresh and not fleet.inventory_error
        withdrawn = instance.lifecycle is Lifecycle.WITHDRAWN
        recovers = withdrawn or chart.finding.health is Health.SICK
        return Surroundings(
            may_condemn=sees,
            cloud_fresh=fresh,
            peers_well=sees and fresh and self._are_peers_well(fleet, chart),
            heartbeat_stale=heartbeat is not None and not fleet.hearing.deaf and heartbeat.is_stale(now),
            score=self._ctx.sight.score,
            withdrawn=withdrawn,
            returns=learnt.returns(self._ctx, fleet, chart.id) if recovers else 0,
        )

    def _are_peers_well(self, fleet: Fleet, chart: Chart) -> bool:
        """Return whether the others answer; nobody asks before one has been suspect for long."""
        first = suspect_since(chart)
        if first is None or self._ctx.now.boot - first < self._ctx.settings.judgement.silence_alone_after:
            return False
        return fleet.are_others_well(chart, self._ctx.settings.guards.fresh_round)

    def _leave_probation(self, fleet: Fleet, instance: Instance, chart: Chart) -> BootTime:
        """Move an instance out of probation when its time is over; else return when to look again."""
        ctx, judgement = self._ctx, self._ctx.settings.judgement
        slot = ctx.world.get(Slot, instance.fleet, instance.slot) if instance.slot is not None else None
        again = ctx.lineage(slot) > 1  # the replacement of a replacement
        left = (judgement.probation_again if again else judgement.probation) - ctx.since(instance.since)
        fails = [e.last_fail for e in chart.checks.values() if e.last_fail is not None]
        quiet_left = max(fails, default=float("-inf")) + judgement.probation_quiet - ctx.now.boot
        wait = max(left, quiet_left)
        if wait > 0:
            return ctx.now.boot + wait
        if chart.finding.health is Health.HEALTHY and chart.serving and instance.id not in ctx.world.by_instance:
            ctx.move(instance, Lifecycle.IN_SERVICE)
            plans.settle_slot(ctx, fleet.policy.name, instance.slot)
            plans.settle_instance(ctx, fleet, instance.id)
        return ctx.now.boot + triage.RECHECK

    def visit_due(self) -> None:
        """Judge every instance whose time has come."""
        now, charts, instances = self._ctx.now.boot, self._ctx.charts, self._ctx.world.table(Instance)
        heap, in_service = self._heap, Lifecycle.IN_SERVICE
        while heap and heap[0][0] <= now:
            at, name = heap[0]
            chart = charts.get(name)
            if chart is None or chart.look != at:
                heapq.heappop(heap)
                continue
            later = chart.quiet_until(now)
            instance = instances.get(name) if later is not None else None
            if later is not None and instance is not None and instance.lifecycle is in_service:
                chart.look = later  # nothing but the age of its results could have changed, and has not
                heapq.heapreplace(heap, (later, name))
            else:
                heapq.heappop(heap)
                chart.look = None
                self.visit(self._ctx.fleets[chart.fleet], name)

    def _is_outdated(self, at: BootTime, name: str) -> bool:
        chart = self._ctx.charts.get(name)
        return chart is None or chart.look != at
