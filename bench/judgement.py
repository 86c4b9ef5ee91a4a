"""The goals of judgement, measured: all scenarios, fleet sizes and seeds, every baseline, and what each part is worth.

    python -m bench.judgement [--quick] [--seeds 30] [--largest 300] [--report out.html]

Prints the table of goals, Sickbay's cost beside the best baseline's in each scenario, and the cost of the scenarios with
shared causes (15 to 45) without each part in turn. `--quick` plays one seed of the small fleets, for CI; the whole takes
hours. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from supervisor.cli import simulate
from supervisor.sim.exam import catalogue
from supervisor.sim.exam.ablation import ABLATIONS
from supervisor.sim.exam.goals import goals
from supervisor.sim.exam.report import report
from supervisor.sim.exam.runner import POLICIES, play_all
from supervisor.sim.exam.runs import SICKBAY, Play
from supervisor.sim.exam.scenario import read
from supervisor.sim.exam.tally import Row, count, duels, tally

SHARED = range(15, 46)
"""The scenarios on which parts are taken away, by number."""


def plays(seeds: int, largest: int, *, quick: bool, traced: bool) -> list[Play]:
    """Return everything that is played."""
    found = [(path, read(path)) for path in sorted(catalogue.shipped().glob("*.toml"))]
    made: list[Play] = []
    for path, scenario in found:
        sizes = [size for size in (scenario.quick if quick else scenario.sizes) if size <= largest]
        without = list(ABLATIONS) if scenario.number in SHARED else []
        policies = simulate.QUICK_POLICIES if quick else POLICIES
        if sizes:
            made += simulate.listed([(path, scenario)], policies, without, sizes, seeds, quick=quick, traced=traced)
    return made


def show(rows: Sequence[Row]) -> bool:
    """Print the tables; return whether every goal that could be measured is met."""
    found = goals(rows)
    print(f"{'goal':66}{'wanted':>20}{'measured':>24}  ")
    for goal in found:
        print(f"{goal.what:66}{goal.wanted:>20}{goal.measured:>24}  {goal.word}")
    print(
        f"\n{'scenario':34}{'size':>6}{'right':>8}{'cost':>9}{'worst':>9}{'ratio':>8}  best baseline; what was missed first"
    )
    for duel in duels(rows):
        own, best = duel.own, duel.best
        ratio = "–" if duel.ratio is None else f"{duel.ratio:.2f}"
        rival = f"{count(best.cost)} {best.policy}" if best else "–"
        print(
            f"{own.scenario:34}{own.size:>6}{own.rights:>5}/{len(own.scores):<2}{count(own.cost):>9}{count(own.worst):>9}{ratio:>8}"
            f"  {rival}{'; ' if own.why else ''}{own.why}"
        )
    print(f"\n{'Sickbay on scenarios 15 to 45':66}{'cost':>9}{'over-kill':>11}{'vetoes':>8}{'right':>12}")
    for part in ("", *ABLATIONS):
        less = [r for r in rows if r.policy == SICKBAY and r.without == part and r.truth.number in SHARED]
        if less:
            kills = sum(score.over_kill for row in less for score in row.scores)
            runs = sum(len(row.scores) for row in less)
            right = f"{sum(row.rights for row in less)}/{runs}"
            cost = count(sum(row.cost for row in less))
            vetoes = sum(row.vetoed for row in less)
            print(f"{ABLATIONS.get(part, 'whole'):66}{cost:>9}{kills:>11}{vetoes:>8}{right:>12}")
    return all(goal.met is not False for goal in found)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="small fleets, one seed, four policies")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--largest", type=int, default=None, help="the largest fleet that is played")
    parser.add_argument("--report", type=Path, default=None)
    given = parser.parse_args()
    seeds = given.seeds or (1 if given.quick else 30)
    largest = given.largest or (30 if given.quick else 300)
    wanted = plays(seeds, largest, quick=given.quick, traced=given.report is not None)
    begun = time.monotonic()
    played = play_all(wanted, os.cpu_count() or 1)
    rows = tally(played)
    print(f"{len(played)} runs in {time.monotonic() - begun:.0f} s, {seeds} seed{'s' if seeds != 1 else ''}\n")
    met = show(rows)
    if given.report is not None:
        told = {scenario.name: scenario.about for scenario in catalogue.load(catalogue.shipped())}
        heading = f"Sickbay's judgement, {seeds} seed{'s' if seeds != 1 else ''}"
        given.report.write_text(report(rows, played, goals(rows), told, heading), encoding="utf-8")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
