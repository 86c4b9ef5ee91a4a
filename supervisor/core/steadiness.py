"""Watches for machines that flap, and tells when a spell begins and ends.

Called by the engine around each judging of a machine that serves or has served.
"""

from __future__ import annotations

from supervisor.core import incidents, learnt, troubles
from supervisor.core.context import Context
from supervisor.core.flapping import Flapping
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart, Finding, is_stable
from supervisor.core.model import Instance
from supervisor.core.terms import Health

CONFIRMED = 2  # failures in a row: the first one, and one of the second look


def settle(ctx: Context, fleet: Fleet, instance: Instance, chart: Chart) -> None:
    """End a spell when its machine has been stable for long enough."""
    flapping, judgement = chart.flapping, ctx.settings.judgement
    if flapping is None or flapping.since is None:
        return
    span = flapping.stable_for(judgement)
    if is_stable(chart, judgement.flap_passes, span, ctx.now.boot):
        flapping.end()
        text = f"{incidents.place_of(instance)} is stable again: {span:.0f}s without a failure"
        ctx.say("instance.flapping_ended", text, fleet.policy.name)


def watch(ctx: Context, fleet: Fleet, instance: Instance, chart: Chart, finding: Finding) -> bool:
    """Count a change between healthy and suspect; return whether a spell begins, which changes the finding."""
    was, judgement = chart.finding.health, ctx.settings.judgement
    flapping = chart.flapping
    if finding.health is Health.SUSPECT:
        if (flapping is not None and flapping.stood) or not _is_confirmed(chart):
            return False
        if flapping is None:
            flapping = chart.flapping = Flapping()
        flapping.stood = True
    elif finding.health is Health.HEALTHY and was is Health.SUSPECT and flapping is not None and flapping.stood:
        flapping.stood = False
    else:
        if flapping is not None and finding.health is not Health.UNKNOWN:
            flapping.stood = False
        return False
    if _is_shared(ctx, fleet, instance) or not flapping.change(ctx.now.boot, judgement):
        return False
    flapping.spells = learnt.note_spell(ctx, fleet, instance.id)
    text = (
        f"{incidents.place_of(instance)} flaps: {flapping.changes} changes between healthy and suspect within "
        f"{judgement.flap_window:.0f}s; it leaves the load balancer until it has passed for "
        f"{flapping.stable_for(judgement):.0f}s"
    )
    ctx.say("instance.flapping", text, fleet.policy.name)
    return True


def _is_shared(ctx: Context, fleet: Fleet, instance: Instance) -> bool:
    """Return whether many come and go together: that is no unsteadiness of this machine's own."""
    trouble = troubles.of(ctx.world, fleet.policy.name)
    elsewhere = trouble is None or (
        trouble.verdict in troubles.PLACES and troubles.covering(ctx.world, fleet, instance) is None
    )
    return fleet.storm or not elsewhere


def _is_confirmed(chart: Chart) -> bool:
    return any(e.fails >= CONFIRMED or e.is_gray for e in chart.checks.values()) or chart.slow is not None
