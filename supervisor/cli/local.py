"""Commands that need no daemon: run one, check its configuration, see the demo."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from supervisor import __version__
from supervisor.cli.base import (
    BAD_CONFIG,
    DEFAULT_CONFIG,
    GOOD,
    ConfigOption,
    JsonOption,
    OptionalConfigOption,
    app,
    print_json,
    seconds,
    sentences,
)
from supervisor.cli.clouds import looked_at
from supervisor.config import peek_plugin_paths
from supervisor.config.schema import schema as config_schema
from supervisor.daemon import read_config
from supervisor.daemon import run as run_daemon
from supervisor.demo import Fault
from supervisor.demo import demo as run_demo
from supervisor.plugins import discover
from supervisor.ports import Severity
from supervisor.runtime.logs import configure_logs


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the daemon in the foreground; systemd does this."""
    with sentences():
        checked, catalogue = read_config(config)
        configure_logs(quiet=False)
        asyncio.run(run_daemon(checked, catalogue))


@app.command()
def validate(
    config: ConfigOption = DEFAULT_CONFIG,
    cloud: Annotated[
        bool, typer.Option("--cloud", help="Look at the clouds as well, and try the permissions; nothing is changed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration file; name everything that is wrong with it."""
    with sentences():
        checked, catalogue = read_config(config)
        found = looked_at(checked, catalogue) if cloud else []
        is_good = not any(finding.severity is Severity.ERROR for _, finding in found)
        fleets = {
            n: {"desired": f.policy.desired, "image": f.policy.image, "checks": len(f.checks)}
            for n, f in checked.fleets.items()
        }
        if as_json:
            told = [{"fleet": n, "severity": str(f.severity), "sentence": f.sentence} for n, f in found]
            print_json(
                {
                    "ok": is_good,
                    "mode": str(checked.settings.mode),
                    "fleets": fleets,
                    "warnings": list(checked.warnings),
                }
                | ({"cloud": told} if cloud else {})
            )
            raise typer.Exit(GOOD if is_good else BAD_CONFIG)
        typer.echo(
            f"{config} {'is good' if is_good else 'reads well, but its cloud is not ready'}: mode {checked.settings.mode}, {len(fleets)} fleet{'s' if len(fleets) != 1 else ''}"
        )
        for name, fleet in fleets.items():
            typer.echo(
                f"  {name}: {fleet['desired']} machines of {fleet['image']}, {fleet['checks']} check{'s' if fleet['checks'] != 1 else ''}"
            )
        for warning in checked.warnings:
            typer.echo(f"  warning: {warning}")
        for name, finding in found:
            typer.echo(f"  {finding.severity}: fleet {name}: {finding.sentence}")
        if cloud and not found:
            typer.echo("  no fleet has a cloud that could be looked at")
        raise typer.Exit(GOOD if is_good else BAD_CONFIG)


@app.command()
def schema(config: OptionalConfigOption = None) -> None:
    """Print the JSON Schema of config.toml, for editors; with --config, the kinds of its plugins are in it."""
    with sentences():
        print_json(config_schema(discover(peek_plugin_paths(config) if config else ())))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Break one machine, heal it, and exit.")] = False,
    fault: Annotated[Fault, typer.Option(help="What breaks.")] = Fault.CRASH,
    stay: Annotated[
        bool, typer.Option("--stay", help="With --once, on a terminal: keep fleet and page until Ctrl-C.")
    ] = False,
    every: Annotated[str, typer.Option(help="Without --once: the pause between faults.")] = "30s",
    as_json: JsonOption = False,
) -> None:
    """See the main job on six real web servers, with nothing else installed."""
    configure_logs(quiet=True)  # the demo tells what happens in sentences
    with sentences():
        code = run_demo(
            fault,
            once=once,
            stay=stay and sys.stdout.isatty(),
            every=seconds(every, "--every") or 30.0,
            as_json=as_json,
        )
    raise typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"sickbay {__version__}")
