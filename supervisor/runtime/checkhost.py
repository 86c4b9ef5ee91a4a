"""The parent's side of the check hosts: starts them, feeds them, restarts them. While one is dead nothing is known.

`CheckHosts` owns both children and is the one that the rest of the program talks to.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from supervisor.core.model import Status
from supervisor.core.signals import Command, Forget, Observe, Result
from supervisor.runtime.checkhost_child import environment
from supervisor.runtime.wire import Message, pack, receive

log = structlog.get_logger()

STALLED_AFTER = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
STATUS = {str(status): status for status in Status}


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a fleet, as a host needs it."""

    name: str
    kind: str
    options: Mapping[str, Any]  # Any: the kind's own keys
    interval: float
    timeout: float
    builtin: bool


@dataclass(slots=True)
class HostStats:
    """The last figures of a host, and how often it was started."""

    alive: bool = False
    restarts: int = -1
    last: Message = field(default_factory=dict)


class ChildHost:
    """One child process and everything it was told, so that its successor can be told the same."""

    def __init__(self, name: str, results: asyncio.Queue[Sequence[Result]]) -> None:
        """Prepare; `run` starts the process."""
        self.name = name
        self.stats = HostStats()
        self._results = results
        self._configuration: Message = {"type": "configure", "paths": [], "fleets": {}}
        self._instances: dict[str, dict[str, Any]] = {}  # Any: JSON
        self._writer: asyncio.StreamWriter | None = None

    def configure(self, fleets: Mapping[str, Sequence[CheckSpec]], paths: Sequence[Path]) -> None:
        """Take the checks of every fleet."""
        self._configuration = {
            "type": "configure",
            "paths": [str(p) for p in paths],
            "fleets": {
                fleet: [
                    {
                        "name": s.name,
                        "kind": s.kind,
                        "options": dict(s.options),
                        "interval": s.interval,
                        "timeout": s.timeout,
                    }
                    for s in specs
                ]
                for fleet, specs in fleets.items()
            },
        }
        self._send(self._configuration)

    def apply(self, commands: Sequence[Command]) -> None:
        """Take `Observe` and `Forget`."""
        observed: list[dict[str, Any]] = []  # Any: JSON
        forgotten: list[str] = []
        for command in commands:
            if isinstance(command, Observe):
                item = {
                    "id": command.instance,
                    "fleet": command.fleet,
                    "address": command.address,
                    "zone": command.zone,
                    "image": command.image,
                    "version": command.version,
                    "fast": command.fast,
                }
                known = self._instances.get(command.instance)
                if known is not None and known["address"] != command.address:
                    self._send({"type": "forget", "instances": [command.instance]})
                self._instances[command.instance] = item
                observed.append(item)
            elif isinstance(command, Forget):
                self._instances.pop(command.instance, None)
                forgotten.append(command.instance)
        if observed:
            self._send({"type": "observe", "instances": observed})
        if forgotten:
            self._send({"type": "forget", "instances": forgotten})

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(pack(message))

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
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the daemon's working folder is no place to import from
                "-m",
                "supervisor.runtime.checkhost_child",
                "--name",
                self.name,
                "--fd",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=environment(os.environ),
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        self._writer = writer
        self.stats.alive = True
        self.stats.restarts += 1
        try:
            self._send(self._configuration)
            if self._instances:
                self._send({"type": "observe", "instances": list(self._instances.values())})
            return await self._read(reader)
        finally:
            self._writer = None
            writer.transport.abort()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        while True:
            try:
                async with asyncio.timeout(STALLED_AFTER):
                    message = await receive(reader)
            except TimeoutError:
                return f"no sign of life for {STALLED_AFTER:.0f}s: a check blocks it"
            except ValueError as error:
                return str(error)
            if message is None:
                return "it ended"
            if message["type"] == "stats":
                self.stats.last = message
            elif message["type"] == "results":
                await self._results.put([_result(item) for item in message["results"]])


def _result(item: list[Any]) -> Result:  # Any: JSON
    return Result(item[0], item[1], STATUS[item[2]], bool(item[3]), item[4], item[5], item[6])


class CheckHosts:
    """Both children: the prober for built-in checks, the plugin host for the others, once there are any."""

    def __init__(self) -> None:
        """Prepare; `run` starts them."""
        self._queue: asyncio.Queue[Sequence[Result]] = asyncio.Queue(maxsize=1000)
        self.prober = ChildHost("prober", self._queue)
        self.plugins = ChildHost("plugins", self._queue)
        self._has_plugins = asyncio.Event()

    def configure(self, fleets: Mapping[str, Sequence[CheckSpec]], paths: Sequence[Path]) -> None:
        """Take the checks of every fleet, and send each to its host."""
        self.prober.configure({f: [s for s in specs if s.builtin] for f, specs in fleets.items()}, ())
        foreign = {f: [s for s in specs if not s.builtin] for f, specs in fleets.items()}
        self.plugins.configure(foreign, paths)
        if any(foreign.values()):
            self._has_plugins.set()

    def apply(self, commands: Sequence[Command]) -> None:
        """Take `Observe` and `Forget`; never blocks."""
        self.prober.apply(commands)
        self.plugins.apply(commands)

    async def results(self) -> AsyncIterator[Sequence[Result]]:
        """Yield batches for ever."""
        while True:
            yield await self._queue.get()

    async def run(self) -> None:
        """Keep the hosts alive for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.prober.run(), name="prober")
            await self._has_plugins.wait()
            group.create_task(self.plugins.run(), name="plugin host")
