"""Asks the others afresh before a machine is taken away, to see whether it is really alone.

    ask the suspects, and up to 59 well machines in each of their groups and outside  ->  nearly all answer, and well

59 clean answers exclude, with 95 % confidence, that one in twenty is sick. Begun when nothing else holds an act,
watched by `diagnosis`, read by the guards. The answers are ordinary results, and count as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from math import ceil
from zlib import crc32

from supervisor.core.fleet import Fleet
from supervisor.core.investigation import Asked
from supervisor.core.model import Instance
from supervisor.core.population import ZONE, Label
from supervisor.core.settings import Explaining
from supervisor.core.terms import BootTime, Health, Role, Seconds

GRACE: Seconds = 2.0
GOOD_FOR_LEAST: Seconds = 10.0


def begin(fleet: Fleet, instance: Instance, now: BootTime, explaining: Explaining) -> tuple[str, ...]:
    """Begin a round, unless one is under way; return whom to ask now, suspects first among them."""
    case = fleet.investigation
    asked = case.asked
    if asked is not None and (now - asked.at <= patience(fleet) or is_good(fleet, asked, now)):
        return ()
    failed = "" if asked is None or asked.passed is not None else missing(fleet, asked, explaining)
    peers = _choose(fleet, instance, explaining.challenge_peers, f"{instance.id}/{now:.3f}")
    case.asked = Asked(now, peers, case.population.arrivals, failed=failed)
    return tuple(sorted({*islice(case.population.sick, explaining.challenge_peers), *peers}))


def watch(fleet: Fleet, now: BootTime, explaining: Explaining) -> None:
    """Look whether enough have answered; what another sick machine has overtaken is void."""
    case = fleet.investigation
    asked = case.asked
    if asked is None:
        return
    if asked.arrivals != case.population.arrivals or (asked.passed is not None and not is_good(fleet, asked, now)):
        case.asked = None
    elif asked.passed is None and not missing(fleet, asked, explaining):
        case.asked = replace(asked, passed=now)


def reading(fleet: Fleet, instance: Instance | None, now: BootTime, explaining: Explaining) -> tuple[str, str]:
    """Return (why the others' answers do not suffice, '' when they do; what to say when they do)."""
    chart = fleet.charts.get(instance.id) if instance is not None else None
    if instance is None or chart is None or chart.finding.health is not Health.SICK:
        return "", "not needed"
    if not any(_is_well(fleet, name) for name in fleet.investigation.population.members if name != instance.id):
        return "", "there is nobody else to ask"
    asked = fleet.investigation.asked
    if asked is None or asked.arrivals != fleet.investigation.population.arrivals:
        return "the others have not been asked afresh yet", ""
    if is_good(fleet, asked, now):
        return "", f"{len(asked.peers)} were asked afresh, and are well"
    return missing(fleet, asked, explaining) or "the last answers are too old", ""


def patience(fleet: Fleet) -> Seconds:
    """Return how long answers are waited for before the others are asked again."""
    return fleet.round_length() + GRACE


def is_good(fleet: Fleet, asked: Asked, now: BootTime) -> bool:
    """Return whether a challenge was passed, not too long ago."""
    good_for = max(GOOD_FOR_LEAST, fleet.round_length())
    return asked.passed is not None and now - asked.passed <= good_for


def _choose(fleet: Fleet, instance: Instance, limit: int, salt: str) -> tuple[str, ...]:
    population = fleet.investigation.population
    peers: set[str] = set()
    member = population.members.get(instance.id)
    for label in member.labels if member is not None else ():
        peers.update(_pick(fleet, population.carrying(label), limit, salt))
    zone = population.carrying(Label(ZONE, instance.zone))
    outside = [name for name in _pick(fleet, population.members, 2 * limit, salt) if name not in zone]
    peers.update(outside[:limit])
    peers.discard(instance.id)
    return tuple(sorted(peers))


def _pick(fleet: Fleet, names: Mapping[str, object], limit: int, salt: str) -> list[str]:
    """Pick so many well members by a hash of salt and place: by chance for them, the same for who replays it."""
    count = len(names)
    if not limit:
        return []
    if count <= limit:
        return [name for name in names if _is_well(fleet, name)]
    start, step = crc32(salt.encode()) % count, max(1, count // limit)
    places = sorted(
        {(start + number * step + crc32(f"{salt}/{number}".encode()) % step) % count for number in range(limit)}
    )
    picked: list[str] = []
    rest, at = iter(names), 0
    for place in places:
        picked.append(next(islice(rest, place - at, None)))
        at = place + 1
    return [name for name in picked if _is_well(fleet, name)]


def _is_well(fleet: Fleet, name: str) -> bool:
    chart = fleet.charts.get(name)
    if chart is None or not chart.observed or name in fleet.investigation.population.sick:
        return False
    return chart.finding.health in (Health.HEALTHY, Health.SUSPECT)


def missing(fleet: Fleet, asked: Asked, explaining: Explaining) -> str:
    """Return what a challenge still lacks, '' when it is passed."""
    answered, failing = 0, 0
    for name in asked.peers:
        chart = fleet.charts.get(name)
        if chart is None:
            continue
        gating = [e for e in chart.checks.values() if e.role in (Role.LIVENESS, Role.READINESS)]
        fresh = [e for e in gating or chart.checks.values() if e.last is not None and e.last >= asked.at]
        answered += bool(fresh)
        failing += any(e.fails > 0 for e in fresh)
    needed = ceil(explaining.challenge_answers * len(asked.peers))
    if answered < needed:
        return f"{answered} of {len(asked.peers)} asked have answered, {needed} needed"
    if failing:
        return f"{failing} of {len(asked.peers)} asked fail as well, and are asked again"
    return ""
