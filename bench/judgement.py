"""The goals of judgement, measured: all scenarios, fleet sizes and seeds, every baseline, and what each part is worth.

    python -m bench.judgement [--quick] [--seeds 30] [--rival-seeds 30] [--long-seeds 30] [--largest 300] [--keep runs.jsonl]
                              [--report out.html]

Prints the table of goals, Sickbay's cost beside the best baseline's in each scenario, and the cost of the scenarios with
shared causes (15 to 45) without each part in turn. `--quick` plays one seed of the small fleets, for CI; the whole takes
hours, which `--keep` makes bearable: runs that are in the file are not played again, and each that is played is added.
The baselines, Sickbay without a part, and scenarios of a day and longer may have fewer seeds. Exits with 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.kept import Kept
from supervisor.cli import simulate
from supervisor.sim.exam import catalogue
from supervisor.sim.exam.ablation import ABLATIONS
from supervisor.sim.exam.goals import goals
from supervisor.sim.exam.report import report
from supervisor.sim.exam.runner import POLICIES, play_all
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Play, Played
from supervisor.sim.exam.scenario import read
from supervisor.sim.exam.tally import Row, count, duels, tally

CHUNK = 40
SHARED = range(15, 46)
"""The scenarios on which parts are taken away, by number."""
LONG = 86400.0
"""Seconds from which on a scenario is a long one: a month of it takes half an hour."""


def plays(seeds: int, rivals: int, longs: int, largest: int, *, quick: bool, traced: bool) -> list[Play]:
    """Return everything that is played, seed by seed, the small fleets first and the long scenarios last."""
    made: list[Play] = []
    long: set[str] = set()
    for path in sorted(catalogue.shipped().glob("*.toml")):
        scenario = read(path)
        sizes = [size for size in (scenario.quick if quick else scenario.sizes) if size <= largest]
        without = list(ABLATIONS) if scenario.number in SHARED else []
        policies = simulate.QUICK_POLICIES if quick else POLICIES
        if sizes:
            own = seeds
            if not quick and scenario.lasts >= LONG:
                own = min(seeds, longs)
                long.add(str(path))
            made += simulate.listed([(path, scenario)], policies, without, sizes, own, quick=quick, traced=traced)
    first = [play for play in made if play.seed <= rivals or (play.policy in (SICKBAY, ORACLE) and not play.without)]
    return sorted(first, key=lambda play: (str(play.path) in long, play.size, play.seed))


def played(wanted: Sequence[Play], keep: Path | None) -> list[Played]:
    """Play what is not kept."""
    if keep is None:
        return play_all(wanted, os.cpu_count() or 1)
    kept = Kept(keep)
    missing = kept.missing(wanted)
    for begin in range(0, len(missing), CHUNK):
        kept.add(play_all(missing[begin : begin + CHUNK], os.cpu_count() or 1))
        print(f"{begin + CHUNK} of {len(missing)} runs", file=sys.stderr)
    return kept.of(wanted)


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
    lesser = [row for row in rows if row.policy == SICKBAY and row.without]
    seeds = {(row.scenario, row.size): len(row.scores) for row in lesser}  # the whole may have been played more often
    for part in ("", *ABLATIONS):
        less = [r for r in rows if r.policy == SICKBAY and r.without == part and (r.scenario, r.size) in seeds]
        scores = [score for row in less for score in row.scores[: seeds[row.scenario, row.size]]]
        if less:
            cost = sum(statistics.mean(row.costs[: seeds[row.scenario, row.size]]) for row in less)
            kills = sum(score.over_kill for score in scores)
            vetoes = sum(bool(score.vetoes) for score in scores)
            right = f"{sum(score.right and not score.vetoes for score in scores)}/{len(scores)}"
            print(f"{ABLATIONS.get(part, 'whole'):66}{count(cost):>9}{kills:>11}{vetoes:>8}{right:>12}")
    return all(goal.met is not False for goal in found)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="small fleets, one seed, four policies")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--rival-seeds", type=int, default=None, help="for baselines, and for Sickbay without a part")
    parser.add_argument("--long-seeds", type=int, default=None, help="for scenarios of a day and longer")
    parser.add_argument("--largest", type=int, default=None, help="the largest fleet that is played")
    parser.add_argument("--keep", type=Path, default=None, help="a file for the runs; those in it are not played again")
    parser.add_argument("--report", type=Path, default=None)
    given = parser.parse_args()
    seeds = given.seeds or (1 if given.quick else 30)
    largest = given.largest or (30 if given.quick else 300)
    traced = given.report is not None and given.keep is None
    rivals, longs = given.rival_seeds or seeds, given.long_seeds or seeds
    wanted = plays(seeds, rivals, longs, largest, quick=given.quick, traced=traced)
    begun = time.monotonic()
    runs = played(wanted, given.keep)
    rows = tally(runs)
    print(f"{len(runs)} runs in {time.monotonic() - begun:.0f} s, {seeds} seed{'s' if seeds != 1 else ''}\n")
    met = show(rows)
    if given.report is not None:
        told = {scenario.name: scenario.about for scenario in catalogue.load(catalogue.shipped())}
        heading = f"Sickbay's judgement, {seeds} seed{'s' if seeds != 1 else ''}"
        given.report.write_text(report(rows, runs, goals(rows), told, heading), encoding="utf-8")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
