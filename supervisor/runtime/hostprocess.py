"""One process of a check host: started in a bare environment, listened to, and ended with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from supervisor.runtime import flight, stragglers
from supervisor.runtime.printed import Printed

log = structlog.get_logger()

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONWARNINGS", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What a check host may see of the environment: no credentials of any kind."""
FAREWELL = 1.0  # seconds that a host has to end once it has closed its socket


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A running host. `end` must be awaited, whatever happens."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _process: asyncio.subprocess.Process
    _printed: Printed
    _mark: str
    _flight: int

    @classmethod
    async def start(cls, name: str) -> HostProcess:
        """Start a host."""
        mark = secrets.token_hex(8)
        ours, theirs = socket.socketpair()
        output, printer = os.pipe()
        recorder = flight.new_memory()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-Pu",  # the daemon's working folder is no place to import from; and what is printed is told at once
                "-m",
                "supervisor.runtime.checkhost_child",
                *("--name", name, "--fd", str(theirs.fileno()), "--flight", str(recorder)),
                pass_fds=[theirs.fileno(), recorder],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=printer,
                stderr=printer,
                env=_environment(os.environ) | {stragglers.MARK: mark},
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (output, recorder):
                os.close(descriptor)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(printer)
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:  # nobody would ever end it
            stragglers.kill_group(process.pid)
            for descriptor in (output, recorder):
                os.close(descriptor)
            ours.close()
            raise
        printed = Printed(
            output, lambda text, dropped: log.warning("plugin.printed", host=name, text=text, dropped=dropped)
        )
        return cls(reader, writer, process, printed, mark, recorder)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def end(self) -> str:
        """Kill it, its process group, and whatever of it had hidden; return how it ended, in words."""
        self.writer.transport.abort()
        if self.reader.at_eof():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self._process.wait()
        killed = self._process.returncode is None
        if killed:
            family = stragglers.descendants(self._process.pid)
            stragglers.kill_group(self._process.pid)
            stragglers.kill(family)
        await self._process.wait()
        if not await stragglers.kill_all(lambda: stragglers.marked(self._mark)):
            log.warning("checkhost.lingers", pids=stragglers.marked(self._mark))
        self._printed.close()
        return "had to be killed" if killed else _words(self._process.returncode or 0)

    def culprit(self, ended: str) -> flight.Culprit | None:
        """Return the check that had the processor when it ended, if any. Only once, after `end`."""
        try:
            return flight.read(self._flight, ended)
        finally:
            os.close(self._flight)


def _environment(parent: Mapping[str, str]) -> dict[str, str]:
    return {name: parent[name] for name in INHERITED if name in parent}


def _words(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
