"""Watches for machines that flap, and tells when a spell begins and ends.

Only a machine's own stumbles are counted, and how many are too many is derived, not guessed (see `stumbles`). While we see badly, and in a trouble that it shares with others, it goes up
and down with them: that says nothing of itself, and would have it taken out of the load balancer once all are well.
Called by the engine around each judging of a machine that serves or has served.
"""

from __future__ import annotations

from math import ceil, floor, log10

from supervisor.core import incidents, learnt, stumbles, troubles
from supervisor.core.burst import tail
from supervisor.core.context import Context
from supervisor.core.flapping import Flapping
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart, Finding, gating, is_stable
from supervisor.core.model import Instance
from supervisor.core.settings import Judgement
from supervisor.core.terms import Cause, Health

CONFIRMED = 2  # failures in a row: the first one, and one of the second look
OWN = frozenset({Cause.INSTANCE, Cause.IMAGE, Cause.COHORT})
"""Verdicts under which a machine is sick itself, whoever else may be."""


def settle(ctx: Context, fleet: Fleet, instance: Instance, chart: Chart) -> None:
    """End a spell when its machine has been stable for long enough, or when it was part of what many share."""
    flapping, judgement = chart.flapping, ctx.settings.judgement
    if flapping is None or flapping.since is None:
        return
    trouble = troubles.covering(ctx.world, fleet, instance)
    if trouble is not None and ctx.to_boot(trouble.opened_at) - flapping.since <= judgement.flap_window:
        flapping.end()
        text = f"{incidents.place_of(instance)} is part of incident {trouble.id}: its stumbles are not its own"
        ctx.say("instance.flapping_ended", text, fleet.policy.name)
        return
    span = flapping.stable_for(judgement)
    if is_stable(chart, judgement.flap_passes, span, ctx.now.boot):
        flapping.end()
        text = f"{incidents.place_of(instance)} is stable again: {span:.0f}s without a failure"
        ctx.say("instance.flapping_ended", text, fleet.policy.name)


def watch(ctx: Context, fleet: Fleet, instance: Instance, chart: Chart, finding: Finding) -> bool:
    """Count a suspicion once it is confirmed; return whether a spell begins with it, which changes the finding."""
    flapping, judgement, now = chart.flapping, ctx.settings.judgement, ctx.now.boot
    if finding.health is not Health.SUSPECT:
        if flapping is not None and flapping.stood and finding.health is not Health.UNKNOWN:
            flapping.stood = False
            if finding.health is Health.HEALTHY and not _is_own(ctx, fleet, instance):
                flapping.forgive()
        return False
    if (flapping is not None and flapping.stood) or not _is_confirmed(chart):
        return False
    if flapping is None:
        flapping = chart.flapping = Flapping()
    flapping.stood = True
    fleet.stumbles.note(instance.id, now, judgement.flap_window)
    if not _is_own(ctx, fleet, instance):
        flapping.forgive()
        return False
    flapping.stumble(now, judgement)
    because = _too_many(fleet, flapping, instance, judgement) if flapping.since is None else ""
    if not because:
        return False
    flapping.begin(now, because)
    flapping.spells = learnt.note_spell(ctx, fleet, instance.id)
    text = (
        f"{incidents.place_of(instance)} flaps: {because}; it leaves the load balancer until it has passed for "
        f"{flapping.stable_for(judgement):.0f}s"
    )
    ctx.say("instance.flapping", text, fleet.policy.name)
    return True


def _too_many(fleet: Fleet, flapping: Flapping, instance: Instance, judgement: Judgement) -> str:
    """Say that a machine has stumbled more often than it can by chance, or return ''."""
    machines, window, count = fleet.policy.desired, judgement.flap_window, flapping.stumbles
    least = ceil(judgement.flap_changes / 2)  # suspect, and well again
    if count < least:
        return ""
    expected = fleet.stumbles.expected(instance.id, machines, window)
    enough = stumbles.needed(machines, expected, window, judgement.false_alarms_per_month)
    if count < max(least, enough):
        return ""
    power = floor(-log10(tail(count, expected)))
    return f"suspect {count} times within {flapping.span:.0f}s, by chance 1 in 10^{power}"


def _is_confirmed(chart: Chart) -> bool:
    return any(e.fails >= CONFIRMED or e.is_gray for e in gating(chart)) or chart.slow is not None


def _is_own(ctx: Context, fleet: Fleet, instance: Instance) -> bool:
    """Return whether what is seen of a machine now is its own doing."""
    if ctx.sight.blind or fleet.storm or troubles.covering(ctx.world, fleet, instance) is not None:
        return False
    return fleet.verdict_on(instance.id).cause in OWN
