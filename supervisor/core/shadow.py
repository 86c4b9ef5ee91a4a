"""Which checks may vote: a new or changed one is watched first, and one that is found wrong votes no more.

    SHADOW (asked and shown, no vote) -> the others' healthy machines pass it: GOOD -> accused by the verdict: CONDEMNED
                                      -> they don't: CONDEMNED                       another version of it: SHADOW

A check without a vote is treated as advisory: it neither makes suspect, nor keeps a new machine out. Nobody is harmed
by what it says, but people should not have to wait for the end of the watch: as soon as it is the likeliest reason why
machines fail it, it is named. Called with each configuration, and by triage.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import changes, diagnosis, dossiers, explaining, incidents, troubles
from supervisor.core.context import Context
from supervisor.core.explaining import Picture
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart
from supervisor.core.model import CheckStanding, Moment
from supervisor.core.settings import CheckPolicy
from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Cause, Health, Role, Seconds, Standing
from supervisor.core.verdict import Explanation

ROUNDS = 3  # that a check must have been asked at least while it is watched
NAMED = 5  # machines that a refusal names
SHARED_BY = 2  # machines at least, before it can be the check's fault and not a machine's
AGAIN = "an earlier version of it was wrong"
"""Why a check is watched that must do better than others."""
SILENCED = frozenset({Standing.SHADOW, Standing.CONDEMNED})


def configured(ctx: Context, fleet: Fleet) -> None:
    """Take the checks of a configuration: what is new or changed is watched, unless the fleet itself is new."""
    name = fleet.policy.name
    known = {s.check: s for s in ctx.world.all(CheckStanding) if s.fleet == name}
    for check in fleet.policy.checks:
        standing = known.get(check.name)
        if standing is None:
            first = not known or not check.version
            _put(ctx, fleet, check, Standing.GOOD if first else Standing.SHADOW, "" if first else "it is new")
        elif not standing.version and check.version and standing.standing is Standing.GOOD:
            ctx.world.put(replace(standing, version=check.version))  # it was not known before: nothing has changed
        elif check.version and check.version != standing.version:
            again = standing.standing is Standing.CONDEMNED or standing.why == AGAIN
            _put(ctx, fleet, check, Standing.SHADOW, AGAIN if again else "it was changed")
    for gone in sorted(known.keys() - {check.name for check in fleet.policy.checks}):
        if known[gone].standing is not Standing.CONDEMNED:
            ctx.world.delete(known[gone])  # when it comes back it is new
    _apply(ctx, fleet)


def watch(ctx: Context, fleet: Fleet) -> None:
    """Let those vote that have been watched for long enough, or refuse them with the names of who fails."""
    now = ctx.now.boot
    if not fleet.muted or ctx.sight.blind or now - fleet.investigation.tried_at < ctx.settings.judgement.compare_every:
        return
    fleet.investigation.tried_at = now
    for check in fleet.policy.checks:
        standing = ctx.world.get(CheckStanding, fleet.policy.name, check.name)
        if standing is None or standing.standing is not Standing.SHADOW:
            continue
        accused = _accused(ctx, fleet, check)
        if accused is not None:
            _name(ctx, fleet, check, accused)
        if _is_over(ctx, check, standing):
            _judge(ctx, fleet, check, standing, accused)
    _apply(ctx, fleet)


def condemn(ctx: Context, fleet: Fleet, check: str, why: str) -> None:
    """Take the vote from a check that is found wrong. Whoever is sick by it alone is well again."""
    policy = next((c for c in fleet.policy.checks if c.name == check), None)
    if policy is not None:
        _put(ctx, fleet, policy, Standing.CONDEMNED, why)
        _apply(ctx, fleet)


def _is_over(ctx: Context, check: CheckPolicy, standing: CheckStanding) -> bool:
    needed: Seconds = max(ctx.settings.guards.shadow_for, ROUNDS * (check.interval + check.timeout))
    return ctx.since(max(standing.since, ctx.started.wall)) >= needed


def _accused(ctx: Context, fleet: Fleet, check: CheckPolicy) -> Explanation | None:
    """Return why it would be the check that is wrong, if it had a vote; None while it would be something else.

    A share of machines that may fail it says too little: a bad version that spreads slowly stays below any share for as
    long as it is watched, and then takes machine after machine out.
    """
    now = ctx.now.boot
    failing = {
        name: _symptom(chart, check, chart.heartbeat_fresh(now))
        for name, chart in sorted(fleet.charts.items())
        if chart.observed and chart.finding.health is Health.HEALTHY and _would_condemn(ctx, chart, check)
    }
    if len(failing) < SHARED_BY:
        return None
    counts = fleet.investigation.population.supposing(failing)
    picture = Picture(counts, changes.recent(ctx, fleet), diagnosis.beacons(ctx))
    best = explaining.weigh(picture)[0]
    if best.cause is not Cause.CHECK or best.probability < ctx.settings.explaining.shared_odds:
        return None
    told = f"fails on {counts.sick} of {counts.total}, and all others call them healthy"
    return replace(best, evidence=(told, *best.evidence[1:]))  # nobody is sick by it, though it is weighed like that


def _would_condemn(ctx: Context, chart: Chart, check: CheckPolicy) -> bool:
    e, now = chart.checks[check.name], ctx.now.boot
    lasting = e.failing_since is not None and now - e.failing_since >= ctx.settings.judgement.sick_after
    return e.fails >= ROUNDS and lasting and e.score >= e.weights.condemns_at and not e.is_stale(now)


def _symptom(chart: Chart, check: CheckPolicy, heartbeat: bool | None) -> Symptom:
    if check.depends_on:
        return Symptom(Pattern.ONE_DEPENDENCY, check.name, check.depends_on[0], heartbeat)
    return Symptom(Pattern.ONE_CHECK, check.name, heartbeat=heartbeat, only=len(chart.checks) <= 1)


def _name(ctx: Context, fleet: Fleet, check: CheckPolicy, why: Explanation) -> None:
    """Tell it once, as the trouble that it would be; while another one is open, people have enough to read."""
    told, name = (check.name, check.version), fleet.policy.name
    if told in fleet.investigation.accused or troubles.of(ctx.world, name) is not None:
        return
    fleet.investigation.accused.add(told)
    about = why.words
    text = f"{about} {why.evidence[0]} ({'; '.join((f'P {why.probability:.2f}', *why.evidence[1:]))})"
    trouble = incidents.open_shared(ctx, fleet, about, Cause.CHECK, why.probability, text, 0.0)
    words = "it is watched and has no vote, so nobody is touched; the other checks judge on"
    dossiers.begin(ctx, fleet, ctx.note(trouble, "incident.opened", f"{name}: {text}; {words}"), Moment.OPENING)


def _judge(
    ctx: Context, fleet: Fleet, check: CheckPolicy, standing: CheckStanding, accused: Explanation | None
) -> None:
    now, guards = ctx.now.boot, ctx.settings.guards
    well = [c for _, c in sorted(fleet.charts.items()) if c.finding.health is Health.HEALTHY and c.observed]
    if not well:
        return  # nobody to ask
    evidence = {chart.id: chart.checks[check.name] for chart in well}
    fails = [name for name, e in evidence.items() if e.passes == 0 or e.is_stale(now)]
    needed = guards.shadow_again if standing.why == AGAIN else guards.shadow_share
    passed = len(well) - len(fails)
    told = f"{passed} of {len(well)} machines pass it that all others call healthy (needs {needed:.0%})"
    fleet_name = fleet.policy.name
    if passed >= needed * len(well) and accused is None:
        _put(ctx, fleet, check, Standing.GOOD, "")
        ctx.say("check.votes", f"{fleet_name}: check {check.name} votes from now on: {told}", fleet_name)
        return
    more = f" and {len(fails) - NAMED} more" if len(fails) > NAMED else ""
    text = f"{told}; it fails on {', '.join(fails[:NAMED])}{more}"
    if accused is not None:
        text += f"; that it is the check: P {accused.probability:.2f}"
    _put(ctx, fleet, check, Standing.CONDEMNED, text)
    words = "has no vote until it is another version"
    ctx.say("check.refused", f"{fleet_name}: check {check.name} {words}: {text}", fleet_name)


def _put(ctx: Context, fleet: Fleet, check: CheckPolicy, standing: Standing, why: str) -> None:
    name = fleet.policy.name
    known = ctx.world.get(CheckStanding, name, check.name)
    if known is None or (known.version, known.standing) != (check.version, standing):
        ctx.world.put(CheckStanding(name, check.name, check.version, standing, ctx.now.wall, why))
        if standing is Standing.SHADOW and check.role is not Role.ADVISORY:
            ctx.say("check.watched", f"{name}: check {check.name} is watched before it votes: {why}", name)


def _apply(ctx: Context, fleet: Fleet) -> None:
    silenced = (
        s.check for s in ctx.world.values(CheckStanding) if s.fleet == fleet.policy.name and s.standing in SILENCED
    )
    fleet.mute(frozenset(silenced))
