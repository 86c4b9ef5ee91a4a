"""The command line. The only place that exits.

Exit codes: 0 good, 1 found trouble, 2 wrong use, 69 no daemon, 78 bad configuration or state.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from supervisor import __version__
from supervisor.api import Instance
from supervisor.config import peek_socket
from supervisor.core.duration import parse, words
from supervisor.core.text import clean
from supervisor.daemon import configure_logs, read_config
from supervisor.daemon import run as run_daemon
from supervisor.demo import Fault
from supervisor.demo import demo as run_demo
from supervisor.errors import (
    ConfigError,
    DaemonUnreachable,
    OperatorError,
    PluginError,
    ProviderError,
    SickbayError,
    StateError,
)
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from supervisor.surfaces.client import Client

GOOD, TROUBLE, WRONG_USE, NO_DAEMON, BAD_CONFIG = 0, 1, 2, 69, 78
DEFAULT_CONFIG = Path("/etc/sickbay/config.toml")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="A self-healing fleet supervisor."
)
quarantine = typer.Typer(no_args_is_help=True, help="Machines that were set aside and kept.")
app.add_typer(quarantine, name="quarantine")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", envvar="SICKBAY_CONFIG")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why: it goes into the audit log.")]
InstanceArgument = Annotated[str, typer.Argument(help="The instance's id.")]

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
def _sentences() -> Iterator[None]:
    """Turn errors into one sentence on stderr and an exit code."""
    try:
        yield
    except (ConfigError, PluginError, ProviderError, StateError) as error:
        _fail(str(error), BAD_CONFIG)
    except DaemonUnreachable as error:
        _fail(str(error), NO_DAEMON)
    except OperatorError as error:
        _fail(str(error), TROUBLE)
    except SickbayError as error:
        _fail(str(error), TROUBLE)
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, SickbayError):
            _fail(str(first), BAD_CONFIG if isinstance(first, StateError) else TROUBLE)
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _fail(text: str, code: int) -> None:
    sys.stderr.write(f"sickbay: {text}\n")
    raise typer.Exit(code)


def _client(config: Path) -> Client:
    return Client(peek_socket(config))


def _print_json(document: Json) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    Console(highlight=False).print(table)


def _cell(value: object) -> str:
    text = "" if value is None else clean(str(value)).replace("[", "\\[")
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def _when(text: str | None) -> str:
    return "" if not text else text[:19].replace("T", " ")


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the daemon in the foreground; systemd does this."""
    with _sentences():
        checked, catalogue = read_config(config)
        configure_logs(quiet=False)
        asyncio.run(run_daemon(checked, catalogue))


@app.command()
def validate(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check the configuration file; name everything that is wrong with it."""
    with _sentences():
        checked, _ = read_config(config)
        fleets = {
            n: {"desired": f.policy.desired, "image": f.policy.image, "checks": len(f.checks)}
            for n, f in checked.fleets.items()
        }
        if as_json:
            _print_json(
                {"ok": True, "mode": str(checked.settings.mode), "fleets": fleets, "warnings": list(checked.warnings)}
            )
            return
        typer.echo(
            f"{config} is good: mode {checked.settings.mode}, {len(fleets)} fleet{'s' if len(fleets) != 1 else ''}"
        )
        for name, fleet in fleets.items():
            typer.echo(f"  {name}: {fleet['desired']} machines of {fleet['image']}, {fleet['checks']} checks")
        for warning in checked.warnings:
            typer.echo(f"  warning: {warning}")


@app.command()
def check(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    instance: Annotated[str, typer.Option("--instance", "-i", help="Only this instance.")] = "",
    name: Annotated[str, typer.Option("--check", help="Only this check.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run the fleet's checks now, from here, once; exit 1 when one of them does not pass."""
    with _sentences():
        checked, catalogue = read_config(config)
        if fleet not in checked.fleets:
            raise OperatorError(f"no fleet '{fleet}' is configured; known: {', '.join(checked.fleets)}")
        known = _client(config).get(f"/api/v1/fleets/{fleet}")["instances"]
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
            pairs = [(target, spec, one) for target in targets for spec, one in made]
            ran = await asyncio.gather(*(run_check(one, target, probe, spec.timeout) for target, spec, one in pairs))
            await probe.close()
            return [(target, spec.name, result) for (target, spec, _), result in zip(pairs, ran, strict=True)]

        found = asyncio.run(all_of_them())
    rows = [
        (t.id, t.zone, n, str(r.result.status), f"{(r.done - r.sent) * 1000:.1f}ms", r.result.text) for t, n, r in found
    ]
    if as_json:
        keys = ("instance", "zone", "check", "status", "took", "text")
        _print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        _table(("instance", "zone", "check", "status", "took", "text"), rows)
    if any(str(r.result.status) != "ok" for _, _, r in found):
        raise typer.Exit(TROUBLE)


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show every fleet and instance; exit 1 when a fleet is not OPTIMAL."""
    with _sentences():
        document = _client(config).get("/api/v1/status")
    if as_json:
        _print_json(document)
    else:
        _status(document)
    if any(f["state"] != "optimal" for f in document["fleets"]):
        raise typer.Exit(TROUBLE)


def _status(document: Json) -> None:
    paused = "; ".join(
        f"{h['name']}{': ' + h['reason'] if h['reason'] else ''} until {_when(h['until']) or 'resumed'}"
        for h in document["paused"]
    )
    typer.echo(
        f"mode {document['mode']}"
        + (f", PAUSED by {paused}" if paused else "")
        + (f", BLIND: {document['blind']}" if document["blind"] else "")
    )
    if document["store"]["refuses"]:
        typer.echo(f"the state file refuses commits, so nothing is done: {document['store']['refuses']}")
    for warning in document["warnings"]:
        typer.echo(f"warning: {warning}")
    for fleet in document["fleets"]:
        image = fleet["image"]["version"] if fleet["image"] else "none"
        typer.echo(
            f"\n{fleet['name']}: {fleet['state'].upper()}, {fleet['serving']} of {fleet['desired']} serve, image {image}"
        )
        if fleet["configured_image"]["id"] != (fleet["image"] or {}).get("id"):
            typer.echo(
                f"  the configured image {fleet['configured_image']['version']} is not the one healing launches; `sickbay promote {fleet['name']}` makes it so"
            )
        if fleet["inventory"]["error"]:
            typer.echo(f"  the cloud does not answer: {fleet['inventory']['error']}")
        rows = [
            (i["slot"], i["id"], i["zone"], i["lifecycle"], i["health"], i["address"], i["doing"] or i["reason"])
            for i in fleet["instances"]
        ]
        _table(("slot", "instance", "zone", "lifecycle", "health", "address", ""), rows)
        if fleet["open_incidents"]:
            typer.echo(
                f"  open incidents: {', '.join(map(str, fleet['open_incidents']))} (`sickbay incidents ID` tells more)"
            )


@app.command()
def incidents(
    number: Annotated[int | None, typer.Argument(help="One incident's number.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List incidents, or tell the story of one."""
    with _sentences():
        path = f"/api/v1/incidents?limit={limit}" if number is None else f"/api/v1/incidents/{number}"
        document = _client(config).get(path)
    if as_json:
        _print_json(document)
    elif number is None:
        rows = [
            (i["id"], _when(i["opened_at"]), i["state"], i["fleet"], i["instance"], ", ".join(i["held_by"]), i["cause"])
            for i in document
        ]
        _table(("id", "opened (UTC)", "state", "fleet", "instance", "held by", "cause"), rows)
    else:
        typer.echo(
            f"incident {document['id']} ({document['state']}): {document['fleet']} {document['instance']}: {clean(document['cause'])}"
        )
        for note in document["story"]:
            typer.echo(f"  {_when(note['at'])[11:]}  {clean(note['text'])}")
        if document["seconds_to_recover"] is not None:
            typer.echo(
                f"detected in {words(document['seconds_to_detect'])}, recovered in {words(document['seconds_to_recover'])}"
            )


@app.command()
def explain(instance: InstanceArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show why an instance is judged as it is, and every guard with its value and threshold."""
    with _sentences():
        document = _client(config).get(f"/api/v1/instances/{instance}/explain")
    if as_json:
        _print_json(document)
        return
    view = document["instance"]
    typer.echo(f"{view['id']}: {view['lifecycle']}, {view['health']} ({clean(view['reason'])})")
    typer.echo(f"decision: {document['decision']['what']} — {clean(document['decision']['why'])}\n")
    rows = [
        (
            c["name"],
            c["role"],
            c["status"],
            c["failures_in_a_row"],
            c["passes_in_a_row"],
            f"{c['suspicion']} of {c['condemns_at']}",
            c["text"],
        )
        for c in document.get("checks", [])
    ]
    _table(("check", "role", "last", "fails", "passes", "suspicion", ""), rows)
    typer.echo()
    seen: set[str] = set()
    guards = []
    for act, readings in document.get("guards", {}).items():
        for reading in readings:
            if reading["guard"] not in seen:
                seen.add(reading["guard"])
                guards.append(
                    ("HOLDS" if reading["holds"] else "", reading["guard"], reading["value"], reading["threshold"], act)
                )
    _table(("", "guard", "value", "needed", "for"), guards)


def _ask(config: Path, verb: str, body: dict[str, Json], *, as_json: bool) -> None:
    with _sentences():
        text = _client(config).post(verb, body)
    if as_json:
        _print_json({"text": text})
    else:
        typer.echo(text)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        return parse(text).total_seconds()
    except ValueError as error:
        _fail(f"--for {text}: {error}", WRONG_USE)
    return None


@app.command()
def pause(
    name: Annotated[str, typer.Option(help="Who pauses; several names hold independently.")] = "",
    how_long: Annotated[str, typer.Option("--for", help='How long, such as "30m"; without it, until resumed.')] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Hold all acting. Watching and telling go on."""
    body = {"name": name or getpass.getuser(), "seconds": _seconds(how_long), "reason": reason}
    _ask(config, "pause", body, as_json=as_json)


@app.command()
def resume(
    name: Annotated[str, typer.Option(help="Whose pause ends.")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End one pause."""
    _ask(config, "resume", {"name": name or getpass.getuser(), "reason": reason}, as_json=as_json)


@app.command()
def hold(
    instance: InstanceArgument,
    how_long: Annotated[str, typer.Option("--for", help='How long, such as "2h"; without it, 4 hours.')] = "",
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Never touch an instance for a while; a quarantined one is not purged."""
    body = {"instance": instance, "seconds": _seconds(how_long), "reason": reason}
    _ask(config, "hold", body, as_json=as_json)


@app.command()
def release(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End a hold."""
    _ask(config, "unhold", {"instance": instance, "reason": reason}, as_json=as_json)


@app.command()
def approve(
    incident: Annotated[int, typer.Argument(help="The incident's number.")],
    version: Annotated[int | None, typer.Option(help="The incident's version that you saw.")] = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let an incident's remediation go ahead, in mode approve."""
    _ask(config, "approve", {"incident": incident, "version": version, "reason": reason}, as_json=as_json)


@app.command()
def reject(
    incident: Annotated[int, typer.Argument(help="The incident's number.")],
    version: Annotated[int | None, typer.Option(help="The incident's version that you saw.")] = None,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Forbid an incident's remediation."""
    _ask(config, "reject", {"incident": incident, "version": version, "reason": reason}, as_json=as_json)


@app.command()
def retry(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    slot: Annotated[int, typer.Argument(help="The slot's number.")],
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a slot that needs a human launch again."""
    _ask(config, "retry", {"fleet": fleet, "slot": slot, "reason": reason}, as_json=as_json)


@app.command()
def promote(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make the configured image the one that healing launches."""
    _ask(config, "promote", {"fleet": fleet, "reason": reason}, as_json=as_json)


@quarantine.command("list")
def quarantine_list(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the machines that are kept."""
    with _sentences():
        document = _client(config).get("/api/v1/quarantine")
    if as_json:
        _print_json(document)
        return
    rows = [
        (
            q["instance"],
            q["fleet"],
            q["incident"],
            _when(q["isolated_at"]),
            _when(q["expires_at"]),
            q["cause"],
            q["capture"],
        )
        for q in document
    ]
    _table(("instance", "fleet", "incident", "since (UTC)", "expires (UTC)", "cause", "evidence"), rows)


@quarantine.command("release")
def quarantine_release(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Bring a machine back, through its startup checks."""
    _ask(config, "release", {"instance": instance, "reason": reason}, as_json=as_json)


@quarantine.command("purge")
def quarantine_purge(
    instance: InstanceArgument,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Destroy a machine now, with what it could tell."""
    _ask(config, "purge", {"instance": instance, "reason": reason}, as_json=as_json)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Break one machine, heal it, and exit.")] = False,
    fault: Annotated[Fault, typer.Option(help="What breaks.")] = Fault.CRASH,
    every: Annotated[str, typer.Option(help="Without --once: the pause between faults.")] = "30s",
    as_json: JsonOption = False,
) -> None:
    """See the main job on six real web servers, with nothing else installed."""
    configure_logs(quiet=True)
    with _sentences():
        code = run_demo(fault, once=once, every=_seconds(every) or 30.0, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"sickbay {__version__}")


def main() -> None:
    """Run the command line."""
    app()
