"""The check host: a child process that runs checks on a cadence and sends what they answer.

One program, started twice: as the *prober* for the built-in network checks, and as the *plugin host* for third-party
ones and for programs, so that a blocking or greedy plugin hurts neither the supervisor nor the prober. It holds no cloud
credentials, and ends with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import resource
import socket
import sys
import time
import traceback
from sys import intern
from typing import Any

import uvloop

from supervisor.api import AskingCheck, Check, CheckResult, Instance, NoAnswer, Probe, Refusal
from supervisor.core.text import clean
from supervisor.plugins import discover
from supervisor.runtime.asking import Asker, Prepared
from supervisor.runtime.batch import Batch
from supervisor.runtime.custody import Custody
from supervisor.runtime.garbage import keep_short
from supervisor.runtime.lean import LeanAsker
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Judge, boottime
from supervisor.runtime.runs import GRACE, Runs
from supervisor.runtime.schedule import Pair, Schedule, Spec
from supervisor.runtime.wire import Message, pack, receive

TICK = 0.01
"""Seconds between two looks at who is due: being woken costs more than a question, and those of one look are answered together."""
FLUSH = 0.05
LARGEST_BATCH = 500
LOOPBACK_EVERY = 5.0
LOOPBACK_LIMIT = 2.0


class Benched(Check):
    """Stands in for a check whose kind is not run for a while."""

    why: str

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Say so."""
        return CheckResult.unknown(self.why)


class Host:
    """Schedule, runs in flight, and the batch of results on its way."""

    def __init__(self, writer: asyncio.StreamWriter, asker: Asker, custody: Custody | None = None) -> None:
        """Begin with nothing to watch; `custody` keeps an eye on foreign code."""
        self.custody = custody
        self.writer = writer
        self.probe = NetworkProbe()
        self.asker = asker
        self.schedule = Schedule(boottime())
        self.runs = Runs(self.probe, asker, custody, self._report)
        self.batch = Batch()
        self.loopback = 0  # the port of a listener of our parent's, 0 for none
        self.deaf = ""  # why that listener could not be reached the last time
        self.missed = 0
        self.lags: list[float] = []

    # -- what to watch

    def take(self, message: Message) -> None:
        """Take one message of the parent."""
        match message["type"]:
            case "configure":
                self._configure(message)
            case "observe":
                for name, fleet, address, zone, image, version, fast in message["instances"]:
                    instance = Instance(name, intern(fleet), address, intern(zone), intern(image), intern(version))
                    self.schedule.observe(instance, boottime(), fast=bool(fast))
            case "forget":
                for name in message["instances"]:
                    self.runs.forget(self.schedule.forget(name))
            case "ask":
                for name in message["instances"]:
                    self.runs.ask(self.schedule.pairs(name))
            case "stretch":
                self.runs.stretch = max(1.0, float(message["factor"]))
            case other:
                raise ValueError(f"message {other!r} is not known")

    def _configure(self, message: Message) -> None:
        self.loopback = int(message["loopback"])
        catalogue = discover(sources=message["sources"])
        specs = {
            fleet: {c["name"]: self._spec(c, catalogue.checks[c["kind"]].cls) for c in checks}
            for fleet, checks in message["fleets"].items()
        }
        self.runs.forget_asked()
        self.schedule.configure(specs, boottime())

    def _spec(self, told: dict[str, Any], cls: type[Check]) -> Spec:  # Any: JSON
        check = Benched(why=told["benched"]) if told["benched"] else cls(**told["options"])
        kind, file = told["kind"], inspect.getfile(cls)
        pace = told["interval"], told["timeout"]
        if isinstance(check, AskingCheck) and (prepared := self._prepared(check, kind, file)) is not None:
            return Spec(told["name"], kind, file, check, *pace, prepared, Judge(check))
        return Spec(told["name"], kind, file, check, *pace)

    def _prepared(self, check: AskingCheck, kind: str, file: str) -> Prepared | None:
        """Return what a check asks; None for one that must run as a coroutine, which then tells what is wrong with it."""
        if type(check).run is not AskingCheck.run:
            return None
        try:
            question = self.custody.call(kind, file, check.question) if self.custody else check.question()
            return self.asker.prepare(question)
        except Exception:  # noqa: BLE001  # a plugin may raise anything
            return None

    # -- running

    async def turn(self) -> None:
        """Start what is due, for ever."""
        while True:
            now = boottime()
            self.runs.turn(now)
            for pair, due in self.schedule.due(now):
                self._start(pair, due)
            await asyncio.sleep(TICK)

    def _start(self, pair: Pair, due: float) -> None:
        run, now = pair.run, boottime()
        if self.runs.start(pair, now):
            self.lags.append(now - due)
        elif run is None or not (pair.watched.fast or run.asked):
            self.missed += 1

    def _report(self, pair: Pair, result: CheckResult, sent: float, done: float) -> None:
        self.batch.add(pair, result, sent, done)
        if len(self.batch) >= LARGEST_BATCH:
            self.flush()

    def flush(self) -> None:
        """Send the results that wait."""
        if self.batch:
            message = self.batch.take()
            if not self.writer.transport.is_closing():
                self.writer.write(pack(message))

    async def flushing(self) -> None:
        """Flush for ever; the parent's back pressure stops us here, never a check."""
        while True:
            self.flush()
            await self.writer.drain()
            await asyncio.sleep(FLUSH)

    async def listening(self) -> None:
        """Ask our parent's own listener, for ever, the way machines are asked: who can't hear that hears nobody."""
        while True:
            if self.loopback:
                try:
                    async with asyncio.timeout(LOOPBACK_LIMIT):
                        answer = await self.probe.tcp.connect("127.0.0.1", self.loopback, until=b"\n")
                    self.deaf = "" if answer.received else "it closes without a word"
                except TimeoutError:
                    self.deaf = f"no answer within {LOOPBACK_LIMIT:.0f}s"
                except (OSError, NoAnswer, Refusal) as error:
                    self.deaf = str(error) or type(error).__name__
            await asyncio.sleep(LOOPBACK_EVERY)

    async def counting(self) -> None:
        """Send one line of figures a second: the parent takes it for a sign of life."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(1.0)
            lags, self.lags = sorted(self.lags), []
            stats = {
                "type": "stats",
                "started": self.runs.started,
                "missed": self.missed + self.schedule.missed,
                "in_flight": len(self.runs),
                "loop_lag": max(0.0, time.monotonic() - begun - 1.0),
                "lag_p50": lags[len(lags) // 2] if lags else 0.0,
                "lag_p99": lags[int(len(lags) * 0.99)] if lags else 0.0,
                "lag_max": lags[-1] if lags else 0.0,
                "deaf": self.deaf,
            }
            if self.custody is not None:
                stats["slow"] = self.custody.look()
            self.writer.write(pack(stats))


async def serve(name: str, fd: int, flight: int) -> None:
    """Serve the parent at the other end of the socket, until it closes."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    custody = Custody(fd, flight) if name == "plugins" else None
    host = Host(writer, LeanAsker(), custody)
    loops = [
        asyncio.create_task(host.turn(), name="turn"),
        asyncio.create_task(host.flushing(), name="flushing"),
        asyncio.create_task(host.counting(), name="counting"),
        asyncio.create_task(host.listening(), name="listening"),
    ]
    for loop in loops:
        loop.add_done_callback(lambda _: writer.transport.abort())  # without one of them we are no host: end
    try:
        while (message := await receive(reader)) is not None:
            host.take(message)
    finally:
        tasks = [*loops, *host.runs.tasks]
        for task in tasks:
            task.cancel()
        _, stuck = await asyncio.wait(tasks, timeout=GRACE)
        await host.asker.close()
        await host.probe.close()
        if stuck:  # a check that will not be cancelled must not keep us either
            os._exit(1)


def main() -> None:
    """Run as a program: `python -m supervisor.runtime.checkhost_child --name prober --fd N --flight N`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--flight", type=int, required=True)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    keep_short()
    try:
        uvloop.run(serve(arguments.name, arguments.fd, arguments.flight))
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:  # noqa: BLE001  # one line for the log, which takes few
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(clean(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"))


if __name__ == "__main__":
    main()
