"""What `sickbay status` prints: first what concerns everything, then each fleet, and what a person may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import typer

from supervisor.cli.base import Json, print_table, when
from supervisor.core.capacity import words
from supervisor.core.text import clean
from supervisor.core.verdict import how_sure


def print_status(document: Json, opened: Sequence[Json]) -> None:
    """Print the API's status for people; `opened` are the open incidents."""
    for line in _everything(document):
        typer.echo(clean(line))
    for fleet in document["fleets"]:
        _fleet(fleet, document["mode"], [i for i in opened if i["fleet"] == fleet["name"]])


def _everything(document: Json) -> Iterator[str]:
    paused = "; ".join(
        f"{h['name']}{': ' + h['reason'] if h['reason'] else ''} until {when(h['until']) or 'resumed'}"
        for h in document["paused"]
    )
    blind = f", BLIND: {document['blind']}" if document["blind"] else ""
    yield f"mode {document['mode']}" + (f", PAUSED by {paused}" if paused else "") + blind
    if document["store"]["refuses"]:
        yield f"the state file refuses commits, so nothing is done: {document['store']['refuses']}"
    if not document["prober"]["alive"]:
        yield "the prober is being restarted, so nothing is checked"
    for refusal in document["config_refused"]:
        yield f"the configuration file is refused, the one before it goes on: {refusal}"
    for surface in document["surfaces"]:
        if surface["trouble"]:
            count = surface["waiting"]
            waiting = f"; {count} message{'s wait' if count != 1 else ' waits'}" if count else ""
            yield f"{surface['name']}: {surface['trouble']}{waiting}"
    for warning in document["warnings"]:
        yield f"warning: {warning}"
    if document["unmanaged"]:
        yield f"left alone, because no longer configured: {', '.join(document['unmanaged'])}"
    if not document["fleets"]:
        yield "no fleet is configured; add a table [fleet.NAME] to the configuration file, and reload"


def _fleet(fleet: Json, mode: str, opened: Sequence[Json]) -> None:
    name = fleet["name"]
    image = fleet["image"]["version"] if fleet["image"] else "none"
    own = f", mode {fleet['mode']}" if fleet["mode"] != mode else ""
    typer.echo(f"\n{name}: {serving(fleet)}, image {image}{own}")
    if fleet["storm"]:
        typer.echo(f"  storm: {len(fleet['sick'])} machines are sick at once, nobody is removed")
    verdict = fleet["verdict"]
    shared = verdict["cause"] != "instance"
    if shared and not any(i["kind"] == "shared" for i in opened):  # its card says the same, and more
        said = clean(verdict["sentence"] or verdict["words"])
        sure = how_sure(verdict["cause"], said, verdict["probability"])
        typer.echo(f"  {said}{f' ({sure})' if sure else ''}")
    amnesty = fleet["amnesty"]
    if amnesty["clean_rounds"] < amnesty["needed"]:
        typer.echo(f"  amnesty: {amnesty['clean_rounds']} of {amnesty['needed']} clean rounds, nothing is removed yet")
    if fleet["configured_image"]["id"] != (fleet["image"] or {}).get("id"):
        typer.echo(
            f"  the configured image {fleet['configured_image']['version']} is not the one healing launches; "
            f"`sickbay promote {name}` makes it so"
        )
    if fleet["inventory"]["error"]:
        typer.echo(f"  the cloud does not answer: {clean(fleet['inventory']['error'])}")
    members = sorted(fleet["instances"], key=lambda i: (i["slot"] is None, i["slot"], i["id"]))
    struck = verdict["value"] if verdict["cause"] == "zone" else None
    zones = {i["zone"]: f"{i['zone']} !" if i["zone"] == struck else i["zone"] for i in members}
    rows = [
        (i["slot"], i["id"], zones[i["zone"]], i["lifecycle"], i["health"], i["address"], _image(i), _why(i))
        for i in members
    ]
    if rows:
        print_table(("slot", "instance", "zone", "lifecycle", "health", "address", "image", ""), rows)
    else:
        typer.echo("  no machine yet" if fleet["desired"] else "  no machine is wanted")
    for incident in opened:
        typer.echo(f"  #{incident['id']} {clean(incident['card']['headline'])}")
        if incident["card"]["ask"]:
            typer.echo(f"     what you may do: {incident['card']['ask']}")
    if fleet["open_incidents"]:
        typer.echo(f"  `sickbay incidents {fleet['open_incidents'][0]}` tells more")


def serving(fleet: Json) -> str:
    """Say how many serve; before anybody has looked, nobody knows."""
    if fleet["state"] == "unknown":
        return f"UNKNOWN, not yet seen how many of {fleet['desired']} serve"
    suspect = f", {len(fleet['suspect'])} suspect" if fleet["suspect"] else ""
    return f"{fleet['state'].upper()}, {words(fleet['serving'], fleet['desired'])}{suspect}"


def _image(instance: Json) -> str:
    """Say which image it runs, and whether that is the one healing launches."""
    status = instance["image_status"]
    return f"{instance['version']}, {status}" if instance["version"] else str(status)


def _why(instance: Json) -> str:
    held = f"held until {when(instance['held_until'])}" if instance["held_until"] else ""
    reason = f"{held}: {instance['hold_reason']}" if held and instance["hold_reason"] else held
    announced = [f"announced: {notice}" for notice in instance["notices"]]
    said = (instance["doing"] or instance["reason"], reason or instance["held"], *announced)
    return "; ".join(part for part in said if part)
