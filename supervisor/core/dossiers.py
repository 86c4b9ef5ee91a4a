"""What a person would look up first, looked up already: a dossier for each incident, when it opens and before a removal.

The engine puts in what it knows; the end of the machine's log comes later, from the shell (`ReadLog`, `LogRead`).
Nothing waits for it, and nothing is decided by it: it only names the kind of trouble.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from supervisor.core import changes
from supervisor.core.context import Context
from supervisor.core.evidence import Evidence
from supervisor.core.fingerprint import Failing, fingerprint, shape, signature, telling
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart
from supervisor.core.machine import Machine, TargetHealth
from supervisor.core.masking import masked
from supervisor.core.model import CheckSeen, Dossier, Incident, IncidentKind, IncidentState, Instance, Moment
from supervisor.core.signals import LogRead, ReadLog
from supervisor.core.signature import read
from supervisor.core.terms import Role, Seconds, Status
from supervisor.core.text import clean

WEEK: Seconds = 7 * 86400.0
KEPT = 500
"""Dossiers that are kept: the oldest of incidents that are over go first. Their fingerprints stay."""
ROOM = 15 * 1024
"""Bytes of one dossier as JSON: both of an incident stay within 32 KiB."""
CHECKS_ROOM = 6 * 1024
"""Bytes up to which checks and changes may fill it; the log has the rest."""
RESERVED = 4 * 1024
"""Bytes for the line that is kept once more, and for times and keys."""
CHECKS = 16
CHANGES = 5
LINE = 300  # characters
CHECK_KEYS = 100  # bytes: the keys and the time of one check


def begin(ctx: Context, fleet: Fleet, incident: Incident, moment: Moment) -> None:
    """Put together what is known of an incident now, and ask for its machine's log."""
    chart = fleet.charts.get(incident.instance) if incident.instance else None
    made = Dossier(
        incident=incident.id,
        moment=moment,
        at=ctx.now.wall,
        why=_shown(_why(ctx, incident, chart)),
        signature=_shown(_signature(ctx, incident, chart)),
        checks=tuple(_checks(ctx, chart)) if chart is not None else (),
        cloud=_shown(_cloud(chart.machine)) if chart is not None and chart.machine is not None else "",
        changes=tuple(_shown(said) for said in _changes(ctx, fleet)),
    )
    ctx.world.put(_fitted(made))
    _make_room(ctx)
    if incident.instance:
        ctx.turn.commands.append(ReadLog(incident.id, moment, incident.fleet, incident.instance))
    else:
        _name(ctx, incident, made)


def resume(ctx: Context) -> None:
    """Ask again for the logs that an earlier life did not wait for."""
    for dossier in ctx.world.all(Dossier):
        incident = ctx.world.get(Incident, dossier.incident)
        if incident is None or not incident.instance or dossier.log_at is not None:
            continue
        if incident.state is not IncidentState.CLOSED and incident.fleet in ctx.fleets:
            ctx.turn.commands.append(ReadLog(incident.id, dossier.moment, incident.fleet, incident.instance))


def log_read(ctx: Context, signal: LogRead) -> None:
    """Take the end of a log: it completes the dossier, and with it the incident's kind is known."""
    dossier = ctx.world.get(Dossier, signal.incident, signal.moment)
    incident = ctx.world.get(Incident, signal.incident)
    if dossier is None or incident is None or dossier.log_at is not None:
        return
    lines = newest(signal.lines, ROOM - RESERVED - _used(dossier))
    trouble = _shown(signal.trouble)
    said = telling(lines)
    dossier = replace(dossier, log=lines, log_at=ctx.now.wall, log_trouble=trouble, telling=said)
    ctx.world.put(dossier)
    if not trouble and not incident.fingerprint:
        _name(ctx, incident, dossier)


def newest(lines: Iterable[str], room: int) -> tuple[str, ...]:
    """Return as many of the last lines as `room` bytes hold, oldest first."""
    kept: list[str] = []
    for line in (whole[:LINE] for whole in reversed(list(lines))):
        room -= _bytes(line)
        if room < 0:
            break
        kept.append(line)
    return tuple(reversed(kept))


def alike(ctx: Context, incident: Incident) -> list[Incident]:
    """Return the incidents of the same kind in the seven days before this one, oldest first."""
    found: list[Incident] = []
    for number in range(incident.id - 1, 0, -1) if incident.fingerprint else ():
        other = ctx.world.get(Incident, number)
        if other is None:
            continue
        if (incident.opened_at - other.opened_at).total_seconds() > WEEK:
            break
        if other.fingerprint == incident.fingerprint:
            found.append(other)
    return found[::-1]


def alike_in_words(before: list[Incident]) -> str:
    """Say how often something like this was seen, and where to look; '' where it is the first."""
    if not before:
        return ""
    still = sum(1 for i in before if i.state in (IncidentState.OPEN, IncidentState.ESCALATED))
    now = f", {still} of them not over yet" if still else ""
    return f"{_ordinal(len(before) + 1)} like this in 7 days, see #{before[-1].id}{now}"


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    if number <= len(words):
        return words[number - 1]
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _name(ctx: Context, incident: Incident, dossier: Dossier) -> None:
    """Name an incident's kind, and tell it where that says something new: others alike, or the log's own words."""
    instance = ctx.world.get(Instance, incident.instance) if incident.instance else None
    version = instance.version or instance.image if instance is not None else ""
    kind = fingerprint(incident.fleet, str(incident.kind), version, dossier.signature, shape(dossier.telling))
    incident = ctx.world.put(replace(incident, fingerprint=kind))
    said = [part for part in (alike_in_words(alike(ctx, incident)), _last_words(dossier)) if part]
    if said and incident.state is not IncidentState.CLOSED:
        ctx.note(incident, "incident.dossier", clean("; ".join(said)))


def _last_words(dossier: Dossier) -> str:
    return f"its log says: {dossier.telling}" if dossier.telling else ""


# -- what is known


def _why(ctx: Context, incident: Incident, chart: Chart | None) -> str:
    """Say in one sentence why we think so: the finding, when it began, and who else says so."""
    parts = [incident.cause]
    if chart is not None:
        failing = [e for e in _by_weight(chart) if e.fails]
        began = min((e.failing_since for e in failing if e.failing_since is not None), default=None)
        if began is not None:
            parts.append(f"the first failure was at {ctx.now.ago(began):%H:%M:%S} UTC")
        passing = [e.check.name for e in _by_weight(chart) if e.status is Status.OK]
        if failing and passing:
            parts.append(f"{', '.join(passing[:3])} still {'passes' if len(passing) == 1 else 'pass'}")
        if chart.machine is not None and chart.machine.target is TargetHealth.UNHEALTHY:
            parts.append("the load balancer calls it unhealthy as well")
    return "; ".join(parts)


def _signature(ctx: Context, incident: Incident, chart: Chart | None) -> str:
    if incident.kind is IncidentKind.SHARED:
        return f"{incident.verdict}: {incident.about}"
    if incident.kind is not IncidentKind.SICK or chart is None:
        return str(incident.kind)
    failing = [Failing(e.check.name, masked(clean(e.text)), e.silent) for e in _by_weight(chart) if e.fails]
    machine = chart.machine
    said = "" if machine is None else masked(machine.impaired or machine.reason or str(machine.state))
    return signature(read(chart, ctx.now.boot, None), failing, said)


def _by_weight(chart: Chart) -> list[Evidence]:
    """Return a machine's evidence, that of checks with a vote first."""
    return sorted(chart.checks.values(), key=lambda e: (e.role is Role.ADVISORY, e.check.name))


def _checks(ctx: Context, chart: Chart) -> Iterable[CheckSeen]:
    shown = sorted(_by_weight(chart), key=lambda e: not e.fails)
    for e in shown[:CHECKS]:
        turned = e.failing_since if e.fails else e.last_pass_run
        since = None if turned is None else ctx.now.ago(turned)
        yield CheckSeen(e.check.name, str(e.status or Status.UNKNOWN), since, _shown(e.text))


def _cloud(machine: Machine) -> str:
    """Say what the cloud and the load balancer say."""
    said = [f"machine {machine.state}{f' ({machine.reason})' if machine.reason else ''}"]
    if machine.impaired:
        said.append(f"status check fails: {machine.impaired}")
    said += machine.notices
    balancer = "not registered with the load balancer" if machine.registered is False else str(machine.target)
    said.append(balancer if machine.registered is False else f"load balancer: {balancer}")
    return "; ".join(said)


def _changes(ctx: Context, fleet: Fleet) -> list[str]:
    """Return what was changed lately, each change once."""
    found = changes.recent(ctx, fleet)
    kinds = (found.images, found.checks, found.configs, found.dependencies, found.networks)
    said = [text for kind in kinds for text in kind.values()] + [found.supervisor]
    return [text for text in dict.fromkeys(said) if text][:CHANGES]


# -- bounds


def _shown(text: str) -> str:
    return clean(masked(clean(text)), LINE)


def _bytes(text: str) -> int:
    return len(json.dumps(text)) + 2


def _used(dossier: Dossier) -> int:
    plain = (dossier.why, dossier.signature, dossier.cloud, *dossier.changes)
    checks = sum(_bytes(one.name) + _bytes(one.text) + CHECK_KEYS for one in dossier.checks)
    return sum(_bytes(text) for text in plain) + checks


def _fitted(dossier: Dossier) -> Dossier:
    """Return it with as many checks and changes as there is room for; they stand in order of weight."""
    room = CHECKS_ROOM - _used(replace(dossier, checks=(), changes=()))
    checks: list[CheckSeen] = []
    for one in dossier.checks:
        room -= _bytes(one.name) + _bytes(one.text) + CHECK_KEYS
        if room >= 0:
            checks.append(one)
    said: list[str] = []
    for text in dossier.changes:
        room -= _bytes(text)
        if room >= 0:
            said.append(text)
    return replace(dossier, checks=tuple(checks), changes=tuple(said))


def _make_room(ctx: Context) -> None:
    """Let the oldest dossiers of incidents go that are over."""
    over = ctx.world.count(Dossier) - KEPT
    if over <= 0:
        return
    for dossier in list(ctx.world.all(Dossier)):
        incident = ctx.world.get(Incident, dossier.incident)
        if incident is None or incident.state is IncidentState.CLOSED:
            ctx.world.delete(dossier)
            over -= 1
        if over <= 0:
            return


def of(ctx: Context, incident: Incident) -> list[Dossier]:
    """Return an incident's dossiers, the first one first."""
    found = (ctx.world.get(Dossier, incident.id, moment) for moment in Moment)
    return [dossier for dossier in found if dossier is not None]
