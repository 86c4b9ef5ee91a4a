"""What was learnt of a fleet, kept over restarts: blip rates, stumbles, boots, failures, and who came back or flapped today.

Numbers that grow with each result are written every five minutes, and only when they have changed; what concerns one
machine is written when it happens.
"""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.core.blips import Blips
from supervisor.core.boots import Boots
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.lifespan import Lifespan
from supervisor.core.model import Learnt
from supervisor.core.stumbles import Stumbles
from supervisor.core.terms import Seconds

EVERY: Seconds = 300.0
DAY: Seconds = 86400.0
BLIP, BOOTS, FAILURES, STUMBLES = "blip.", "boots", "failures", "stumbles"
RETURNS, SPELLS = "returns.", "spells."  # of one machine: wall times, as seconds of the epoch


def load(ctx: Context, fleet: Fleet) -> None:
    """Go on with what the store holds."""
    name = fleet.policy.name
    for check in fleet.policy.checks:
        known = ctx.world.get(Learnt, name, BLIP + check.name)
        if known is not None and len(known.values) == 2:
            fleet.blips[check.name] = Blips(*known.values)
    boots, failures = ctx.world.get(Learnt, name, BOOTS), ctx.world.get(Learnt, name, FAILURES)
    if boots is not None:
        fleet.boots = Boots(boots.values)
    if failures is not None and len(failures.values) == 2:
        fleet.lifespan = Lifespan(*failures.values)
    stumbles = ctx.world.get(Learnt, name, STUMBLES)
    if stumbles is not None and len(stumbles.values) == 2:
        fleet.stumbles = Stumbles(*stumbles.values)
    fleet.weigh(ctx.settings.judgement)


def save(ctx: Context, fleet: Fleet) -> None:
    """Write what has changed, and delete what is a day old, once in five minutes."""
    if ctx.now.boot - fleet.saved_at < EVERY:
        return
    fleet.saved_at = ctx.now.boot
    for check, blips in fleet.blips.items():
        _put(ctx, fleet, BLIP + check, (round(blips.fails, 3), round(blips.total, 1)))
    _put(ctx, fleet, BOOTS, tuple(round(duration, 1) for duration in fleet.boots.durations))
    _put(ctx, fleet, FAILURES, (fleet.lifespan.failures, round(fleet.lifespan.hours, 3)))
    _put(ctx, fleet, STUMBLES, (round(fleet.stumbles.count, 3), round(fleet.stumbles.days, 3)))
    for record in [r for r in ctx.world.all(Learnt) if r.fleet == fleet.policy.name]:
        if record.name.startswith((RETURNS, SPELLS)) and ctx.since(record.at) > DAY:
            ctx.world.delete(record)


def note_return(ctx: Context, fleet: Fleet, instance: str) -> None:
    """Remember that a sick machine has recovered and serves again."""
    _note(ctx, fleet, RETURNS + instance)


def returns(ctx: Context, fleet: Fleet, instance: str) -> int:
    """Return how often it has done so within a day."""
    return len(_lately(ctx, fleet, RETURNS + instance))


def note_spell(ctx: Context, fleet: Fleet, instance: str) -> int:
    """Remember that a machine began to flap; return its spells within a day, this one included."""
    return _note(ctx, fleet, SPELLS + instance)


def _note(ctx: Context, fleet: Fleet, name: str) -> int:
    moments = (*_lately(ctx, fleet, name), ctx.now.wall.timestamp())
    _put(ctx, fleet, name, moments)
    return len(moments)


def _lately(ctx: Context, fleet: Fleet, name: str) -> tuple[float, ...]:
    known = ctx.world.get(Learnt, fleet.policy.name, name)
    if known is None:
        return ()
    return tuple(at for at in known.values if ctx.since(datetime.fromtimestamp(at, UTC)) < DAY)


def _put(ctx: Context, fleet: Fleet, name: str, values: tuple[float, ...]) -> None:
    known = ctx.world.get(Learnt, fleet.policy.name, name)
    if known.values != values if known is not None else any(values):
        ctx.world.put(Learnt(fleet.policy.name, name, values, ctx.now.wall))
