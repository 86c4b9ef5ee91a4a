"""What every command shares: options, exit codes, tables, and errors in one sentence.

Exit codes: 0 good, 1 found trouble, 2 wrong use, 69 no daemon or no cloud answers, 78 bad configuration, plugin,
state, address or cloud.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from supervisor.config import peek_socket
from supervisor.core.duration import parse
from supervisor.core.text import clean
from supervisor.errors import (
    CloudSilent,
    CommitFailed,
    ConfigError,
    DaemonUnreachable,
    ListenError,
    PluginError,
    ProviderError,
    SickbayError,
    StateError,
)
from supervisor.surfaces.client import Client

GOOD, TROUBLE, WRONG_USE, NO_DAEMON, BAD_CONFIG = 0, 1, 2, 69, 78
NO_CLOUD = NO_DAEMON  # EX_UNAVAILABLE: whoever should answer does not
WIDE = 4000  # columns: as wide as what a machine says, which is kept to 2,048 characters
DEFAULT_CONFIG = Path("/etc/sickbay/config.toml")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="A self-healing fleet supervisor."
)
quarantine = typer.Typer(no_args_is_help=True, help="Machines that were set aside and kept.")
app.add_typer(quarantine, name="quarantine")

ConfigOption = Annotated[
    Path,
    # Whether it can be read is told like every other mistake in it, not as wrong use.
    typer.Option("--config", "-c", help="The configuration file.", envvar="SICKBAY_CONFIG", readable=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why: it goes into the audit log.")]
InstanceArgument = Annotated[str, typer.Argument(help="The instance's id.")]

OptionalConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="A configuration file, for the plugins that it names.", envvar="SICKBAY_CONFIG"
    ),
]

Json = Any  # Any: the API's documents
COLOURS = {
    "optimal": "green",
    "healthy": "green",
    "degraded": "yellow",
    "suspect": "yellow",
    "down": "red",
    "sick": "red",
}


@contextmanager
def sentences() -> Iterator[None]:
    """Turn errors into one sentence on stderr and an exit code."""
    try:
        yield
    except (ConfigError, PluginError, ProviderError, StateError, ListenError) as error:
        fail(str(error), exit_code(error))
    except DaemonUnreachable as error:
        fail(str(error), NO_DAEMON)
    except SickbayError as error:
        fail(str(error), TROUBLE)
    except BaseExceptionGroup as group:
        found = first_of(group)
        if isinstance(found, SickbayError):
            fail(str(found), exit_code(found))
        raise


def exit_code(error: SickbayError) -> int:
    """Return what tells systemd whether another start could help."""
    if isinstance(error, CloudSilent):
        return NO_CLOUD  # clouds come back: another start can help
    if isinstance(error, CommitFailed):
        return TROUBLE  # nobody can say what is on disk: the next start reads it
    return (
        BAD_CONFIG
        if isinstance(error, ConfigError | PluginError | ProviderError | StateError | ListenError)
        else TROUBLE
    )


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception of a group, however deep."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def fail(text: str, code: int) -> NoReturn:
    """Say what is wrong, one line for each mistake, and exit."""
    sys.stderr.writelines(f"sickbay: {line}\n" for line in text.splitlines())
    raise typer.Exit(code)


def client(config: Path) -> Client:
    """Return a client of the daemon that a configuration file describes."""
    return Client(peek_socket(config))


def print_json(document: Json) -> None:
    """Print a document for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows for people; foreign text can neither colour nor move anything."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    # Where nobody's window is too narrow, a line stays a line: `grep` and `awk` read these tables as well.
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if narrow else WIDE).print(table)


def _cell(value: object) -> str:
    text = "" if value is None else clean(str(value)).replace("[", "\\[")
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def when(text: str | None) -> str:
    """Shorten a time of the API's to seconds."""
    return "" if not text else text[:19].replace("T", " ")


def seconds(text: str, option: str = "--for") -> float | None:
    """Return the seconds of a duration such as "30m" that an option gives; None for ''."""
    if not text:
        return None
    try:
        return parse(text).total_seconds()
    except ValueError as error:
        fail(f"{option} {text}: {error}", WRONG_USE)


def ask(config: Path, verb: str, body: dict[str, Json], *, as_json: bool) -> None:
    """Hand a request to the daemon and print its answer."""
    with sentences():
        text = client(config).post(verb, body)
    if as_json:
        print_json({"text": text})
    else:
        typer.echo(text)
