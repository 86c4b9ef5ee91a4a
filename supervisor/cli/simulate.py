"""`sickbay simulate`: plays the exam, Sickbay beside the healing of other products, and says who was right."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.base import GOOD, TROUBLE, WRONG_USE, JsonOption, app, fail, print_json, print_table
from supervisor.core.settings import Settings
from supervisor.daemon import read_config
from supervisor.errors import ConfigError, PluginError
from supervisor.sim.exam import catalogue
from supervisor.sim.exam.ablation import ABLATIONS
from supervisor.sim.exam.goals import goals
from supervisor.sim.exam.report import report
from supervisor.sim.exam.runner import POLICIES, play_all
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Play
from supervisor.sim.exam.scenario import Scenario, read
from supervisor.sim.exam.tally import Duel, Row, count, duels, span, tally

LARGEST = 300
"""Larger fleets are played when `--sizes` asks for them: they take minutes each."""

QUICK_LARGEST = 100
QUICK_POLICIES = (SICKBAY, "aws-asg", "gcp-mig", "karpenter")
"""What `--quick` plays: the fastest of the baselines, the most careful one, and the most used one."""

COLUMNS = (
    "scenario", "size", "right", "seen", "named", "whole", "over-kill", "set aside", "lost", "launches", "pages",
    "cost", "best baseline",
)  # fmt: skip
NARROW = ("scenario", "size", "right", "named", "over-kill", "cost", "best baseline")
"""What fits into 100 columns."""


@lru_cache(maxsize=4)
def settings_of(path: str) -> Settings:
    """Read the settings of a configuration file. Raises `ConfigError` and `PluginError`."""
    return read_config(Path(path))[0].settings


@app.command()
def simulate(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(help="Scenarios: their numbers, files or folders; without any, all that come with Sickbay."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Whom to play: sickbay or a baseline; can be given again.")
    ] = None,
    sizes: Annotated[str, typer.Option("--sizes", help='Fleet sizes, such as "6,30"; else each scenario\'s own.')] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="How often each is played.")] = 1,
    ablate: Annotated[
        list[str] | None, typer.Option("--ablate", help="Play Sickbay without a part as well: " + ", ".join(ABLATIONS))
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", readable=False, help="Play with the numbers and the first fleet of this file."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--report", help="Write a report to this HTML file.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only scenarios and fleets that are played in seconds, and four policies.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Play what can go wrong on virtual time, and compare Sickbay with the healing of other products."""
    policies = _known(policy or (QUICK_POLICIES if quick else POLICIES), POLICIES, "--policy")
    without = _known(ablate or [], tuple(ABLATIONS), "--ablate")
    wanted = _sizes(sizes)
    try:
        found = chosen(scenarios or [])
        base = settings_of(str(config)) if config else None
    except (ConfigError, PluginError) as error:
        fail(str(error), WRONG_USE)
    if base is not None and not wanted:
        wanted = [next((fleet.desired for _, fleet in sorted(base.fleets.items()) if fleet.desired), 6)]
    if out is not None and not out.absolute().parent.is_dir():
        fail(f"--report {out}: its folder does not exist", WRONG_USE)
    plays = listed(
        found, policies, without, wanted, seeds, quick=quick, config=str(config or ""), traced=out is not None
    )
    if not plays:
        fail("nothing is to be played: none of these scenarios has a quick size", WRONG_USE)
    played = play_all(plays, os.cpu_count() or 1, settings_of, _progress(len(plays)))
    rows = tally(played)
    met = goals(rows) if SICKBAY in policies else []
    told = {scenario.name: scenario.about for _, scenario in found}
    if out is not None:
        heading = f"Sickbay's judgement, {seeds} seed{'s' if seeds != 1 else ''}"
        out.write_text(report(rows, played, met, told, heading), encoding="utf-8")
    judged = [row for row in rows if row.policy == policies[0] and not row.without]
    if as_json:
        print_json({"right": all(row.is_right for row in judged), "runs": [asdict(run.score) for run in played]})
    else:
        _print(rows, policies[0])
        if out is not None:
            typer.echo(f"\nthe report is in {out}")
    raise typer.Exit(GOOD if all(row.is_right for row in judged) else TROUBLE)


def chosen(names: Sequence[str]) -> list[tuple[Path, Scenario]]:
    """Find scenarios by number, file or folder. Raises `ConfigError` with one sentence."""
    shipped = catalogue.shipped()
    files: list[Path] = []
    for name in names or [str(shipped)]:
        path = Path(name)
        if path.is_dir():
            catalogue.load(path)
            files += sorted(path.glob("*.toml"))
        elif path.is_file():
            files.append(path)
        elif name.isdecimal():
            files += _numbered(shipped, int(name))
        else:
            raise ConfigError(f"{name}: there is no such scenario; expected a number, a file or a folder")
    return [(path, read(path)) for path in dict.fromkeys(files)]


def _numbered(folder: Path, number: int) -> list[Path]:
    found = sorted(folder.glob(f"{number:02d}-*.toml"))
    if not found:
        raise ConfigError(f"{number}: no scenario that came with Sickbay has this number")
    return found


def listed(
    scenarios: Sequence[tuple[Path, Scenario]],
    policies: Sequence[str],
    without: Sequence[str],
    sizes: Sequence[int],
    seeds: int,
    *,
    quick: bool = False,
    config: str = "",
    traced: bool = False,
) -> list[Play]:
    """Return every run to be played: each scenario, size and seed for the oracle, each policy and each ablation."""
    plays = []
    for path, scenario in scenarios:
        own = [size for size in scenario.sizes if size <= LARGEST] or scenario.sizes[:1]
        if quick:
            own = [size for size in scenario.quick if size <= QUICK_LARGEST]
        for size in sizes or own:
            for seed in range(1, seeds + 1):
                everybody = [
                    (ORACLE, ""),
                    *((policy, "") for policy in policies),
                    *((SICKBAY, part) for part in without),
                ]
                plays += [
                    Play(str(path), size, seed, policy, part, quick, config, traced and seed == 1 and not part)
                    for policy, part in everybody
                ]
    return plays


def _known(given: Sequence[str], known: Sequence[str], option: str) -> list[str]:
    for name in given:
        if name not in known:
            fail(f"{option} {name}: unknown, expected one of {', '.join(known)}", WRONG_USE)
    return list(dict.fromkeys(given))


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() and 1 <= int(part) <= 100_000 for part in parts):
        fail(f'--sizes {text}: expected numbers of machines, such as "6,30"', WRONG_USE)
    return [int(part) for part in parts]


def _progress(total: int) -> Callable[[int], None]:
    """Count on stderr, where somebody watches."""

    def done(number: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{number} of {total} runs" if number < total else "\r" + " " * 40 + "\r")
            sys.stderr.flush()

    return done


def _print(rows: Sequence[Row], first: str) -> None:
    """Print one line for each scenario and size: how the first policy did, and what the best baseline cost."""
    found = duels(rows, first)
    is_narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < 140
    columns = NARROW if is_narrow else COLUMNS
    print_table(columns, [[_cells(duel)[column] for column in columns] for duel in found])
    wrong = [duel.own for duel in found if not duel.own.is_right]
    typer.echo(f"\n{first}: {len(found) - len(wrong)} of {len(found)} right in all seeds")
    for row in wrong:
        typer.echo(f"  {row.scenario}, {row.size} machines: {row.why}")
    for part, cost in _worth(rows):
        typer.echo(f"  without {part}: {cost}")


def _cells(duel: Duel) -> dict[str, str]:
    own, best = duel.own, duel.best
    veto = ", veto" if own.vetoed else ""
    return {
        "scenario": own.scenario,
        "size": str(own.size),
        "right": ("yes" if len(own.scores) == 1 else "all")
        if own.is_right
        else f"{own.rights} of {len(own.scores)}{veto}",
        "seen": span(own.median("detected")),
        "named": span(own.median("named")),
        "whole": span(own.median("recovered")),
        "over-kill": count(own.most("over_kill")),
        "set aside": count(own.most("false_quarantines")),
        "lost": f"{count(statistics.median(own.lost))} min",
        "launches": count(own.median("launches")),
        "pages": count(own.median("pages")),
        "cost": count(own.cost),
        "best baseline": f"{count(best.cost)} {best.policy}" if best else "–",
    }


def _worth(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    whole = {(row.scenario, row.size): row.cost for row in rows if row.policy == SICKBAY and not row.without}
    for part, means in ABLATIONS.items():
        less = {(row.scenario, row.size): row for row in rows if row.without == part}
        shared = sorted(less.keys() & whole.keys())
        if shared:
            cost = sum(less[place].cost for place in shared)
            vetoed = sum(less[place].vetoed for place in shared)
            yield (
                part,
                f"costs {count(cost)} instead of {count(sum(whole[place] for place in shared))}, {vetoed} vetoes ({means})",
            )
