"""The check host: a child process that runs checks on a cadence and sends what they answer.

One program, started twice: as the *prober* for the built-in network checks, and as the *plugin host* for third-party
ones and for programs, so that a blocking or greedy plugin hurts neither the supervisor nor the prober. It holds no cloud
credentials, and ends with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from supervisor.api import Check, CheckResult, Instance, NoAnswer, Probe, Refusal
from supervisor.core.duration import words
from supervisor.core.terms import Status
from supervisor.core.text import clean
from supervisor.plugins import discover
from supervisor.runtime.custody import Custody
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, boottime, run_check
from supervisor.runtime.wheel import Wheel, phase
from supervisor.runtime.wire import Message, pack, receive

TICK = 0.01
FLUSH = 0.05
LARGEST_BATCH = 500
MOST_IN_FLIGHT = 4000
FASTEST = 0.2
STALL = 0.1
"""Seconds without a turn of our own that count as standing still."""
STOOD_STILL = 0.5
"""Seconds of standing still, or half the time limit, during which an answer that did not come proves nothing."""
GRACE = 1.0
"""Seconds that a check has to end once its time is up."""
MOST_ASKED = 200
"""Runs in flight besides the schedule: a challenge asks hundreds of machines at once, and must not starve the others."""
LOOPBACK_EVERY = 5.0
LOOPBACK_LIMIT = 2.0

Pair = tuple[str, str]  # instance, check


@dataclass(frozen=True, slots=True)
class _Spec:
    name: str
    kind: str
    file: str
    check: Check
    interval: float
    timeout: float


@dataclass(frozen=True, slots=True)
class _Flight:
    task: asyncio.Task[None]
    begun: float
    limit: float  # its time limit, as it was stretched when it began
    asked: bool  # besides the schedule


class Benched(Check):
    """Stands in for a check whose kind is not run for a while."""

    why: str

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Say so."""
        return CheckResult.unknown(self.why)


class Host:
    """Cadence, runs in flight, and the batch of results on its way."""

    def __init__(self, writer: asyncio.StreamWriter, custody: Custody | None = None) -> None:
        """Begin with nothing to watch; `custody` keeps an eye on foreign code."""
        self.custody = custody
        self.writer = writer
        self.probe = NetworkProbe()
        self.specs: dict[str, dict[str, _Spec]] = {}
        self.instances: dict[str, tuple[Instance, bool]] = {}
        self.wheel: Wheel[Pair] = Wheel(boottime())
        self.flying: dict[Pair, _Flight] = {}
        self.asked: dict[Pair, None] = {}  # wait to be run besides the schedule, the first asked first
        self.stretch = 1.0
        self.loopback = 0  # the port of a listener of our parent's, 0 for none
        self.deaf = ""  # why that listener could not be reached the last time
        self.told: dict[Pair, tuple[str, str]] = {}
        self.batch: list[list[Any]] = []  # Any: JSON
        self.started = 0
        self.missed = 0
        self.lags: list[float] = []
        self.turned = boottime()
        self.stood = 0.0  # seconds, since the start

    # -- what to watch

    def take(self, message: Message) -> None:
        """Take one message of the parent."""
        match message["type"]:
            case "configure":
                self._configure(message)
            case "observe":
                for item in message["instances"]:
                    fast = bool(item.pop("fast"))
                    self._observe(Instance(**item), fast=fast)
            case "forget":
                for name in message["instances"]:
                    self._forget(name)
            case "ask":
                for name in message["instances"]:
                    self._ask(name)
            case "stretch":
                self.stretch = max(1.0, float(message["factor"]))
            case other:
                raise ValueError(f"message {other!r} is not known")

    def _configure(self, message: Message) -> None:
        self.loopback = int(message["loopback"])
        catalogue = discover([Path(p) for p in message["paths"]])
        self.specs = {
            fleet: {c["name"]: _spec(c, catalogue.checks[c["kind"]].cls) for c in checks}
            for fleet, checks in message["fleets"].items()
        }
        for instance, fast in list(self.instances.values()):
            self._forget(instance.id)
            self._observe(instance, fast=fast)

    def _observe(self, instance: Instance, *, fast: bool) -> None:
        known = self.instances.get(instance.id)
        self.instances[instance.id] = (instance, fast)
        now = boottime()
        for spec in self.specs.get(instance.fleet, {}).values():
            pair = (instance.id, spec.name)
            if known is None:
                start = phase(f"{instance.id}/{spec.name}", spec.interval)
                self.wheel.add(pair, now + (start - now) % (_pace(spec, fast=fast)))
            elif known[1] != fast and pair not in self.flying:
                self.wheel.add(pair, now + phase(f"{instance.id}/{spec.name}", _pace(spec, fast=fast)))

    def _forget(self, name: str) -> None:
        known = self.instances.pop(name, None)
        if known is None:
            return
        for check in self.specs.get(known[0].fleet, {}):
            self.wheel.remove((name, check))
            self.told.pop((name, check), None)
            self.asked.pop((name, check), None)

    def _ask(self, name: str) -> None:
        """Have every check of an instance run besides its schedule; asked twice before it could run, it runs once."""
        known = self.instances.get(name)
        for check in self.specs.get(known[0].fleet, {}) if known else ():
            self.asked[name, check] = None

    # -- running

    async def turn(self) -> None:
        """Start what is due, for ever."""
        while True:
            now = boottime()
            self.stood = self._stood(now)
            self.turned = now
            for pair, due in self.wheel.advance(now):
                self._start(pair, due)
            if self.asked:
                self._start_asked()
            await asyncio.sleep(TICK)

    def _stood(self, now: float) -> float:
        """Return for how many seconds we have stood still, all together."""
        return self.stood + (now - self.turned if now - self.turned > STALL else 0.0)

    def _start(self, pair: Pair, due: float) -> None:
        known = self.instances.get(pair[0])
        spec = self.specs.get(known[0].fleet, {}).get(pair[1]) if known else None
        if known is None or spec is None:
            return
        instance, fast = known
        now = boottime()
        pace = _pace(spec, fast=fast)
        following = due + pace
        if following <= now:  # time was lost: go on from now, on the same phase
            lost = int((now - due) / pace)
            self.missed += lost
            following = due + (lost + 1) * pace
        self.wheel.add(pair, following)
        if pair in self.flying or len(self.flying) >= MOST_IN_FLIGHT:
            flight = self.flying.get(pair)
            self.missed += 0 if flight is not None and (fast or flight.asked) else 1
            self._press(pair, now)
            return
        self.lags.append(now - due)
        self._launch(pair, spec, instance, now, asked=False)

    def _start_asked(self) -> None:
        """Start what was asked besides the schedule, as far as there is room.

        Who is in flight waits for its turn: that answer was on its way before anybody asked, and proves nothing.
        """
        room = min(MOST_ASKED - sum(1 for f in self.flying.values() if f.asked), MOST_IN_FLIGHT - len(self.flying))
        ready = (pair for pair in list(self.asked) if pair not in self.flying)
        for pair in islice(ready, max(0, room)):
            del self.asked[pair]
            known = self.instances.get(pair[0])
            spec = self.specs.get(known[0].fleet, {}).get(pair[1]) if known else None
            if known is not None and spec is not None:
                self._launch(pair, spec, known[0], boottime(), asked=True)

    def _launch(self, pair: Pair, spec: _Spec, instance: Instance, now: float, *, asked: bool) -> None:
        self.started += 1
        # However slow we are ourselves, an answer comes before the same question is due again.
        limit = min(spec.timeout * self.stretch, max(spec.interval, spec.timeout))
        task = asyncio.create_task(self._run(pair, spec, instance, limit), name=f"{pair[1]} of {pair[0]}")
        self.flying[pair] = _Flight(task, now, limit, asked)

    def _press(self, pair: Pair, now: float) -> None:
        """Cancel a run again that goes on although it was told that its time is up, and say so."""
        flight = self.flying.get(pair)
        if flight is not None and now - flight.begun > flight.limit + GRACE:
            flight.task.cancel()
            text = f"the check goes on, {words(now - flight.begun)} after it began, though its time was up; mend it"
            self._report(pair, Ran(CheckResult.unknown(text), now, now))

    async def _run(self, pair: Pair, spec: _Spec, instance: Instance, limit: float) -> None:
        stood = self.stood
        running = run_check(spec.check, instance, self.probe, limit)
        try:
            ran = await (self.custody.hold(spec.kind, spec.file, running) if self.custody else running)
        finally:
            self.flying.pop(pair, None)
        if ran.result.silent and self._stood(boottime()) - stood > min(STOOD_STILL, limit / 2):
            # The answer may have come and waited: our own standing still is no instance's silence.
            ran = replace(ran, result=CheckResult.unknown("the check host itself stood still meanwhile"))
        if pair[0] in self.instances:
            self._report(pair, ran)

    def _report(self, pair: Pair, ran: Ran) -> None:
        result = ran.result
        text = result.text
        if result.status is Status.OK:  # a pass is told in words once, when it is new
            if self.told.get(pair) == ("ok", text):
                text = ""
            else:
                self.told[pair] = ("ok", text)
        else:
            self.told.pop(pair, None)
        item = [pair[0], pair[1], str(result.status), int(result.silent), round(ran.sent, 6), round(ran.done, 6), text]
        self.batch.append([*item, dict(result.metrics)] if result.metrics else item)
        if len(self.batch) >= LARGEST_BATCH:
            self.flush()

    def flush(self) -> None:
        """Send the results that wait."""
        if self.batch and not self.writer.transport.is_closing():
            self.writer.write(pack({"type": "results", "results": self.batch}))
        self.batch = []

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
                "started": self.started,
                "missed": self.missed,
                "in_flight": len(self.flying),
                "loop_lag": max(0.0, time.monotonic() - begun - 1.0),
                "lag_p50": lags[len(lags) // 2] if lags else 0.0,
                "lag_p99": lags[int(len(lags) * 0.99)] if lags else 0.0,
                "lag_max": lags[-1] if lags else 0.0,
                "deaf": self.deaf,
            }
            if self.custody is not None:
                stats["slow"] = self.custody.look()
            self.writer.write(pack(stats))


def _spec(told: dict[str, Any], cls: type[Check]) -> _Spec:  # Any: JSON
    check = Benched(why=told["benched"]) if told["benched"] else cls(**told["options"])
    return _Spec(told["name"], told["kind"], inspect.getfile(cls), check, told["interval"], told["timeout"])


def _pace(spec: _Spec, *, fast: bool) -> float:
    return max(FASTEST, spec.interval / 5) if fast and spec.interval > FASTEST else spec.interval


async def serve(name: str, fd: int, flight: int) -> None:
    """Serve the parent at the other end of the socket, until it closes."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    custody = Custody(fd, flight) if name == "plugins" else None
    host = Host(writer, custody)
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
        tasks = [*loops, *(flight.task for flight in host.flying.values())]
        for task in tasks:
            task.cancel()
        _, stuck = await asyncio.wait(tasks, timeout=GRACE)
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
    gc.freeze()
    try:
        uvloop.run(serve(arguments.name, arguments.fd, arguments.flight))
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:  # noqa: BLE001  # one line for the log, which takes few
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(clean(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"))


if __name__ == "__main__":
    main()
