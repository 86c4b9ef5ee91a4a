"""From what happened at a site to a score: the arithmetic, the vetoes, and whether it was right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from supervisor.core.duration import words
from supervisor.core.terms import BootTime, Cause, Seconds
from supervisor.sim.exam.cloud import FOR_GOOD, REMOVING
from supervisor.sim.exam.healer import Page
from supervisor.sim.exam.parts import Power
from supervisor.sim.exam.scenario import Expect, Scenario, Truth
from supervisor.sim.exam.score import Score
from supervisor.sim.exam.site import Site

SETTLED: Seconds = 1800.0  # a machine that nobody put to use by then was forgotten
NEEDLESS_HOLD: Seconds = 900.0
KEEPS = frozenset({"hold", "quota"})
"""Faults under which a healer must wait: an operator's word, and a cloud without room."""
LINEAGE_LIMIT = 3


def measured(scenario: Scenario, size: int, seed: int, healer: str, site: Site) -> Score:
    """Return the score of a run that is over."""
    ledger, begun = site.ledger, site.ledger.first_fault
    away = [act for act in ledger.acts if act.verb in REMOVING]
    innocent = {act.instance for act in away if not act.guilty}
    killed = {act.instance for act in away if not act.guilty and act.verb in FOR_GOOD}
    told = [page for page in ledger.pages if begun is not None and page.at >= begun]
    detected = _detected(site, begun, told)
    named = _named(scenario.truth, told, begun, ledger.pages)
    wanted = len(ledger.faults) + sum(
        1 for box in site.boxes.values() if box.launched >= 0 and box.at_fault is not None
    )
    found = Score(
        scenario=scenario.name,
        fleet_size=size,
        seed=seed,
        healer=healer,
        detected=detected,
        named=named,
        recovered=_recovered(site, begun),
        false_quarantines=len(innocent),
        over_kill=len(killed),
        lost=round(ledger.lost / 60.0, 3),
        launches=len(ledger.launches),
        needless_launches=max(0, len(ledger.launches) - wanted),
        pages=len([page for page in ledger.pages if page.urgent]),
        cause_right=named is not None,
        held_needlessly=_held(scenario, site),
        double_serving=round(ledger.double_serving, 3),
        orphans=_orphans(site),
        vetoes=tuple(_vetoes(scenario, size, site, len(killed))),
        right=False,
        why="",
    )
    why = next(_missed(scenario, found, site), "")
    return replace(found, right=not why, why=why)


def _detected(site: Site, begun: BootTime | None, told: list[Page]) -> Seconds | None:
    """Return when the healer first said or did anything about the fault."""
    if begun is None:
        return None
    moments = [page.at for page in told]
    moments += [act.at for act in (*site.ledger.acts, *site.ledger.launches) if act.at >= begun]
    return round(min(moments) - begun, 3) if moments else None


def _named(truth: Truth, told: list[Page], begun: BootTime | None, pages: list[Page]) -> Seconds | None:
    """Return when the right cause was told; where nothing is wrong, nobody is to be woken for one."""
    if truth.cause is None:
        return None if any(page.cause is not None and page.urgent for page in pages) else 0.0
    right = {truth.cause, *truth.also}
    for page in told:
        if page.cause in right and (not truth.value or page.cause is not truth.cause or page.value == truth.value):
            return round(page.at - (begun or 0.0), 3)
    return None


def _recovered(site: Site, begun: BootTime | None) -> Seconds | None:
    ledger = site.ledger
    if begun is None or ledger.below_since is None:
        return 0.0
    return None if ledger.whole_at is None else round(ledger.whole_at - begun, 3)


def _held(scenario: Scenario, site: Site) -> int:
    """Return how many machines at fault still wait, long after nothing but the healer kept them."""
    free = max((fault.at + (fault.lasts or math.inf) for fault in scenario.fault if fault.kind in KEEPS), default=0.0)
    count = 0
    for box in site.at_fault():
        since = box.at_fault
        if (
            since is not None
            and site.clock.now - max(since, free) > NEEDLESS_HOLD
            and box.power is Power.RUNNING
            and box.registered_at is not None
        ):
            count += 1
    return count


def _orphans(site: Site) -> int:
    """Return how many machines run that were launched and forgotten."""
    now = site.clock.now
    return sum(
        1
        for box in site.boxes.values()
        if box.launched >= 0
        and now - box.launched > SETTLED
        and box.power in (Power.RUNNING, Power.PENDING)
        and box.registered_at is None
        and not box.isolated
        and not box.mark
        and box.removed is None
        and box.at_fault is None
    )


def _vetoes(scenario: Scenario, size: int, site: Site, killed: int) -> Iterator[str]:
    ledger = site.ledger
    for act in ledger.acts:
        floor = ledger.lb_floor() if act.verb == "deregister" else ledger.serving_floor()
        if act.cost > 0.5 and act.serving_after < floor:
            yield f"{act.verb} of {act.instance} at {words(act.at)}: {act.serving_after:.0f} served after it, the floor is {floor}"
            break
    most = 2 if size < 12 else 1
    if scenario.truth.shared and killed > most:
        yield f"{killed} machines that were not at fault themselves were removed, at most {most} may be in a shared cause"
    for act in (*ledger.acts, *ledger.launches):
        if act.why_not:
            yield f"{act.verb} of {act.instance} at {words(act.at)} while {act.why_not}"
            break
    failed = [act for act in ledger.launches if not site.boxes[act.instance].has_served]
    lineages = Counter(act.lineage for act in failed if act.lineage not in ("", "0"))
    for lineage, count in sorted(lineages.items()):
        if count > LINEAGE_LIMIT:
            yield f"{count} launches for one trouble ({lineage}) came to nothing, at most {LINEAGE_LIMIT} may in a day"
            break


def _missed(scenario: Scenario, score: Score, site: Site) -> Iterator[str]:
    """Name what was not as it should be, the worst first."""
    expect, truth = scenario.expect, scenario.truth
    yield from score.vetoes
    removals = len({act.instance for act in site.ledger.acts if act.verb in REMOVING})
    limits: tuple[tuple[str, float | None, float | None], ...] = (
        ("machines removed for good that were not at fault", score.over_kill, expect.over_kill),
        ("machines withdrawn or isolated that were not at fault", score.false_quarantines, expect.false_quarantines),
        ("machines removed", removals, expect.removals),
        ("launches", score.launches, expect.launches_at_most),
        ("pages", score.pages, expect.pages_at_most),
        ("machines launched and forgotten", score.orphans, expect.orphans),
        ("seconds of double serving", score.double_serving, expect.double_serving),
    )
    for what, got, most in limits:
        if most is not None and got is not None and got > most:
            yield f"{got:g} {what}, expected at most {most:g}"
    if expect.untouched and (removals or score.launches):
        yield f"{removals} machines removed and {score.launches} launched, expected that nothing is touched"
    yield from _missed_goals(expect, score, site)
    if expect.named or (truth.cause is None and not score.cause_right):
        yield from _missed_name(truth, expect, score, site)


def _missed_goals(expect: Expect, score: Score, site: Site) -> Iterator[str]:
    if expect.replaced:
        left = [
            box.id for box in site.at_fault() if box.registered_at is not None and box.power is not Power.TERMINATED
        ]
        if left:
            yield f"{len(left)} machines at fault still serve ({left[0]}), expected that they are replaced"
        if site.ledger.serving < site.desired:
            yield f"{site.ledger.serving:.0f} of {site.desired} serve at the end, expected all"
    if expect.launches_at_least is not None and score.launches < expect.launches_at_least:
        yield f"{score.launches} launches, expected at least {expect.launches_at_least}"
    if expect.launches_per_fault is not None and site.ledger.faults:
        each = score.launches / len(site.ledger.faults)
        if each > expect.launches_per_fault:
            yield f"{each:.2f} launches for each machine at fault, expected at most {expect.launches_per_fault:g}"
    if expect.pages_at_least is not None and score.pages < expect.pages_at_least:
        yield f"{score.pages} pages, expected at least {expect.pages_at_least}"
    for what, took, most in (
        ("detected", score.detected, expect.detected_within),
        ("whole again", score.recovered, expect.recovered_within),
    ):
        if most is not None and (took is None or took > most):
            yield f"{what} {'never' if took is None else 'after ' + words(took)}, expected within {words(most)}"


def _missed_name(truth: Truth, expect: Expect, score: Score, site: Site) -> Iterator[str]:
    if truth.cause is None:
        said = next(page for page in site.ledger.pages if page.cause is not None)
        yield f"{said.cause} {said.value} was named, and nothing is wrong".replace("  ", " ")
    elif score.named is None or score.named > expect.named_within:
        said_all = [f"{p.cause} {p.value}".strip() for p in site.ledger.pages if p.cause is not None]
        last = f"; it said {said_all[-1]}" if said_all else ""
        when = "never" if score.named is None else f"after {words(score.named)}"
        cause = f"{truth.cause or Cause.UNEXPLAINED} {truth.value}".strip()
        yield f"{cause} was named {when}, expected within {words(expect.named_within)}{last}"
