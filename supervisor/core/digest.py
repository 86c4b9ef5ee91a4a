"""The digest: what a fleet went through between two moments, from records alone. Pure; told once for each due moment.

An alarm counts as false, and a removal as regretted, where the machine turned out well without us: it recovered by itself,
or was brought back from quarantine and passed its startup checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from supervisor.core.context import Context
from supervisor.core.duration import words
from supervisor.core.journal import Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentKind, Quarantine, Resolution
from supervisor.core.terms import Seconds
from supervisor.core.text import percent

LONGEST = timedelta(days=31)
"""A digest reaches no further back, however long none was told."""
NAMED = 5  # machines in one sentence
HEALED = {
    Resolution.REPLACED: "replaced",
    Resolution.RESTARTED: "restarted",
    Resolution.SET_ASIDE: "set aside",
    Resolution.FILLED: "filled up",
}


@dataclass(frozen=True, slots=True)
class Digest:
    """One fleet's time in numbers. `alarms` are (check, false ones, all); medians are None where there is nothing."""

    fleet: str
    opened: int
    open_still: int
    healed: tuple[tuple[str, int], ...]
    by_itself: int
    held: tuple[tuple[str, int], ...]  # guard, incidents that it held
    removed: int
    regretted: tuple[str, ...]  # machines that were taken away, and turned out well
    alarms: tuple[tuple[str, int, int], ...]
    detected: Seconds | None
    recovered: Seconds | None


def due(ctx: Context, at: datetime) -> None:
    """Tell the digests up to a due moment, unless that was done, in this life or an earlier one."""
    identity = ctx.world.identity
    if identity.digest_at is not None and at <= identity.digest_at:
        return
    last = identity.digest_at
    ctx.world.put(replace(identity, digest_at=at))
    if last is None:  # nobody asked for one before: this is where the first begins
        return
    since = max(last, at - LONGEST)
    quiet: list[str] = []
    for name in sorted(ctx.fleets):
        made = weigh(
            name, ctx.world.all(Incident), ctx.world.all(Quarantine), ctx.world.all(Workflow), since=since, until=at
        )
        if made.opened or made.open_still or made.healed or made.by_itself or made.regretted:
            for line in sentences(made, since):
                ctx.say("digest.told", line, name)
        else:
            quiet.append(name)
    if quiet:
        ctx.say("digest.told", f"since {since:%a %Y-%m-%d %H:%M} UTC: no incident in {', '.join(quiet)}")


def weigh(
    fleet: str,
    incidents: Iterable[Incident],
    kept: Iterable[Quarantine],
    workflows: Iterable[Workflow],
    *,
    since: datetime,
    until: datetime,
) -> Digest:
    """Return a fleet's digest of what happened after `since`, up to `until`."""

    def within(moment: datetime | None) -> bool:
        return moment is not None and since < moment <= until

    ours = [i for i in incidents if i.fleet == fleet and i.opened_at <= until]
    fresh = [i for i in ours if within(i.opened_at)]
    over = [i for i in ours if within(i.resolved_at)]
    returned = {
        w.incident
        for w in workflows
        if w.fleet == fleet and w.kind is WorkflowKind.RETURN and w.state is WorkflowState.DONE and within(w.ended_at)
    }
    released = [q for q in kept if q.fleet == fleet and q.ended_by == "released" and within(q.ended_at)]
    regretted = {i.instance: i.id for i in over if i.id in returned and i.resolution is Resolution.RECOVERED}
    regretted |= {q.instance: q.incident for q in released}
    acted = {i.id for i in over if i.instance and i.resolution in (Resolution.REPLACED, Resolution.SET_ASIDE)}
    healed = Counter(i.resolution for i in over if i.resolution in HEALED)
    wrong = {i.id for i in over if i.resolution is Resolution.RECOVERED} | set(regretted.values())
    judged = [i for i in ours if i.kind is IncidentKind.SICK and (within(i.resolved_at) or i.id in wrong)]
    alarms = Counter(check for i in judged for check in i.accused)
    false = Counter(check for i in judged if i.id in wrong for check in i.accused)
    alone = [i for i in fresh if i.kind is not IncidentKind.MISSING]  # what is missing is missing at once
    return Digest(
        fleet=fleet,
        opened=len(fresh),
        open_still=sum(1 for i in ours if i.resolved_at is None or i.resolved_at > until),
        healed=tuple((HEALED[r], healed[r]) for r in HEALED if healed[r]),
        by_itself=sum(1 for i in over if i.resolution is Resolution.RECOVERED),
        held=tuple(sorted(Counter(guard for i in {*fresh, *over} for guard in i.held_ever).items())),
        removed=len(acted | set(regretted.values())),
        regretted=tuple(sorted(regretted)),
        alarms=tuple((check, false[check], alarms[check]) for check in sorted(alarms)),
        detected=_median([(i.opened_at - i.suspected_at).total_seconds() for i in alone]),
        recovered=_median([(i.resolved_at - i.suspected_at).total_seconds() for i in over if i.resolved_at]),
    )


def sentences(digest: Digest, since: datetime) -> list[str]:
    """Return a digest as people read it, a line for each question."""
    healed = sum(count for _, count in digest.healed)
    how = f" ({_counts(digest.healed)})" if digest.healed else ""
    numbers = f"{healed} healed{how}, {digest.by_itself} recovered by itself, {digest.open_still} open"
    lines = [f"{digest.fleet} since {since:%a %Y-%m-%d %H:%M} UTC: {_many(digest.opened, 'incident')}, {numbers}"]
    if digest.held:
        lines.append(f"{digest.fleet}: incidents held, by guard: {_counts(digest.held, value_first=False)}")
    if digest.removed:
        names = ", ".join(digest.regretted[:NAMED]) + (", …" if len(digest.regretted) > NAMED else "")
        regret = f"{len(digest.regretted)} turned out well: {names}" if digest.regretted else "none turned out well"
        lines.append(f"{digest.fleet}: of {_many(digest.removed, 'machine')} taken away {regret}")
    if digest.alarms:
        told = ", ".join(f"{check} {wrong} of {all_} ({percent(wrong / all_)})" for check, wrong, all_ in digest.alarms)
        lines.append(f"{digest.fleet}: false alarms, by check: {told}")
    times = [
        f"{label} after {words(value)}"
        for label, value in (("detected", digest.detected), ("recovered", digest.recovered))
        if value is not None
    ]
    if times:
        lines.append(f"{digest.fleet}: {', '.join(times)} (medians, from the first sign)")
    return lines


def _median(values: Sequence[Seconds]) -> Seconds | None:
    return median(values) if values else None


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _counts(found: Sequence[tuple[str, int]], *, value_first: bool = True) -> str:
    return ", ".join(f"{count} {name}" if value_first else f"{name} {count}" for name, count in found)
