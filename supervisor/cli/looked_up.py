"""An incident's dossiers on a terminal: first why we think so, then the facts."""

from __future__ import annotations

from typing import Any

import typer

from supervisor.cli.base import when
from supervisor.core.text import clean

SHOWN_LINES = 12
"""Lines of a log; `--json` has all that are kept."""


def print_dossiers(story: dict[str, Any]) -> None:  # Any: JSON
    """Print what was looked up about an incident."""
    for dossier in story["dossiers"]:
        first = dossier["moment"] == "opening"
        typer.echo(f"{'why we think so' if first else 'when it was set aside'}: {clean(dossier['why'])}")
        if first and story["alike"]:
            typer.echo(f"  {story['alike_in_words']}")
        for line in _facts(dossier):
            typer.echo(f"  {clean(line)}")


def _facts(dossier: dict[str, Any]) -> list[str]:
    found = []
    for one in dossier["checks"]:
        since = f" since {when(one['since'])[11:]}" if one["since"] else ""
        found.append(f"check {one['name']}: {one['status']}{since}{', ' if one['text'] else ''}{one['text']}")
    if dossier["cloud"]:
        found.append(f"cloud: {dossier['cloud']}")
    found += [f"changed: {said}" for said in dossier["changes"]]
    if dossier["log_trouble"]:
        found.append(f"log: {dossier['log_trouble']}")
    elif dossier["log"]:
        found.append(f"log, its last {min(len(dossier['log']), SHOWN_LINES)} lines:")
        found += [f"| {line}" for line in dossier["log"][-SHOWN_LINES:]]
    return found
