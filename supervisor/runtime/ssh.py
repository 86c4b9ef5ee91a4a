"""Runs commands on instances, over connections that are kept between two runs.

A new connection costs both sides milliseconds of arithmetic, a command on one that is there a third of that. One that
was closed meanwhile, or begins no session any more, is nobody's fault: the command is run over a new one, once.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

from supervisor.api import ProgramAnswer, SshLogin, Unrunnable
from supervisor.core.terms import Seconds
from supervisor.runtime.lean.names import refuse_forbidden

if TYPE_CHECKING:
    from supervisor.runtime.ssh_line import Line

IDLE: Seconds = 120.0
"""A connection that nobody has wanted for that long is closed."""
MOST_KEPT = 1000
"""Connections that are kept. Whoever is in stays in: the first in first out would keep nobody of a larger fleet."""

Place: TypeAlias = tuple[str, SshLogin]
Connect: TypeAlias = "Callable[[str, SshLogin], Awaitable[Line]]"


class NoSession(Exception):
    """No command could be begun on a connection. `meaning` is what that says when the connection is a new one."""

    def __init__(self, meaning: Exception) -> None:
        """Say what it would mean."""
        super().__init__(str(meaning))
        self.meaning = meaning


@dataclass(slots=True, eq=False)
class _Kept:
    """A connection, how many commands run on it, and when it is closed if there is no other."""

    line: Line
    running: int = 0
    idle: asyncio.TimerHandle | None = None


class Ssh:
    """Every connection of one process."""

    def __init__(self) -> None:
        """Open nothing, and import nothing, yet."""
        self._kept: dict[Place, _Kept] = {}
        self._running: set[_Kept] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._connect: Connect | None = None
        self._locks: WeakValueDictionary[Place, asyncio.Lock] = WeakValueDictionary()

    async def run(self, host: str, argv: Sequence[str], login: SshLogin) -> ProgramAnswer:
        """Run once, and leave nothing behind when cancelled. Raises `Refusal`, `NoAnswer`, `Unrunnable`."""
        refuse_forbidden(host)
        connect = await self._ready()
        command, place = shlex.join(argv), (host, login)
        while True:
            kept, is_new = await self._take(place, connect)
            try:
                answer = await kept.line.run(command)
            except NoSession as error:
                self._retire(place, kept)
                if is_new:
                    raise error.meaning from error
            except BaseException:
                self._retire(place, kept)  # what comes next shall show whether the machine takes a new one
                raise
            else:
                return answer
            finally:
                self._give_back(place, kept)

    async def _ready(self) -> Connect:
        """Return what connects: imported once, in a thread, as that takes the third of a second."""
        if self._connect is None:
            try:
                self._connect = await asyncio.to_thread(_library)
            except ImportError as error:
                raise Unrunnable("asyncssh is not installed; run `pip install 'sickbay[ssh]'`") from error
        return self._connect

    async def _take(self, place: Place, connect: Connect) -> tuple[_Kept, bool]:
        """Return a connection, and whether it is new; one at a time for each place, so that two share one."""
        async with self._locks.setdefault(place, asyncio.Lock()):
            kept, is_new = self._kept.get(place), False
            if kept is None or not kept.line.is_open:
                kept, is_new = _Kept(await connect(*place)), True
                if place in self._kept or len(self._kept) < MOST_KEPT:
                    self._kept[place] = kept
            if kept.idle is not None:
                kept.idle.cancel()
                kept.idle = None
            kept.running += 1
            self._running.add(kept)
            return kept, is_new

    def _give_back(self, place: Place, kept: _Kept) -> None:
        kept.running -= 1
        if kept.running:
            return
        self._running.discard(kept)
        if self._kept.get(place) is kept:
            kept.idle = asyncio.get_running_loop().call_later(IDLE, self._tire, place, kept)
        else:
            self._leave(kept)

    def _retire(self, place: Place, kept: _Kept) -> None:
        """Give this connection to nobody else; it is closed when its last command has ended."""
        if self._kept.get(place) is kept:
            del self._kept[place]

    def _tire(self, place: Place, kept: _Kept) -> None:
        self._retire(place, kept)
        self._leave(kept)

    def _leave(self, kept: _Kept) -> None:
        leaving = asyncio.create_task(kept.line.close(), name="leaving a machine")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Close every connection."""
        for kept in {*self._kept.values(), *self._running}:
            if kept.idle is not None:
                kept.idle.cancel()
            self._leave(kept)
        self._kept.clear()
        await asyncio.gather(*self._leaving)


def _library() -> Connect:
    from supervisor.runtime.ssh_line import connect  # noqa: PLC0415  # asyncssh is an extra, and 14 MB

    return connect
