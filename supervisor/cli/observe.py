"""Commands that read: what is there, how it is, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import quote

import typer

from supervisor.api import Check, Instance
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
from supervisor.config import ConfiguredCheck
from supervisor.core.text import clean
from supervisor.daemon import read_config
from supervisor.errors import OperatorError
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check

AT_ONCE = 32


@app.command()
def check(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    instance: Annotated[str, typer.Option("--instance", "-i", help="Only this instance.")] = "",
    name: Annotated[str, typer.Option("--check", help="Only this check.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run the fleet's checks now, from here, once; exit 1 when one of them does not pass."""
    with sentences():
        checked, catalogue = read_config(config)
        if fleet not in checked.fleets:
            raise OperatorError(f"no fleet '{fleet}' is configured; known: {', '.join(checked.fleets)}")
        known = client(config).get(f"/api/v1/fleets/{quote(fleet, safe='')}")["instances"]
        targets = [
            Instance(i["id"], i["fleet"], i["address"], i["zone"], i["image"], i["version"])
            for i in known
            if i["address"] and i["lifecycle"] not in ("quarantined", "boot_failed") and instance in ("", i["id"])
        ]
        specs = [c for c in checked.fleets[fleet].checks if name in ("", c.name)]
        if not targets or not specs:
            raise OperatorError(f"nothing to check: {len(targets)} instances and {len(specs)} checks match")
        made = [(spec, catalogue.checks[spec.kind].cls(**spec.options)) for spec in specs]

        async def all_of_them() -> list[tuple[Instance, str, Ran]]:
            probe = NetworkProbe()
            turn = asyncio.Semaphore(AT_ONCE)  # programs may be among them, and waiting here costs no check its time

            async def one_of_them(target: Instance, spec: ConfiguredCheck, one: Check) -> tuple[Instance, str, Ran]:
                async with turn:
                    return target, spec.name, await run_check(one, target, probe, spec.timeout)

            try:
                return await asyncio.gather(
                    *(one_of_them(target, spec, one) for target in targets for spec, one in made)
                )
            finally:
                await probe.close()

        found = asyncio.run(all_of_them())
    rows = [
        (t.id, t.zone, n, str(r.result.status), f"{(r.done - r.sent) * 1000:.1f}ms", r.result.text) for t, n, r in found
    ]
    if as_json:
        keys = ("instance", "zone", "check", "status", "took", "text")
        metrics = [dict(r.result.metrics) for _, _, r in found]
        print_json([{**dict(zip(keys, row, strict=True)), "metrics": m} for row, m in zip(rows, metrics, strict=True)])
    else:
        print_table(("instance", "zone", "check", "status", "took", "text"), rows)
    if any(str(r.result.status) != "ok" for _, _, r in found):
        raise typer.Exit(TROUBLE)


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
