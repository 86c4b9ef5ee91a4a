"""The parent's side of the check hosts: starts them, feeds them, restarts them. While one is dead nothing is known.

`CheckHosts` owns both children, and the passive checks beside them; it is the one that the rest of the program talks to.
A kind of check that stops its host is named, and benched: it is not run for a while, so that the others can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from supervisor.api import Instance, PassiveCheck, Report
from supervisor.core.signals import AskNow, Command, Forget, Observe, Result, Stretch
from supervisor.core.text import clean
from supervisor.runtime.batch import read
from supervisor.runtime.bench import Bench
from supervisor.runtime.flight import Culprit
from supervisor.runtime.hostprocess import HostProcess
from supervisor.runtime.passive import PassiveHost
from supervisor.runtime.schedule import Spec
from supervisor.runtime.wire import Message, pack, receive

log = structlog.get_logger()

STALLED_AFTER = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
SLOW_AGAIN = 300.0
AT_ONCE = 2000
"""Instances of which a host is told in one message."""


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a fleet, as a host needs it."""

    name: str
    kind: str
    options: Mapping[str, Any]  # Any: the kind's own keys
    interval: float
    timeout: float
    builtin: bool
    passive: PassiveCheck | None = None  # the check itself, where it is judged here


@dataclass(slots=True)
class HostStats:
    """The last figures of a host, and how often it was started."""

    alive: bool = False
    pid: int = 0
    restarts: int = -1
    last: Message = field(default_factory=dict)


class ChildHost:
    """One child process and everything it was told, so that its successor can be told the same."""

    def __init__(
        self,
        name: str,
        watched: Mapping[str, Observe],
        results: asyncio.Queue[Sequence[Result]],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; `run` starts the process, and tells it of everyone who is `watched`.

        `tell` is given a sentence about each check that is benched.
        """
        self.name = name
        self._watched = watched
        self.stats = HostStats()
        self._results = results
        self._tell = tell
        self._bench = Bench()
        self._sitting: dict[str, str] = {}
        self._slow: dict[str, float] = {}
        self._fleets: Mapping[str, Sequence[CheckSpec]] = {}
        self._sources: Mapping[str, str] = {}
        self._names: dict[str, str] = {}
        self._stretch = 1.0
        self._loopback = 0
        self._writer: asyncio.StreamWriter | None = None

    def listen_at(self, port: int) -> None:
        """Have the child ask a listener of ours on 127.0.0.1 as it asks machines; `stats.last["deaf"]` says why it can't."""
        self._loopback = port
        self._send(self._configuration())

    def configure(self, fleets: Mapping[str, Sequence[CheckSpec]], sources: Mapping[str, str]) -> None:
        """Take the checks of every fleet, and the plugins' texts by path. Whoever was benched may play again."""
        self._fleets, self._sources = fleets, sources
        self._names = {spec.name: spec.name for specs in fleets.values() for spec in specs}
        self._bench.clear()
        self._send(self._configuration())

    def _configuration(self) -> Message:
        self._sitting = self._bench.sitting(asyncio.get_running_loop().time())
        return {
            "type": "configure",
            "loopback": self._loopback,
            "sources": dict(self._sources),
            "fleets": {
                fleet: [
                    {
                        "name": s.name,
                        "kind": s.kind,
                        "options": dict(s.options),
                        "interval": s.interval,
                        "timeout": s.timeout,
                        "benched": self._sitting.get(s.kind, ""),
                    }
                    for s in specs
                ]
                for fleet, specs in self._fleets.items()
            },
        }

    def stretch(self, factor: float) -> None:
        """Multiply the time limits."""
        self._stretch = factor
        self._send(self._stretching())

    def send(self, message: bytes) -> None:
        """Tell the child something that its successor will be told otherwise, or need not know."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(message)

    def _stretching(self) -> Message:
        return {"type": "stretch", "factor": self._stretch}

    def _send(self, message: Message) -> None:
        self.send(pack(message))

    async def run(self) -> None:
        """Keep a child alive for ever; each death costs a growing pause."""
        pause = FIRST_PAUSE
        while True:
            begun = asyncio.get_running_loop().time()
            why = await self._live()
            self.stats.alive = False
            log.warning("checkhost.ended", host=self.name, why=why)
            if asyncio.get_running_loop().time() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _live(self) -> str:
        """Run one child until it ends; return why."""
        host = await HostProcess.start(self.name)
        self._writer = host.writer
        self.stats.alive, self.stats.pid = True, host.pid
        self.stats.restarts += 1
        why = ""
        try:
            self._send(self._configuration())
            self._send(self._stretching())
            for message in observing(list(self._watched.values())):
                self.send(message)
            why = await self._read(host.reader)
        finally:
            self._writer = None
            ended = await host.end()
            culprit = host.culprit(ended)
        if culprit is not None:
            self._send_off(culprit)
        return why or f"it {ended}"

    def _send_off(self, culprit: Culprit) -> None:
        sentence = clean(self._bench.send(culprit.kind, culprit.what, asyncio.get_running_loop().time()))
        log.warning("plugin.benched", kind=culprit.kind, text=sentence)
        self._tell(sentence)

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Take messages; return why there will be no more, "" when the child closed its end."""
        while True:
            try:
                async with asyncio.timeout(STALLED_AFTER):
                    message = await receive(reader)
                if message is None:
                    return ""
                if message["type"] == "stats":
                    self._figures(message)
                elif message["type"] == "results":
                    await self._results.put(read(message["results"], self._watched, self._names))
            except TimeoutError:
                return f"no sign of life for {STALLED_AFTER:.0f}s"
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                return f"it sent what no check host sends ({type(error).__name__}: {clean(str(error), 200)})"

    def _figures(self, message: Message) -> None:
        """Take the child's figures, once a second; tell of slow checks; let those play whose time on the bench is over."""
        now = asyncio.get_running_loop().time()
        for kind, seconds in message.pop("slow", {}).items():
            if now - self._slow.get(kind, -SLOW_AGAIN) >= SLOW_AGAIN:
                self._slow[kind] = now
                log.warning("plugin.slow", kind=kind, blocked_for=round(float(seconds), 3))
        self.stats.last = message
        if self._sitting.keys() != self._bench.sitting(now).keys():
            self._send(self._configuration())


def observing(watched: Sequence[Observe]) -> Iterator[bytes]:
    """Tell of instances that are watched, a few thousand at a time: a host takes each message without a pause."""
    for first in range(0, len(watched), AT_ONCE):
        rows = [
            [w.instance, w.fleet, w.address, w.zone, w.image, w.version, w.fast]
            for w in watched[first : first + AT_ONCE]
        ]
        yield pack({"type": "observe", "instances": rows})


class CheckHosts:
    """Both children: the prober for network checks, the plugin host for foreign code, once there is any; and the passive."""

    def __init__(
        self, tell: Callable[[str], None] = lambda _: None, report: Callable[[Instance], Report] = lambda _: Report()
    ) -> None:
        """Prepare; `run` starts them.

        `tell` is given a sentence about each check that is benched; `report` returns what the passive ones judge.
        """
        self._queue: asyncio.Queue[Sequence[Result]] = asyncio.Queue(maxsize=1000)
        self._watched: dict[str, Observe] = {}
        self.prober = ChildHost("prober", self._watched, self._queue)
        self.plugins = ChildHost("plugins", self._watched, self._queue, tell)
        self.passive = PassiveHost(report, self._queue)
        self._has_plugins = asyncio.Event()

    def configure(self, fleets: Mapping[str, Sequence[CheckSpec]], sources: Mapping[str, str]) -> None:
        """Take the checks of every fleet, and the plugins' texts by path; send each to its host."""
        passive = {
            fleet: {
                s.name: Spec(s.name, s.kind, "", s.passive, s.interval, s.timeout)
                for s in specs
                if s.passive is not None
            }
            for fleet, specs in fleets.items()
        }
        asking = {fleet: [s for s in specs if s.passive is None] for fleet, specs in fleets.items()}
        self.prober.configure({f: [s for s in specs if s.builtin] for f, specs in asking.items()}, {})
        foreign = {f: [s for s in specs if not s.builtin] for f, specs in asking.items()}
        self.plugins.configure(foreign, sources)
        self.passive.configure({fleet: specs for fleet, specs in passive.items() if specs}, self._watched.values())
        if any(foreign.values()):
            self._has_plugins.set()

    def apply(self, commands: Sequence[Command]) -> None:
        """Take `Observe`, `Forget`, `AskNow` and `Stretch`; never blocks."""
        observed: list[Observe] = []
        forgotten: list[str] = []
        asked: dict[str, None] = {}
        for command in commands:
            match command:
                case Observe():
                    known = self._watched.get(command.instance)
                    if known is not None and known.address != command.address:
                        self._tell({"type": "forget", "instances": [command.instance]})
                    self._watched[command.instance] = command
                    self.passive.observe(command)
                    observed.append(command)
                case Forget():
                    self._watched.pop(command.instance, None)
                    self.passive.forget(command.instance)
                    forgotten.append(command.instance)
                case AskNow():
                    asked |= dict.fromkeys(command.instances)
                case Stretch():
                    for host in (self.prober, self.plugins):
                        host.stretch(command.factor)
                case _:
                    pass
        for message in observing(observed):
            for host in (self.prober, self.plugins):
                host.send(message)
        if forgotten:
            self._tell({"type": "forget", "instances": forgotten})
        if asked:
            self._tell({"type": "ask", "instances": list(asked)})
            self.passive.ask(asked)

    def _tell(self, message: Message) -> None:
        for host in (self.prober, self.plugins):
            host.send(pack(message))

    async def results(self) -> AsyncIterator[Sequence[Result]]:
        """Yield batches for ever."""
        while True:
            yield await self._queue.get()

    async def run(self) -> None:
        """Keep the hosts alive for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.prober.run(), name="prober")
            group.create_task(self.passive.run(), name="passive checks")
            await self._has_plugins.wait()
            group.create_task(self.plugins.run(), name="plugin host")
