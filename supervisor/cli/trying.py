"""`sickbay check`: runs a fleet's checks once, by hand, from here; with --trace it tells what each asked and was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import typer

from supervisor.api import AskingCheck, Check, Instance
from supervisor.cli.base import (
    DEFAULT_CONFIG,
    TROUBLE,
    ConfigOption,
    Json,
    JsonOption,
    app,
    client,
    print_json,
    print_table,
    sentences,
)
from supervisor.config import ConfiguredCheck
from supervisor.core.text import clean
from supervisor.daemon import read_config
from supervisor.errors import OperatorError
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from supervisor.runtime.tracing import Exchange, Tracing, frames

AT_ONCE = 32
MEANING = {
    "ok": "a pass",
    "warning": "noted; it neither accuses nor acquits",
    "critical": "a failure",
    "unknown": "nothing; it says nothing about the instance",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One check of one instance, run once."""

    target: Instance
    spec: ConfiguredCheck
    check: Check
    ran: Ran
    exchanges: Sequence[Exchange]

    @property
    def took(self) -> str:
        """How long it took, in milliseconds."""
        return _milliseconds(self.ran.done - self.ran.sent)

    def row(self) -> dict[str, str]:
        """Return what the table shows."""
        result = self.ran.result
        return {
            "instance": self.target.id,
            "zone": self.target.zone,
            "check": self.spec.name,
            "status": str(result.status),
            "took": self.took,
            "text": result.text,
        }

    def document(self, *, traced: bool) -> Json:
        """Return it for programs."""
        result = self.ran.result
        told: Json = {**self.row(), "metrics": dict(result.metrics)}
        if traced:
            told |= {
                "silent": result.silent,
                "seconds": result.seconds,
                "counts_as": self.meaning(),
                "trace": [
                    {"at_seconds": e.at, "took_seconds": e.took, "asked": e.asked, "came": e.came}
                    for e in self.exchanges
                ],
                "frames": frames(self.check, self.ran.error),
            }
        return told

    def meaning(self) -> str:
        """Say what Sickbay would make of the result."""
        counts = MEANING[str(self.ran.result.status)]
        if self.ran.result.silent:
            counts += ", and silence: it condemns only with a second class of evidence, or in time"
        return counts + ("" if str(self.spec.role) == "liveness" else f"; its role is {self.spec.role}")


@app.command()
def check(
    fleet: Annotated[str, typer.Argument(help="The fleet's name.")],
    instance: Annotated[str, typer.Option("--instance", "-i", help="Only this instance.")] = "",
    name: Annotated[str, typer.Option("--check", help="Only this check.")] = "",
    trace: Annotated[
        bool, typer.Option("--trace", help="Tell what was asked, what came back, and what Sickbay makes of it.")
    ] = False,
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
        # Who asks nobody has nothing to run: it is left out, unless it is asked for, and then says so.
        specs = [c for c in checked.fleets[fleet].checks if (c.name == name if name else c.passive is None)]
        if not targets or not specs:
            raise OperatorError(f"nothing to check: {len(targets)} instances and {len(specs)} checks match")
        made = [(spec, catalogue.checks[spec.kind].cls(**spec.options)) for spec in specs]
        found = asyncio.run(_try_all([(target, spec, one) for target in targets for spec, one in made]))
    if as_json:
        print_json([tried.document(traced=trace) for tried in found])
    elif trace:
        typer.echo("\n\n".join("\n".join(_story(tried)) for tried in found))
    else:
        rows = [tuple(tried.row().values()) for tried in found]
        print_table(("instance", "zone", "check", "status", "took", "text"), rows)
    if any(str(tried.ran.result.status) != "ok" for tried in found):
        raise typer.Exit(TROUBLE)


async def _try_all(runs: Sequence[tuple[Instance, ConfiguredCheck, Check]]) -> list[Tried]:
    probe = NetworkProbe()
    turn = asyncio.Semaphore(AT_ONCE)  # programs may be among them, and waiting here costs no check its time

    async def one_of_them(target: Instance, spec: ConfiguredCheck, one: Check) -> Tried:
        async with turn:
            tracing = Tracing(probe)
            ran = await run_check(one, target, tracing, spec.timeout)
            return Tried(target, spec, one, ran, tracing.exchanges)

    try:
        return await asyncio.gather(*(one_of_them(*run) for run in runs))
    finally:
        await probe.close()


def _story(tried: Tried) -> Iterator[str]:
    """Yield the lines for people."""
    target, spec, result = tried.target, tried.spec, tried.ran.result
    place = f", zone {target.zone}" if target.zone else ""
    options = ", ".join(f"{key} = {value!r}" for key, value in spec.options.items())
    yield clean(
        f"{target.id} ({target.address}{place}): check {spec.name}, kind {spec.kind} with {options or 'no keys'}"
    )
    for each in tried.exchanges:
        yield f"  {_milliseconds(each.at):>9}  {each.asked}"
        yield f"  {_milliseconds(each.at + each.took):>9}  {each.came}"
    if not tried.exchanges:
        yield "  it asked nothing through the probe"
    judge = "judge" if isinstance(tried.check, AskingCheck) and not tried.ran.error else "noted"
    yield f"  {tried.took:>9}  {judge}: {str(result.status).upper()}{', silent' if result.silent else ''}: {result.text}"
    for place in frames(tried.check, tried.ran.error):
        yield f"             at {place}"
    for label, value in result.metrics.items():
        yield f"             {label} = {value:g}"
    yield f"             counts as {tried.meaning()}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}ms"
