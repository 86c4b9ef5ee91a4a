"""Looks at a whole fleet every few seconds, where the hot path may not: learns, and compares the peers.

Called by the engine at each step; it does nothing until its time has come.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

from supervisor.core import learnt, triage
from supervisor.core.context import Context
from supervisor.core.evidence import Tally
from supervisor.core.fleet import Fleet
from supervisor.core.hearing import Hearing
from supervisor.core.pace import PEERS, SAMPLE, Pace, Slow
from supervisor.core.settings import CheckPolicy
from supervisor.core.terms import Role, Seconds, Status

CALM_SHARE = 0.02  # of the machines may be suspect while blips are counted; one at least
BROKEN_LEAST = 20  # results, before a check's share of UNKNOWN says anything
BROKEN_SHARE = 0.05
HALF = 0.5


def study(ctx: Context, fleet: Fleet) -> list[str]:
    """Learn from the last few seconds; return whose pace has changed, to be judged afresh."""
    judgement, now = ctx.settings.judgement, ctx.now.boot
    elapsed = now - fleet.studied_at
    if elapsed < judgement.compare_every:
        return []
    since, fleet.studied_at = fleet.studied_at, now
    frozen = _is_frozen(ctx, fleet)
    for name, blips in fleet.blips.items():
        blips.study(fleet.tallies[name], now, frozen=frozen)
    fleet.stumbles.study(fleet.serving, now, frozen=frozen)
    fleet.weigh(judgement)
    fleet.lifespan.serve(fleet.serving, min(elapsed, 2 * judgement.compare_every))
    changed = _listen(ctx, fleet)
    changed += [] if frozen and ctx.sight.blind else _compare(ctx, fleet, since)
    learnt.save(ctx, fleet)
    return changed


def _listen(ctx: Context, fleet: Fleet) -> list[str]:
    """Note whose own signs of life stay away while those of most come; return whom that begins, or ends, to matter."""
    now = ctx.now.boot
    if ctx.hearing.deaf:
        excuse(ctx, fleet)
    heard = [(c, c.heartbeat) for c in fleet.charts.values() if c.heartbeat is not None]
    overdue = sum(heart.is_missed(now, ctx.settings.judgement) for _, heart in heard)
    most = overdue > HALF * len(heard) and not ctx.hearing.deaf
    why = f"{overdue} of {len(heard)} machines of fleet {fleet.policy.name} fell silent at once" if most else ""
    if fleet.hearing.take(why, now):
        excuse(ctx, fleet)
    if len(heard) > 1:  # of one alone, nobody can say that all fell silent
        tell(ctx, fleet.hearing, fleet.policy.name)
    dumb = bool(fleet.hearing.deaf or ctx.sight.blind)
    away = set() if dumb else {c.id for c, heart in heard if heart.is_stale(now)}
    changed: list[str] = []
    for chart, _ in heard:
        if (chart.mute_since is None) is (chart.id in away):
            chart.mute_since = now if chart.id in away else None
            changed.append(chart.id)
    return changed


def excuse(ctx: Context, fleet: Fleet) -> None:
    """Wait afresh for everybody's signs of life: we may have missed some."""
    for chart in fleet.charts.values():
        if chart.heartbeat is not None:
            chart.heartbeat.excuse(ctx.now.boot, ctx.settings.judgement)


def tell(ctx: Context, hearing: Hearing, fleet: str = "") -> None:
    """Tell once that signs of life are not heard, and once that they are again."""
    news = hearing.news(ctx.now.boot, ctx.settings.judgement.heartbeat_pause)
    if news:
        ctx.say("heartbeats.lost", f"heartbeats are not heard: {news}; their silence accuses nobody meanwhile", fleet)
    elif news == "":
        ctx.say("heartbeats.back", "heartbeats are heard again", fleet)


def broken(ctx: Context) -> str:
    """Return that most checks fail themselves, or ''; one check that does so is at fault itself, not our host."""
    shares = [share for fleet in ctx.fleets.values() for share in fleet.broken.values()]
    bad = [share for share in shares if share > BROKEN_SHARE]
    if len(bad) < 2 or len(bad) <= HALF * len(shares):
        return ""
    return f"{len(bad)} of {len(shares)} checks fail themselves"


class Shares:
    """How large a share of each check's results was UNKNOWN since the last tick."""

    def __init__(self) -> None:
        """Begin to count."""
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}

    def tick(self, ctx: Context) -> None:
        """Count what came in since the last tick; too little leaves a share as it is."""
        for name, fleet in ctx.fleets.items():
            fleet.broken = {check: share for check, share in fleet.broken.items() if check in fleet.tallies}
            for check, tally in fleet.tallies.items():
                unknown, total = tally[Status.UNKNOWN], _total(tally)
                unknown_before, total_before = self._seen.get((name, check), (0, 0))
                if total < total_before:
                    unknown_before = total_before = 0
                if total - total_before >= BROKEN_LEAST or (name, check) not in self._seen:
                    came = max(1, total - total_before)
                    fleet.broken[check] = (unknown - unknown_before) / came
                    self._seen[name, check] = (unknown, total)


def _total(tally: Tally) -> int:
    return sum(tally.values())


def _is_frozen(ctx: Context, fleet: Fleet) -> bool:
    """Return whether failures are no blips now: something is wrong, or we can't tell."""
    suspects = len(fleet.suspects) > max(1.0, CALM_SHARE * fleet.policy.desired)
    unsure = bool(ctx.sight.blind) or not triage.is_amnesty_over(ctx, fleet)
    return bool(suspects or unsure or fleet.sick or ctx.world.open_of[fleet.policy.name])


def _compare(ctx: Context, fleet: Fleet, since: float) -> list[str]:
    stride = max(1, len(fleet.charts) // SAMPLE)
    sample = [c for c in islice(fleet.charts.values(), 0, None, stride) if c.observed]
    changed: list[str] = []
    for check in fleet.policy.checks:
        if check.role not in (Role.LIVENESS, Role.READINESS):
            continue
        name, now, stale_after = check.name, ctx.now.boot, fleet.weights[check.name].stale_after
        latest: dict[Pace, list[Seconds]] = defaultdict(list)
        for chart in sample:
            evidence = chart.checks[name]
            if evidence.passes and evidence.last is not None and now - evidence.last <= stale_after:
                latest[evidence.pace].append(evidence.latency)
        for pace in [p for (name, _), p in fleet.paces.items() if name == check.name]:
            own = latest.get(pace, [])
            pace.set_limit(own, now, () if len(own) > PEERS else [one for each in latest.values() for one in each])
            changed += _judge_pace(ctx, fleet, check, pace, since)
    return changed


def _tells_more(slow: Slow, known: Slow) -> bool:
    """Return whether what is slow says as much as what is known: only a liveness check may condemn in the end."""
    return slow.check == known.check or (slow.role is Role.LIVENESS and known.role is not Role.LIVENESS)


def _judge_pace(ctx: Context, fleet: Fleet, check: CheckPolicy, pace: Pace, since: float) -> list[str]:
    latest: dict[str, Seconds | None] = {}
    for name in pace.watched():
        chart = fleet.charts.get(name)
        if chart is None:
            pace.forget(name)
            continue
        evidence = chart.checks[check.name]
        came = evidence.passes > 0 and evidence.last is not None and evidence.last > since - check.timeout
        latest[name] = evidence.latency if came else None
    changed: list[str] = []
    for name, slow in pace.compare(latest, ctx.settings.judgement, ctx.now.boot):
        chart = fleet.charts.get(name)
        if chart is not None and (slow is not None or (chart.slow is not None and chart.slow.check == check.name)):
            if slow is not None and chart.slow is not None and not _tells_more(slow, chart.slow):
                continue
            changed += [name] if (slow is None) is not (chart.slow is None) else []
            chart.slow = slow
    return changed
