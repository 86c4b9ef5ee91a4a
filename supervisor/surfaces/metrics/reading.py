"""What a scrape reads off the running service at its moment: fleets, incidents, hosts, engine, outbox.

Reads the engine's own counters; the one walk over instances counts their health. Call it between two turns.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from supervisor import __version__
from supervisor.core.context import Context
from supervisor.core.engine import Engine
from supervisor.core.fleet import Fleet
from supervisor.core.model import Holder, Incident, IncidentState, OutboxMessage
from supervisor.core.terms import GONE, Cause, FleetState, Health, Lifecycle, Seconds
from supervisor.surfaces.metrics import catalogue as c
from supervisor.surfaces.metrics.sheet import Sheet

LIVE = tuple(lifecycle for lifecycle in Lifecycle if lifecycle not in GONE)
WATCHED = frozenset(LIVE) - {Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED, Lifecycle.RETIRING}
FIGURES = {
    "started": c.CHECKS_STARTED,
    "missed": c.CHECKS_MISSED,
    "in_flight": c.CHECKS_FLYING,
    "lag_p99": c.LAG_P99,
    "lag_max": c.LAG_MAX,
    "loop_lag": c.HOST_LAG,
}
"""What a check host reports of itself, by its own names."""
LARGEST = 1e18
NOT_CLOSED = tuple(state for state in IncidentState if state is not IncidentState.CLOSED)


class LoopFigures(Protocol):
    """What the loop counts."""

    turns: int
    commits: int
    refusals: int
    refused: str
    step_seconds: Seconds
    commit_seconds: Seconds


class OutboxFigures(Protocol):
    """What the outbox counts."""

    @property
    def delivered(self) -> Mapping[str, int]:
        """Messages taken, by surface."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """Messages not taken, by surface."""
        ...


class HostFigures(Protocol):
    """What is known of a check host; `last` is the last line of figures that it sent."""

    alive: bool
    restarts: int  # -1 before its first start

    @property
    def last(self) -> Mapping[str, Any]:  # Any: JSON
        """The newest figures; empty before the first."""
        ...


def read_supervisor(ctx: Context, sheet: Sheet) -> None:
    """Read the supervisor itself."""
    sheet.put(c.BUILD, 1, __version__, platform.python_version())
    sheet.put(c.BLIND, float(bool(ctx.sight.blind)))
    sheet.put(c.SELF_SCORE, ctx.sight.score)
    for name, sentinel in sorted(ctx.sight.sentinels.items()):
        sheet.put(c.SENTINEL_UP, float(sentinel.ok), name)
    sheet.put(c.HOLDERS, ctx.world.count(Holder))


def read_fleet(ctx: Context, fleet: Fleet, sheet: Sheet) -> None:
    """Read one fleet."""
    policy, name, now = fleet.policy, fleet.policy.name, ctx.now
    sheet.put(c.FLEET_INFO, 1, name, policy.environment, str(ctx.mode_of(fleet)), policy.image, policy.version)
    states = {str(state): fleet.state is state for state in FleetState}
    sheet.put_state(c.FLEET_STATE, {**states, "unknown": fleet.state is None}, name)
    sheet.put(c.DESIRED, policy.desired, name)
    sheet.put(c.SERVING, fleet.serving, name)
    sheet.put(c.STORM, float(fleet.storm), name)
    for cause in Cause:
        sheet.put(c.VERDICT, float(fleet.verdict.cause is cause), name, str(cause))
    sheet.put(c.STUCK, len(ctx.world.stuck_slots[name]), name)
    needed = ctx.settings.judgement.amnesty_rounds
    sheet.put(c.AMNESTY, min(needed, fleet.clean_rounds(now.boot)), name)
    sheet.put(c.AMNESTY_NEEDED, needed, name)
    seen = ctx.started.boot if fleet.inventory_at is None else fleet.inventory_at
    sheet.put(c.INVENTORY_AGE, now.boot - seen, name)
    sheet.put(c.INVENTORY_FAILURES, fleet.inventory_failures, name)
    sheet.put(c.WORKFLOWS, len(ctx.world.running[name]), name)
    kept = ctx.kept(fleet)
    sheet.put(c.QUARANTINED, len(kept), name)
    sheet.put(c.QUARANTINE_LIMIT, ctx.settings.guards.quarantine_cap, name)
    if kept:
        sheet.put(c.QUARANTINE_EXPIRY, min(q.expires_at for q in kept).timestamp(), name)
    _read_instances(ctx, fleet, sheet)
    _read_incidents(ctx, name, sheet)
    for check in policy.checks:
        for status, count in fleet.tallies[check.name].items():
            sheet.put(c.RESULTS, count, name, check.name, str(check.role), str(status))


def _read_instances(ctx: Context, fleet: Fleet, sheet: Sheet) -> None:
    name, image = fleet.policy.name, fleet.policy.image
    census = ctx.world.census[name]
    places = dict.fromkeys(((lifecycle, zone) for zone in fleet.policy.zones for lifecycle in LIVE), 0)
    images = {image: 0}
    for (lifecycle, zone, running), count in census.items():
        places[lifecycle, zone] = places.get((lifecycle, zone), 0) + count
        images[running] = images.get(running, 0) + count
    for (lifecycle, zone), count in places.items():
        sheet.put(c.INSTANCES, count, name, str(lifecycle), zone)
    for running, count in images.items():
        status = "current" if running == image else "outdated" if running else "unknown"
        sheet.put(c.IMAGES, count, name, running, status)
    judged = Counter(chart.finding.health for chart in fleet.charts.values())
    known: dict[Health, int] = {health: judged[health] for health in Health if health is not Health.UNKNOWN}
    watched = sum(count for (lifecycle, _, _), count in census.items() if lifecycle in WATCHED)
    known[Health.UNKNOWN] = max(0, watched - sum(known.values()))
    for health, count in known.items():
        sheet.put(c.HEALTH, count, name, str(health))


def _read_incidents(ctx: Context, name: str, sheet: Sheet) -> None:
    found = [ctx.world.need(Incident, number) for number in ctx.world.open_of[name]]
    states = Counter(incident.state for incident in found)
    for state in NOT_CLOSED:
        sheet.put(c.INCIDENTS, states[state], name, str(state))
    for guard, count in sorted(Counter(guard for incident in found for guard in incident.held).items()):
        sheet.put(c.HELD, count, name, guard)


def read_hosts(hosts: Mapping[str, HostFigures], sheet: Sheet) -> None:
    """Read the check hosts that were started. A dead one's last figures are no news: they are left out."""
    for host, stats in hosts.items():
        if stats.restarts < 0:
            continue
        sheet.put(c.HOST_UP, float(stats.alive), host)
        sheet.put(c.HOST_RESTARTS, stats.restarts, host)
        for name, family in FIGURES.items() if stats.alive else ():
            value = stats.last.get(name)
            # A plugin may write anything into its host's figures: what is no plain number is left out.
            if isinstance(value, int | float) and abs(value) < LARGEST:
                sheet.put(family, value, host)


def read_engine(engine: Engine, loop: LoopFigures, sheet: Sheet) -> None:
    """Read engine and store."""
    sheet.put_summary(c.RESULT_AGE, engine.batches, engine.batches_age)
    sheet.put(c.TURNS, loop.turns)
    sheet.put_summary(c.STEP_TIME, loop.turns, loop.step_seconds)
    sheet.put(c.COMMITS, loop.commits)
    sheet.put(c.COMMITS_REFUSED, loop.refusals)
    sheet.put_summary(c.COMMIT_TIME, loop.commits, loop.commit_seconds)
    sheet.put(c.STORE_REFUSES, float(bool(loop.refused)))


def read_outbox(ctx: Context, outbox: OutboxFigures, sheet: Sheet) -> None:
    """Read what waits to be told, in one pass."""
    surfaces = {*ctx.settings.surfaces, *outbox.delivered}
    waiting, dead, oldest = Counter[str](), Counter[str](), dict[str, Seconds]()
    for message in ctx.world.values(OutboxMessage):
        surfaces.add(message.surface)
        if message.dead:
            dead[message.surface] += 1
        else:
            waiting[message.surface] += 1
            oldest[message.surface] = max(oldest.get(message.surface, 0.0), ctx.since(message.at))
    for surface in sorted(surfaces):
        sheet.put(c.WAITING, waiting[surface], surface)
        sheet.put(c.OLDEST, oldest.get(surface, 0.0), surface)
        sheet.put(c.DEAD_LETTERS, dead[surface], surface)
        sheet.put(c.DELIVERED, outbox.delivered.get(surface, 0), surface)
        sheet.put(c.MESSAGES_REFUSED, outbox.refused.get(surface, 0), surface)
