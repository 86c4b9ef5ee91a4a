"""Commands about who may do what, and who did: `token new` and `audit`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlencode

import typer

from supervisor.cli.base import (
    DEFAULT_CONFIG,
    TROUBLE,
    WRONG_USE,
    ConfigOption,
    JsonOption,
    app,
    client,
    fail,
    print_json,
    print_table,
    sentences,
    when,
)
from supervisor.config.models import NAME
from supervisor.core.chain import AuditDoc, Head, VerifiedDoc
from supervisor.core.terms import AccessRole
from supervisor.errors import StateError
from supervisor.store import AuditFile
from supervisor.surfaces.access import new_token
from supervisor.surfaces.web.auditing import moment

tokens = typer.Typer(no_args_is_help=True, help="Tokens for the TCP listener.")
app.add_typer(tokens, name="token")


@tokens.command("new")
def token_new(
    name: Annotated[str, typer.Argument(help="Whose it is: it stands in the audit log.")],
    role: Annotated[AccessRole, typer.Option(help="What it may; each role may what the ones before it may.")] = (
        AccessRole.READ
    ),
    as_json: JsonOption = False,
) -> None:
    """Make a token, shown once, and the table for config.toml that knows it by its SHA-256."""
    if not re.fullmatch(NAME, name):
        fail(f"{name[:80]}: expected a name of letters, digits, '_' and '-', at most 63", WRONG_USE)
    token, table = new_token(name, role)
    if as_json:
        print_json({"token": token, "table": table})
        return
    sys.stderr.write("the token, for whoever is to use it; it is shown this once:\n")
    typer.echo(token)
    sys.stderr.write("\nfor config.toml, where it is taken at the next start or SIGHUP:\n")
    typer.echo(table.rstrip())


@app.command()
def audit(
    since: Annotated[
        str, typer.Option(help='Only from this time on, such as "2026-01-31" or "2026-01-31T14:00Z".')
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    verify: Annotated[bool, typer.Option("--verify", help="Look whether the chain holds; exit 1 when not.")] = False,
    anchor: Annotated[str, typer.Option(help="With --verify: an earlier head, SEQ:HASH, must still be there.")] = "",
    state: Annotated[Path | None, typer.Option(help="Read this state file, such as a copy, and ask no daemon.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show who did or asked what, which way and why; or verify that nothing of it was changed."""
    begin = head = None
    try:
        begin = moment(since) if since else None
    except ValueError as error:
        fail(f"--since {since}: {error}", WRONG_USE)
    try:
        head = Head.parse(anchor) if anchor else None
    except ValueError as error:
        fail(f"--anchor {anchor}: {error}", WRONG_USE)
    with sentences():
        if state is not None and not state.is_file():
            raise StateError(f"{state} is no file; give the path of a state file, or none to ask the daemon")
        if verify or head is not None:
            found = (
                AuditFile(state).verify([head] if head else [])
                if state
                else client(config).get("/api/v1/audit/verify" + (f"?anchor={head}" if head else ""))
            )
            _print_verified(cast(VerifiedDoc, found), as_json=as_json)
            return
        if state is not None:
            entries = AuditFile(state).read(begin, limit)
        else:
            query = {"limit": str(limit), **({"since": begin.isoformat()} if begin else {})}
            entries = client(config).get(f"/api/v1/audit?{urlencode(query)}")
    _print_entries(entries, as_json=as_json)


def _print_entries(entries: list[AuditDoc], *, as_json: bool) -> None:
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            e["seq"],
            when(e["at"]),
            e["actor"],
            e["via"],
            e["action"],
            e["target"],
            " → ".join(part for part in (e["before"], e["after"]) if part),
            e["reason"],
        )
        for e in entries
    ]
    print_table(("seq", "at (UTC)", "who", "via", "what", "target", "before → after", "why"), rows)


def _print_verified(found: VerifiedDoc, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        for fault in found["broken"]:
            typer.echo(fault)
        if not found["broken"]:
            known = len(found["anchors"])
            also = f", and {known} earlier head{'s are' if known > 1 else ' is'} in it" if known else ""
            typer.echo(f"{found['entries']} entries, each follows the one before it{also}")
        typer.echo(f"head {found['head'] or 'none yet'}")
        if not found["broken"]:
            typer.echo("kept elsewhere, this head shows later whether the end was cut off: --anchor SEQ:HASH")
    if found["broken"]:
        raise typer.Exit(TROUBLE)
