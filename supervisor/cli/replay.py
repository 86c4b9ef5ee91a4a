"""`sickbay replay`: what other thresholds would have done with what happened. Reads files only: no daemon is asked."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.base import (
    DEFAULT_CONFIG,
    WRONG_USE,
    ConfigOption,
    Json,
    JsonOption,
    app,
    fail,
    print_json,
    print_table,
    sentences,
)
from supervisor.core.duration import parse, words
from supervisor.core.history import Loaded, Moment
from supervisor.core.terms import Seconds
from supervisor.daemon import read_config
from supervisor.errors import OperatorError
from supervisor.sim.comparison import Compared, Decided
from supervisor.sim.past import Past, recall
from supervisor.sim.replay import Report, replay

SinceOption = Annotated[str, typer.Option("--since", help="How far back, such as 12h or 7d.")]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The state file whose history is played; without it, the configuration's."),
]


@app.command(name="replay")
def replay_command(
    since: SinceOption = "7d",
    state: StateOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell what a configuration would have decided about what happened, beside what was decided."""
    start = time.time() - _span(since)
    with sentences():
        checked, _ = read_config(config)
        folder = checked.history if state is None else state.parent / "history"
        past = recall(folder, start)
        if past.end <= start:
            raise OperatorError(
                f"{folder}: the history ends at {_when(past.end)} UTC; `--since` must reach further back"
            )
        _refuse_strangers(past, frozenset(checked.fleets), config)
        report = replay(past, checked.settings, start)
    if as_json:
        print_json(_document(report))
    else:
        _tell(report, config)


def _span(text: str) -> Seconds:
    try:
        span = parse(text).total_seconds()
    except ValueError as error:
        fail(f"--since {text}: {error}", WRONG_USE)
    return span


def _refuse_strangers(past: Past, fleets: frozenset[str], config: Path) -> None:
    known = {fleet.name for line in past.lines if isinstance(line, Loaded) for fleet in line.fleets}
    if not known & fleets:
        then, now = ", ".join(sorted(known)) or "none", ", ".join(sorted(fleets))
        raise OperatorError(f"{config} configures other fleets ({now}) than the history tells of ({then})")


def _tell(report: Report, config: Path) -> None:
    asleep = f"; for {words(report.asleep)} of it no daemon ran" if report.asleep else ""
    typer.echo(
        f"from {_when(report.start)} to {_when(report.end)} UTC ({words(report.end - report.start)}{asleep}): "
        f"{_count(report.troubles, 'time')} of trouble, judged again by {config.name}"
    )
    for note in report.notes:
        typer.echo(note)
    if report.compared:
        rows = [
            (_when(one.at), one.fleet, one.subject, one.words, _side(one.then, one), _side(one.now, one))
            for one in report.compared
        ]
        print_table(("found (UTC)", "fleet", "machine", f"with {config.name}", "then", "now"), rows)
    same = sum(1 for one in report.compared if one.same)
    typer.echo(
        f"{same} of {len(report.compared)} decided the same; acted on: {report.removals(then=True)} then, "
        f"{report.removals(then=False)} now, of which {sum(1 for one in report.compared if one.regretted)} "
        "recovered without"
    )


def _side(decided: Decided | None, one: Compared) -> str:
    if decided is None:
        return "nothing"
    if decided.acted is not None:
        return f"{decided.act} after {decided.acted - one.at:.0f}s"
    held = f"held by {', '.join(decided.held)}" if decided.held else "found"
    return f"{held} after {decided.found - one.at:.0f}s"


def _document(report: Report) -> Json:
    return {
        "from": _when(report.start),
        "to": _when(report.end),
        "seconds_without_daemon": round(report.asleep, 3),
        "troubles": report.troubles,
        "notes": list(report.notes),
        "acted_then": report.removals(then=True),
        "acted_now": report.removals(then=False),
        "compared": [
            {
                "fleet": one.fleet,
                "machine": one.subject,
                "compared": one.words,
                "same": one.same,
                "regretted": one.regretted,
                "then": _decided(one.then),
                "now": _decided(one.now),
            }
            for one in report.compared
        ],
    }


def _decided(one: Decided | None) -> Json:
    if one is None:
        return None
    acted = None if one.acted is None else _when(one.acted)
    return {"cause": one.cause, "found": _when(one.found), "acted": acted, "act": one.act, "held_by": list(one.held)}


def _when(moment: Moment) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
