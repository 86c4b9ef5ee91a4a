"""Commands that act: each is a request to the daemon, audited there with its reason."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from supervisor.cli.base import (
    DEFAULT_CONFIG,
    ConfigOption,
    InstanceArgument,
    JsonOption,
    ReasonOption,
    app,
    ask,
    client,
    print_json,
    print_table,
    quarantine,
    seconds,
    sentences,
    when,
)
from supervisor.core.terms import ChangeKind
from supervisor.core.text import clean


@app.command()
def pause(
    name: Annotated[str, typer.Option(help="Who pauses; several names hold independently.")] = "",
    how_long: Annotated[str, typer.Option("--for", help='How long, such as "30m"; without it, until resumed.')] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Hold all acting. Watching and telling go on."""
    body = {"name": name or getpass.getuser(), "seconds": seconds(how_long), "reason": reason}
    ask(config, "pause", body, as_json=as_json)


@app.command()
def resume(
    name: Annotated[str, typer.Option(help="Whose pause ends.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End one pause."""
    ask(config, "resume", {"name": name or getpass.getuser(), "reason": reason}, as_json=as_json)


@app.command()
def hold(
    instance: InstanceArgument,
    how_long: Annotated[str, typer.Option("--for", help='How long, such as "2h"; without it, 4 hours.')] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Never touch an instance for a while; a quarantined one is not purged."""
    body = {"instance": instance, "seconds": seconds(how_long), "reason": reason}
    ask(config, "hold", body, as_json=as_json)


@app.command()
def release(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End a hold."""
    ask(config, "unhold", {"instance": instance, "reason": reason}, as_json=as_json)


@app.command()
def approve(
    incident: Annotated[int, typer.Argument(help="The incident's number.")],
    version: Annotated[int | None, typer.Option(help="The incident's version that you saw.")] = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let an incident's remediation go ahead, in mode approve."""
    ask(config, "approve", {"incident": incident, "version": version, "reason": reason}, as_json=as_json)


@app.command()
def reject(
    incident: Annotated[int, typer.Argument(help="The incident's number.")],
    version: Annotated[int | None, typer.Option(help="The incident's version that you saw.")] = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Forbid an incident's remediation."""
    ask(config, "reject", {"incident": incident, "version": version, "reason": reason}, as_json=as_json)


@app.command()
def acknowledge(
    incident: Annotated[int, typer.Argument(help="The incident's number.")],
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say that you are looking into an incident."""
    ask(config, "acknowledge", {"incident": incident, "reason": reason}, as_json=as_json)


@app.command()
def retry(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    slot: Annotated[int, typer.Argument(help="The slot's number.")],
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a slot that needs a human launch again."""
    ask(config, "retry", {"fleet": fleet, "slot": slot, "reason": reason}, as_json=as_json)


@app.command()
def promote(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    absolve: Annotated[bool, typer.Option("--absolve", help="Even if the image was condemned: it is cleared.")] = False,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make the configured image the one that healing launches."""
    said: dict[str, bool | str] = {"fleet": fleet, "reason": reason}
    ask(config, "promote", said | ({"absolve": True} if absolve else {}), as_json=as_json)


@app.command()
def changed(
    kind: Annotated[ChangeKind, typer.Argument(help="What was changed.")],
    target: Annotated[str, typer.Argument(help="Its name: an image, a check, a dependency, a zone or subnet.")],
    text: Annotated[str, typer.Argument(help="What was done to it, in a few words.")] = "",
    fleet: Annotated[str, typer.Option(help="Only this fleet; without it, every fleet.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Tell of a deploy or a push of configuration: what breaks soon after is likelier to come of it."""
    body = {"kind": str(kind), "target": target, "text": text, "fleet": fleet, "reason": text}
    ask(config, "changes", body, as_json=as_json)


@app.command()
def allow(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    how_long: Annotated[str, typer.Option("--for", help='How long, such as "30m"; at most a day.')],
    most: Annotated[int, typer.Option("--max", help="How many machines may be removed.")] = 1,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let machines be removed although a storm blows or the cause is not understood; floors, pauses and holds stay."""
    body = {"fleet": fleet, "removals": most, "seconds": seconds(how_long) or 0.0, "reason": reason}
    ask(config, "allow", body, as_json=as_json)


@quarantine.command("list")
def quarantine_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the machines that are kept."""
    with sentences():
        document = client(config).get("/api/v1/quarantine")
    if as_json:
        print_json(document)
        return
    rows = [
        (
            q["instance"],
            q["fleet"],
            q["incident"],
            when(q["isolated_at"]),
            when(q["expires_at"]),
            f"held: {q['cause']}" if q["held"] else q["cause"],
        )
        for q in document
    ]
    if not rows:
        typer.echo("nothing is kept")
        return
    print_table(("instance", "fleet", "incident", "since (UTC)", "expires (UTC)", "cause"), rows)
    for q in document:
        if q["ends_at"]:
            typer.echo(f"{q['instance']} is destroyed at {when(q['ends_at'])}; `sickbay hold {q['instance']}` keeps it")
        if q["capture"]:  # a line of its own: a path that a table folds can't be copied
            typer.echo(f"evidence of {q['instance']}: {clean(q['capture'])}")


@quarantine.command("release")
def quarantine_release(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Bring a machine back, through its startup checks."""
    ask(config, "release", {"instance": instance, "reason": reason}, as_json=as_json)


@quarantine.command("purge")
def quarantine_purge(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Destroy a machine now, with what it could tell."""
    ask(config, "purge", {"instance": instance, "reason": reason}, as_json=as_json)
