"""Weighs what may be wrong: counts of the sick in, explanations with their probability out. A pure function.

    ln prior + ln BB(k of n inside | how much the cause takes along) + ln BB(the others | each for itself)
             + what each one's symptom says                        + what the sentinels say

BB is the Beta-binomial: the share that a cause takes along is unknown, and is integrated out. Called by `diagnosis`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, lgamma, log

from supervisor.core.burst import odds
from supervisor.core.changes import Recent
from supervisor.core.population import IMAGE, LAUNCHED, ZONE, ZONES, Counts, Group, Label
from supervisor.core.priors import (
    ALONE,
    CAUSES,
    CHANGED,
    PAIR,
    PRIORS,
    SHARES,
    Share,
    Theory,
    looks_like,
    sentinel_says,
)
from supervisor.core.signals import Sense
from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Cause
from supervisor.core.verdict import Explanation

SUBNET = "subnet"
TOLD = 3
"""So many of the best explanations carry their evidence in words."""
SHARED_BY = 2
"""One sick machine shares nothing with anybody, unless something else speaks for it."""

SEVERAL = 2
CHANCE = 0.01
"""A cohort is accused only where its members are sick more often than such a chance would make them."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a sentinel said last: `of` is the zone or the dependency it stands for."""

    sense: Sense
    of: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is weighed."""

    counts: Counts
    changes: Recent = field(default_factory=Recent)
    beacons: tuple[Beacon, ...] = ()
    pairs: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class _Weighed:
    theory: Theory
    label: Label
    weight: float
    inside: Group | None = None
    change: str = ""


def weigh(picture: Picture) -> tuple[Explanation, ...]:
    """Return every explanation, the likeliest first. Nobody is sick: each for itself, for certain."""
    counts = picture.counts
    if counts.sick == 0:
        return (Explanation(Cause.INSTANCE, "", "", 1.0),)
    found = [_alone(picture), *_whole(picture)]
    for group in counts.groups:
        found += _shared(picture, group)
    found += _zones(picture)
    for group in picture.pairs:
        weight = _inside(picture, Theory.COHORT, group) + log(PAIR)
        found.append(_Weighed(Theory.COHORT, group.label, weight, group))
    return _ranked(picture, found)


def log_bb(sick: int, total: int, share: Share) -> float:
    """Return ln P(just these of so many are sick), the share that is sick being Beta-distributed."""
    a, b = share
    return _ln_beta(a + sick, b + total - sick) - _ln_beta(a, b)


def by_chance(inside: Group, sick: int, total: int) -> float:
    """Return Fisher's p: as many of the sick, or more, within the group, if the sick were spread by chance."""
    top = min(sick, inside.total)
    whole = _ln_choose(total, sick)
    p = 0.0
    for k in range(inside.sick, top + 1):
        term = exp(_ln_choose(inside.total, k) + _ln_choose(total - inside.total, sick - k) - whole)
        p += term
        if term < p * 1e-9:
            break
    return min(1.0, p)


# -- weights


def _alone(picture: Picture) -> _Weighed:
    counts = picture.counts
    weight = log_bb(counts.sick, counts.total, ALONE) + _looks(counts.symptoms, Theory.INSTANCE)
    return _Weighed(Theory.INSTANCE, Label("", ""), weight + _sentinels(picture, Theory.INSTANCE, ""))


def _whole(picture: Picture) -> list[_Weighed]:
    """Weigh what may strike everybody: a check, a dependency, our own eyes, something unknown."""
    counts = picture.counts
    checks = {s.check for s in counts.symptoms} - {""}
    failing = {b.of for b in picture.beacons if b.sense is Sense.DEPENDENCY and not b.ok}
    dependencies = ({s.dependency for s in counts.symptoms} | failing) - {""}
    accused = [(Theory.CHECK, Label("check", name)) for name in sorted(checks)]
    accused += [(Theory.DEPENDENCY, Label("dependency", name)) for name in sorted(dependencies)]
    accused += [(Theory.BLIND, Label("", "")), (Theory.FLEET, Label("", ""))]
    found: list[_Weighed] = []
    for theory, label in accused:
        change = picture.changes.fits(theory, label)
        weight = log((CHANGED if change else PRIORS)[theory]) + log_bb(counts.sick, counts.total, SHARES[theory])
        weight += _looks(counts.symptoms, theory, label.value) + _sentinels(picture, theory, label.value)
        found.append(_Weighed(theory, label, weight, None, change))
    return found


def _shared(picture: Picture, group: Group) -> list[_Weighed]:
    """Weigh that what the members of a group share is at fault."""
    counts, label = picture.counts, group.label
    theories = _THEORIES.get(label.name, (Theory.COHORT,))
    everybody = group.total == counts.total
    beacon = any(b.sense is Sense.ZONE and b.of == label.value for b in picture.beacons) and label.name == ZONE
    found: list[_Weighed] = []
    for theory in theories:
        change = picture.changes.fits(theory, label)
        if counts.sick == 1 and everybody:
            change = ""  # all the others have it as well, and are well
        if everybody and not change and theory in (Theory.IMAGE, Theory.COHORT):
            continue  # it tells nobody apart, and it is what it always was
        if group.sick < SHARED_BY and not change and not beacon:
            continue
        if theory is Theory.COHORT and by_chance(group, counts.sick, counts.total) > CHANCE:
            continue  # as many are sick elsewhere: it is not what they share
        weight = log((CHANGED if change else PRIORS)[theory]) + _inside(picture, theory, group)
        found.append(_Weighed(theory, label, weight + _sentinels(picture, theory, label.value), group, change))
    return found


def _zones(picture: Picture) -> list[_Weighed]:
    """Weigh that several zones are out at once, each of its own or by what they share."""
    counts = picture.counts
    failing = {b.of for b in picture.beacons if b.sense is Sense.ZONE and not b.ok}
    out = [g for g in counts.groups if g.label.name == ZONE and g.sick >= SHARED_BY]
    out = [g for g in out if g.label.value in failing or 2 * g.sick >= g.total]
    if len(out) < SEVERAL:
        return []
    symptoms: Counter[Symptom] = Counter()
    for group in out:
        symptoms.update(group.symptoms)
    label = Label(ZONES, " and ".join(sorted(group.label.value for group in out)))
    inside = Group(label, sum(g.total for g in out), sum(g.sick for g in out), symptoms)
    weight = len(out) * log(PRIORS[Theory.ZONE]) + sum(log_bb(g.sick, g.total, SHARES[Theory.ZONE]) for g in out)
    weight += log_bb(counts.sick - inside.sick, counts.total - inside.total, ALONE)
    weight += (
        _looks(symptoms, Theory.ZONE) + _looks(counts.symptoms, Theory.INSTANCE) - _looks(symptoms, Theory.INSTANCE)
    )
    accused = {group.label.value for group in out}
    weight += _sentinels(picture, Theory.FLEET, "")
    for beacon in picture.beacons:
        if beacon.sense is Sense.ZONE and beacon.of in accused:
            weight += sentinel_says(beacon.ok, accused=True) - sentinel_says(beacon.ok, accused=False)
    return [_Weighed(Theory.FLEET, label, weight, inside)]


_THEORIES: dict[str, tuple[Theory, ...]] = {
    ZONE: (Theory.ZONE, Theory.PATH),
    SUBNET: (Theory.SUBNET, Theory.PATH),
    IMAGE: (Theory.IMAGE,),
    LAUNCHED: (Theory.COHORT,),
}


def _inside(picture: Picture, theory: Theory, group: Group) -> float:
    counts = picture.counts
    weight = log_bb(group.sick, group.total, SHARES[theory])
    weight += log_bb(counts.sick - group.sick, counts.total - group.total, ALONE)
    weight += _looks(group.symptoms, theory) + _looks(counts.symptoms, Theory.INSTANCE)
    return weight - _looks(group.symptoms, Theory.INSTANCE)


def _looks(symptoms: Mapping[Symptom, int], theory: Theory, accused: str = "") -> float:
    # Sorted: a sum of floats depends on the order of its terms.
    return sum(count * looks_like(symptom, theory, accused) for symptom, count in sorted(symptoms.items(), key=_key))


def _key(item: tuple[Symptom, int]) -> tuple[str, str, str, str]:
    symptom = item[0]
    return (symptom.pattern, symptom.check, symptom.dependency, f"{symptom.heartbeat}{symptom.only}{symptom.refuses}")


def _sentinels(picture: Picture, theory: Theory, value: str) -> float:
    weight = 0.0
    sight = [b.ok for b in picture.beacons if b.sense is Sense.SIGHT]
    if sight:  # what they say hangs together: they count once
        weight += sentinel_says(all(sight), accused=theory is Theory.BLIND)
    for beacon in picture.beacons:
        if beacon.sense is Sense.ZONE:
            accused = theory is Theory.BLIND or (theory in (Theory.ZONE, Theory.PATH) and beacon.of == value)
            weight += sentinel_says(beacon.ok, accused=accused)
        elif beacon.sense is Sense.DEPENDENCY:
            weight += sentinel_says(beacon.ok, accused=theory is Theory.DEPENDENCY and beacon.of == value)
    return weight


# -- the answer


def _ranked(picture: Picture, found: Sequence[_Weighed]) -> tuple[Explanation, ...]:
    top = max(w.weight for w in found)
    total = sum(exp(w.weight - top) for w in found)
    best: dict[tuple[Cause, Label], _Weighed] = {}
    chances: dict[tuple[Cause, Label], float] = {}
    for weighed in found:
        cause = _cause(weighed)
        key = (cause, weighed.label)
        chances[key] = chances.get(key, 0.0) + exp(weighed.weight - top) / total
        if key not in best or weighed.weight > best[key].weight:
            best[key] = weighed
    ranked = sorted(
        (Explanation(cause, *label, chances[cause, label]) for cause, label in chances),
        key=lambda e: (-e.probability, e.cause, e.label, e.value),
    )
    return tuple(
        replace(e, evidence=_evidence(picture, best[e.cause, Label(e.label, e.value)])) if place < TOLD else e
        for place, e in enumerate(ranked)
    )


def _cause(weighed: _Weighed) -> Cause:
    if weighed.theory is Theory.PATH:
        return Cause.ZONE if weighed.label.name == ZONE else Cause.SUBNET
    return CAUSES[weighed.theory]


def _evidence(picture: Picture, weighed: _Weighed) -> tuple[str, ...]:
    counts, inside = picture.counts, weighed.inside
    symptoms = inside.symptoms if inside is not None else counts.symptoms
    if inside is not None:
        others = f"{counts.sick - inside.sick} of {counts.total - inside.total} elsewhere"
        p = odds(by_chance(inside, counts.sick, counts.total))
        said = [f"{inside.sick} of {inside.total} there are unwell, {others}", f"by chance {p}"]
    else:
        said = [f"{counts.sick} of {counts.total} are unwell"]
    said.append(_patterns(symptoms))
    beats = _heartbeats(symptoms)
    if beats:
        said.append(beats)
    if weighed.theory is Theory.PATH:
        said.append("they live: only the way there is cut")
    if weighed.change:
        said.append(f"after a change: {weighed.change}")
    for beacon in picture.beacons:
        if beacon.sense is not Sense.SIGHT and beacon.of == weighed.label.value:
            said.append(f"asked directly, {beacon.of} {'answers' if beacon.ok else 'does not answer'}")
    return tuple(said)


def _patterns(symptoms: Mapping[Symptom, int]) -> str:
    tallies: dict[str, int] = {}
    for symptom, count in symptoms.items():
        what = symptom.pattern.value
        if symptom.pattern is Pattern.ONE_CHECK:
            what = f"only {symptom.check} fails"
        elif symptom.pattern is Pattern.ONE_DEPENDENCY:
            what = f"only what asks {symptom.dependency} fails"
        elif symptom.refuses:
            what = "refusing everything"
        tallies[what] = tallies.get(what, 0) + count
    ordered = sorted(tallies.items(), key=lambda item: (-item[1], item[0]))
    return ordered[0][0] if len(ordered) == 1 else ", ".join(f"{count} {what}" for what, count in ordered)


def _heartbeats(symptoms: Mapping[Symptom, int]) -> str:
    fresh = sum(count for symptom, count in symptoms.items() if symptom.heartbeat)
    known = sum(count for symptom, count in symptoms.items() if symptom.heartbeat is not None)
    return f"{fresh} of {known} still send heartbeats" if known else ""


def _ln_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _ln_choose(n: int, k: int) -> float:
    if k < 0 or k > n:
        return float("-inf")
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
