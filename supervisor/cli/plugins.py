"""`sickbay plugins`: what is there to ask and to heal with, where it comes from, and the start of one of your own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from supervisor.api import Check, Remediation
from supervisor.cli.base import (
    WRONG_USE,
    JsonOption,
    OptionalConfigOption,
    app,
    fail,
    print_json,
    print_table,
    sentences,
)
from supervisor.cli.scaffold import WrongName, config_snippet, plugin_files, refuse_name, write
from supervisor.config import peek_plugin_paths
from supervisor.plugins import Catalogue, Plugin, discover, doc_of

Row = dict[str, str]

plugins = typer.Typer()
app.add_typer(plugins, name="plugins")


class Kind(StrEnum):
    """What can be begun."""

    CHECK = "check"
    REMEDIATION = "remediation"


@plugins.callback(invoke_without_command=True)
def listing(context: typer.Context, config: OptionalConfigOption = None, as_json: JsonOption = False) -> None:
    """List every kind of check, remediation and provider; with --config, those of its folders as well."""
    if context.invoked_subcommand is not None:
        return
    with sentences():
        catalogue = discover(peek_plugin_paths(config) if config else ())
    found = {
        "checks": list(_rows(catalogue, "checks")),
        "remediations": list(_rows(catalogue, "remediations")),
        "providers": list(_rows(catalogue, "providers")),
    }
    if as_json:
        print_json(found)
        return
    rows = [(what.removesuffix("s"), r["kind"], r["origin"], r["doc"]) for what, those in found.items() for r in those]
    print_table(("what", "kind", "origin", ""), rows)


def _rows(catalogue: Catalogue, what: str) -> Iterator[Row]:
    if what == "providers":
        for kind, provider in sorted(catalogue.providers.items()):
            yield {"kind": kind, "origin": catalogue.provider_origins[kind], "doc": doc_of(provider)}
        return
    found: Mapping[str, Plugin[Check] | Plugin[Remediation]] = (
        catalogue.checks if what == "checks" else catalogue.remediations
    )
    for kind, plugin in sorted(found.items()):
        yield {"kind": kind, "origin": plugin.origin, "doc": doc_of(plugin.cls)}


@plugins.command()
def new(
    what: Annotated[Kind, typer.Argument(metavar="check|remediation", help="What to begin.")],
    name: Annotated[str, typer.Argument(help="Its kind: small letters, digits and _.")],
    folder: Annotated[Path, typer.Option(help="Where to write it.")] = Path("plugins"),
    config: OptionalConfigOption = None,
) -> None:
    """Write a check or a remediation that works, and its test, to begin with."""
    with sentences():
        known = peek_plugin_paths(config) if config else ()
        here = (folder.resolve(),) if folder.is_dir() and folder.resolve() not in known else ()
        try:
            files = plugin_files(what, name, folder)
            refuse_name(what, name, files, discover([*known, *here]))
            write(files, folder)
        except WrongName as wrong:
            fail(str(wrong), WRONG_USE)
    plugin, test = files
    typer.echo(f"wrote a {what} and its test: {plugin}, {test}\n")
    typer.echo("Put this into config.toml, with your fleet's name:\n")
    typer.echo(config_snippet(what, name, folder))
    typer.echo(f"next: python -m pytest {shlex.quote(str(test))}")
