"""What is wrong with a fleet: kept up to date with every edge, so that asking costs nothing.

    symptoms of the sick  ->  counters by label  ->  explanations, weighed  ->  one verdict, held for a while

Called by the engine on an edge, and by triage before it decides (`diagnose`).
It decides nothing: guards read what it says (`Fleet.verdict_on`).
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import burst, challenge, changes, explaining, notices, signature
from supervisor.core.changes import Recent
from supervisor.core.context import Context
from supervisor.core.explaining import Beacon, Picture
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Reading
from supervisor.core.health import Chart
from supervisor.core.investigation import EVERYBODY, Investigation, accuses, labels_of
from supervisor.core.model import Change, Instance
from supervisor.core.population import IMAGE, ZONE, Counts, Group, Population
from supervisor.core.settings import Explaining
from supervisor.core.signals import AskNow
from supervisor.core.terms import COMING, BootTime, Cause, Health, Seconds
from supervisor.core.text import percent
from supervisor.core.verdict import Explanation, Verdict

CAUTION: dict[Cause, int] = {
    Cause.INSTANCE: 0,
    Cause.COHORT: 1,  # healed one by one, elsewhere
    Cause.IMAGE: 1,  # healed from another image
    Cause.UNEXPLAINED: 2,  # one at most
    Cause.CHECK: 3,
    Cause.DEPENDENCY: 3,
    Cause.SUBNET: 3,
    Cause.ZONE: 3,
    Cause.FLEET: 3,
    Cause.BLIND: 4,
}
"""How grave a verdict is: the less may be taken away under it, the graver. A graver one is taken at once."""
CHALLENGE = "challenge"
ROUNDS = 3
"""So many shared causes at most are told apart at the same time."""
PAIR_LEAST = 5
RIVAL = 0.05
WEIGHED_AGAIN: Seconds = 60.0
"""Changes grow old: what rests on them is weighed again this often."""


def observe(ctx: Context, fleet: Fleet, instance: Instance, chart: Chart) -> None:
    """Take an edge of one machine into the counters."""
    if instance.lifecycle in COMING:
        return
    case, now = fleet.investigation, ctx.now.boot
    if ctx.is_replaced(instance.id) or notices.is_leaving(chart.machine):
        case.population.leave(instance.id)  # what is left of it is tidying, or an end that was announced
        return
    member = case.population.place(instance, chart.machine)
    before = member.symptom
    symptom = None
    if signature.counts(chart, now, before=before is not None):
        symptom = signature.read(chart, now, chart.heartbeat_fresh(now), before)
    if chart.finding.health is Health.SICK:
        case.note_sick(instance.id, now)
    if symptom != before and case.population.mark(instance.id, symptom, now):
        fleet.dirty = True


def diagnose(ctx: Context, fleet: Fleet) -> None:
    """Judge afresh what the fleet's sick have in common, and hold the verdict in `fleet.verdict`."""
    case, now, policy = fleet.investigation, ctx.now.boot, fleet.policy
    population = case.population
    population.expire(ctx.settings.guards.breaker_window, now)
    challenge.watch(fleet, now, ctx.settings.explaining)
    blind, said = ctx.sight.blind, beacons(ctx)
    basis = (population.version, ctx.world.count(Change), said, blind, policy.stateful, now // WEIGHED_AGAIN)
    if basis != case.judged:
        hourly, sick, total = case.newly_sick(now), len(population.sick), len(population.members)
        rate = fleet.failure_rate
        case.burst = burst.gate(hourly, sick, total, rate, case.usual(now), ctx.settings.explaining)
        raw = _blind(blind, now) if blind else _judge(ctx, fleet, population.counts(), said)
        fresh = True
    else:
        raw, fresh = case.raw or fleet.verdict, False
    standing = _settle(case, fleet.verdict, raw, ctx.settings.explaining, now, by_sight=bool(blind))
    if fresh or standing.cause is not fleet.verdict.cause:
        case.chain = _chain(ctx, fleet, standing, said)
    case.judged, case.raw, case.by_sight = basis, raw, bool(blind)
    fleet.verdict = standing


def ask_others(ctx: Context, fleet: Fleet, instance: Instance | None, held: tuple[Reading, ...]) -> bool:
    """Challenge the picture when nothing but that holds an act; return whether it is too early to tell of the wait."""
    if instance is None or {reading.guard for reading in held} != {CHALLENGE}:
        return False
    asks = challenge.begin(fleet, instance, ctx.now.boot, ctx.settings.explaining)
    if asks:
        ctx.turn.commands.append(AskNow(asks))
    asked = fleet.investigation.asked
    return asked is not None and not asked.failed


def is_watching(fleet: Fleet) -> bool:
    """Return whether a verdict stands that time alone may change."""
    return fleet.verdict.cause is not Cause.INSTANCE or bool(fleet.investigation.population.sick)


def beacons(ctx: Context) -> tuple[Beacon, ...]:
    """Return what every sentinel said last."""
    return tuple(
        Beacon(sentinel.sense, sentinel.of, sentinel.ok) for _, sentinel in sorted(ctx.sight.sentinels.items())
    )


def _blind(why: str, now: BootTime) -> Verdict:
    return Verdict(
        Cause.BLIND, "", "", 1.0, now, (Explanation(Cause.BLIND, "", "", 1.0, (why,)),), f"cannot see: {why}"
    )


# -- judging


def _judge(ctx: Context, fleet: Fleet, counts: Counts, said: tuple[Beacon, ...]) -> Verdict:
    """Weigh what is seen, and conclude."""
    now = ctx.now.boot
    recent = changes.recent(ctx, fleet)
    surprising = ctx.removed_lately(fleet) >= ctx.surprise_allowed(fleet)
    if counts.sick == 0 or (counts.sick == 1 and not surprising and _is_alone(fleet, counts, recent, said)):
        return Verdict(Cause.INSTANCE, "", "", 1.0, now, (), _alone(counts))
    numbers, population = ctx.settings.explaining, fleet.investigation.population
    needed = numbers.odds_for(fleet.policy)
    picture = Picture(counts, recent, said)
    ranked = explaining.weigh(picture)
    verdict = conclude(ranked, population, numbers, needed)
    best = max((e.probability for e in ranked if e.label), default=0.0)
    if verdict.cause is Cause.UNEXPLAINED and counts.sick >= PAIR_LEAST and best < numbers.shared_odds:
        pairs = tuple(_pairs(population, counts))
        if pairs:
            verdict = conclude(explaining.weigh(replace(picture, pairs=pairs)), population, numbers, needed)
    return replace(verdict, since=now)


def conclude(ranked: tuple[Explanation, ...], population: Population, explaining: Explaining, needed: float) -> Verdict:
    """Return the verdict that follows from what was weighed. Not knowing is one."""
    classes: dict[Cause, float] = {}
    for e in ranked:
        classes[e.cause] = classes.get(e.cause, 0.0) + e.probability
    if classes.get(Cause.INSTANCE, 0.0) >= needed:
        own = next(e for e in ranked if e.cause is Cause.INSTANCE)
        return _verdict(own, classes[Cause.INSTANCE], ranked)
    shared = [e for e in ranked if e.cause is not Cause.INSTANCE]
    for e in shared[:1]:
        if classes[e.cause] >= explaining.shared_odds:
            return _verdict(e, classes[e.cause], ranked)
        tied = _ties(e, shared, population)
        together = sum(t.probability for t in tied)
        if together >= explaining.shared_odds:  # nobody can tell them apart: what may be done under each of them
            gravest = max(tied, key=lambda t: (CAUTION[t.cause], t.probability))
            return _verdict(gravest, together, ranked)
    best = ", ".join(f"{e.words} {percent(e.probability)}" for e in ranked[:3])
    text = f"no explanation is likely enough: {best}"
    return Verdict(Cause.UNEXPLAINED, "", "", ranked[0].probability, 0.0, ranked, text)


def _ties(best: Explanation, shared: list[Explanation], population: Population) -> list[Explanation]:
    """Return the explanations by labels that cover just the same sick machines."""
    if best.cause in EVERYBODY or best.cause in (Cause.CHECK, Cause.DEPENDENCY):
        return [best]
    labelled = [e for e in shared if e.probability >= RIVAL and e.cause not in EVERYBODY]
    labelled = [e for e in labelled if e.cause not in (Cause.CHECK, Cause.DEPENDENCY)]
    covered = _covered(best, population)
    return [e for e in labelled if e is best or _covered(e, population) == covered]


def _covered(e: Explanation, population: Population) -> frozenset[str]:
    labels = labels_of(Verdict(e.cause, e.label, e.value, e.probability, 0.0))
    return frozenset.intersection(*(population.sick_with(label) for label in labels))


def _verdict(e: Explanation, probability: float, ranked: tuple[Explanation, ...]) -> Verdict:
    words = f"{e.words}: {e.evidence[0]}" if e.evidence else e.words
    text = f"{words} ({'; '.join((f'{percent(probability)} sure', *e.evidence[1:]))})"
    return Verdict(e.cause, e.label, e.value, probability, 0.0, ranked, text)


def _is_alone(fleet: Fleet, counts: Counts, recent: Recent, said: tuple[Beacon, ...]) -> bool:
    """Return whether one sick machine needs no comparison: nobody else is suspect, and nothing points elsewhere."""
    others = len(fleet.suspects | fleet.sick)
    told = recent.images or recent.checks or recent.dependencies or recent.networks or recent.configs
    return others <= counts.sick and not told and not recent.supervisor and all(beacon.ok for beacon in said)


def _alone(counts: Counts) -> str:
    return f"nobody else of {counts.total} is sick or suspect" if counts.sick else "nobody is sick"


def _pairs(population: Population, counts: Counts) -> list[Group]:
    """Return the groups of zone and image at once that are narrower than either."""
    totals = {group.label: group.total for group in counts.groups}
    found = population.pairs(ZONE, IMAGE)
    return [g for one, other, g in found if g.sick > 1 and g.total < min(totals.get(one, 0), totals.get(other, 0))]


def _settle(
    case: Investigation, standing: Verdict, raw: Verdict, explaining: Explaining, now: BootTime, *, by_sight: bool
) -> Verdict:
    """Let the new verdict take the standing one's place: a graver one at once, a milder one after a while."""
    same = (raw.cause, raw.label, raw.value) == (standing.cause, standing.label, standing.value)
    if CAUTION[raw.cause] >= CAUTION[standing.cause]:
        case.affirmed = now
        return replace(raw, since=standing.since) if same else raw if raw.since == now else replace(raw, since=now)
    holds = standing.cause not in (Cause.INSTANCE, Cause.UNEXPLAINED) and not (case.by_sight and not by_sight)
    if holds and now - case.affirmed < explaining.holds_for:
        return standing
    return replace(raw, since=now)


def _chain(ctx: Context, fleet: Fleet, standing: Verdict, said: tuple[Beacon, ...]) -> tuple[Verdict, ...]:
    """Explain those whom the standing verdict does not cover, as if the covered were not there; and so on."""
    population = fleet.investigation.population
    chain = [standing]
    gone: dict[str, None] = {}
    while chain[-1].cause not in EVERYBODY and len(chain) <= ROUNDS:
        last = chain[-1]
        if last.cause in (Cause.CHECK, Cause.DEPENDENCY):
            sick = ((name, population.members[name].symptom) for name in population.sick)
            gone |= {name: None for name, symptom in sick if symptom is not None and accuses(last, symptom)}
        else:
            gone |= population.with_all(labels_of(last))
        rest = population.without(gone)
        if rest.sick == 1:
            own = Verdict(Cause.INSTANCE, "", "", 1.0, ctx.now.boot, (), f"{_alone(rest)}, {last.words} left aside")
            chain.append(own)
        else:
            chain.append(_judge(ctx, fleet, rest, said))
    return tuple(chain)
