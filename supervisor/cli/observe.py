"""Commands that read: what is there, how it is, and why."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from supervisor.cli.base import (
    DEFAULT_CONFIG,
    TROUBLE,
    ConfigOption,
    JsonOption,
    app,
    client,
    print_json,
    print_table,
    sentences,
    when,
)
from supervisor.cli.explained import print_fleet, print_instance
from supervisor.cli.looked_up import print_dossiers
from supervisor.cli.shown import print_status
from supervisor.core.text import clean
from supervisor.errors import OperatorError


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show every fleet and instance; exit 1 when a fleet is not OPTIMAL."""
    with sentences():
        daemon = client(config)
        document = daemon.get("/api/v1/status")
        if not as_json:
            opened = any(f["open_incidents"] for f in document["fleets"])
            print_status(document, daemon.get("/api/v1/incidents?closed=0&limit=1000") if opened else [])
    if as_json:
        print_json(document)
    if any(f["state"] != "optimal" for f in document["fleets"]):
        raise typer.Exit(TROUBLE)


@app.command()
def incidents(
    number: Annotated[int | None, typer.Argument(help="One incident's number.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List incidents, or tell the story of one."""
    with sentences():
        path = f"/api/v1/incidents?limit={limit}" if number is None else f"/api/v1/incidents/{number}"
        document = client(config).get(path)
    if as_json:
        print_json(document)
    elif number is None:
        rows = [
            (i["id"], when(i["opened_at"]), i["state"], i["fleet"], i["instance"], ", ".join(i["held_by"]), i["cause"])
            for i in document
        ]
        print_table(("id", "opened (UTC)", "state", "fleet", "instance", "held by", "cause"), rows)
    else:
        typer.echo(f"incident {document['id']} ({document['state']}): {clean(document['card']['headline'])}")
        print_dossiers(document)
        for note in document["story"]:
            typer.echo(f"  {when(note['at'])[11:]}  {clean(note['text'])}")
        if document["card"]["ask"]:
            typer.echo(f"what you may do: {document['card']['ask']}")
        for fact in document["card"]["facts"]:
            typer.echo(f"{fact['label'].lower()}: {clean(fact['value'])}")


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="INSTANCE|FLEET", help="An instance's id, or a fleet's name.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what is wrong, how sure that is, and why Sickbay acts or does not: of an instance, or of a fleet."""
    with sentences():
        if not name:
            raise OperatorError("the name of an instance or a fleet is empty; `sickbay status` lists them")
        daemon = client(config)
        fleet = name in {f["name"] for f in daemon.get("/api/v1/fleets")}
        kind = "fleets" if fleet else "instances"
        document = daemon.get(f"/api/v1/{kind}/{quote(name, safe='')}/explain")
    if as_json:
        print_json(document)
    elif fleet:
        print_fleet(document)
    else:
        print_instance(document)


@app.command()
def changes(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List what was changed: deploys, pushes of configuration, edited checks."""
    with sentences():
        document = client(config).get(f"/api/v1/changes?limit={limit}")
    if as_json:
        print_json(document)
    elif not document:
        typer.echo("no change is known; `sickbay changed KIND TARGET TEXT` tells of one")
    else:
        rows = [(when(c["at"]), c["kind"], c["target"], c["fleet"] or "all", c["actor"], c["text"]) for c in document]
        print_table(("at (UTC)", "kind", "target", "fleet", "by", ""), rows)
