"""What machines leave behind, and somebody pays for: volumes, interfaces, snapshots. Swept when plainly nobody's.

Seen so at two looks, an hour apart, belonging to no machine that the journal still knows, and held by nobody. One look
that fails is unknown: nothing happens.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from supervisor.core import plans
from supervisor.core.context import Context
from supervisor.core.facts import facts_of
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Act, holding
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.machine import Leftover, LeftoverKind
from supervisor.core.model import Instance
from supervisor.core.signals import LeftoversSeen
from supervisor.core.terms import Lifecycle, Seconds

APART: Seconds = 3600.0
"""Between the first and the last look at something that is swept; nothing younger is swept either."""
NAMED = 3  # machines named in one sentence


def seen(ctx: Context, fleet: Fleet, signal: LeftoversSeen) -> None:
    """Take one whole list; sweep what was nobody's an hour ago as well."""
    found = [one for one in signal.leftovers if one.fleet == signal.fleet and _is_nobodys(ctx, one)]
    fleet.leftovers = {one.id: fleet.leftovers.get(one.id, signal.asked) for one in found}
    busy = {ctx.world.need(Workflow, number).patient for number in ctx.world.running[signal.fleet]}
    ripe = [one for one in found if signal.asked - fleet.leftovers[one.id] >= APART and one.id not in busy]
    if not ripe:
        return
    held = holding(Act.SWEEP, facts_of(ctx, fleet))
    if not held:
        for one in ripe:
            plans.begin(ctx, fleet, WorkflowKind.SWEEP, 0, patient=one.id, leftover=one.kind)
        ctx.say(
            "leftovers.swept", f"{_words(signal.fleet, ripe)} {'is' if len(ripe) == 1 else 'are'} deleted", signal.fleet
        )
    elif (fresh := [one for one in ripe if f"leftover:{one.id}" not in fleet.reported]) and held[0].guard == "mode":
        fleet.reported |= {f"leftover:{one.id}" for one in fresh}
        text = f"{_words(signal.fleet, fresh)} would be deleted, but holds: {held[0].sentence()}"
        ctx.say("leftovers.found", text, signal.fleet)


def refused(ctx: Context, fleet: Fleet, id: str, reason: str) -> None:
    """Tell once that something can't be swept; it is tried again at later looks."""
    if f"refused:{id}" not in fleet.reported:
        fleet.reported.add(f"refused:{id}")
        ctx.say(
            "leftovers.failed",
            f"deleting {id}, left behind in {fleet.policy.name}, was refused: {reason}",
            fleet.policy.name,
        )


def _is_nobodys(ctx: Context, one: Leftover) -> bool:
    """Return whether something is old enough, not held, and its machine gone for as long."""
    if one.held:
        return False
    owner = ctx.world.get(Instance, one.instance) if one.instance else None
    if owner is not None and owner.lifecycle is not Lifecycle.RETIRED:
        return False
    since: datetime = one.created_at if owner is None else max(one.created_at, owner.since)
    patience = ctx.settings.retention.snapshots if one.kind is LeftoverKind.SNAPSHOT else APART
    return ctx.since(since) >= patience


def _words(fleet: str, found: list[Leftover]) -> str:
    counts = Counter(str(one.kind) for one in found)
    what = " and ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(counts.items()))
    owners = sorted({one.instance for one in found if one.instance})
    more = f" and {len(owners) - NAMED} more" if len(owners) > NAMED else ""
    whose = f", left behind by {', '.join(owners[:NAMED])}{more}," if owners else ", left behind,"
    return f"{what} of {fleet}{whose}"
