"""Bounds who is connected: so many at a time, and nobody keeps a place without a request.

Without it, connections that say nothing, or a header a minute, would take every descriptor that healing needs. Stands
between the listening socket and aiohttp's protocol; knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from supervisor.surfaces.web.routes import Handler

MOST = 300  # connections of a listener: every reader of the event stream, and others
HEAD = 10.0  # seconds for the first request to be there
IDLE = 60.0  # seconds until the next one is, and for the last answer to be taken


class Connection(asyncio.Protocol):
    """One connection: hands everything on, and ends when its time is over."""

    def __init__(self, inner: web.RequestHandler, door: Connections) -> None:
        """Wrap aiohttp's protocol."""
        self.inner = inner
        self._door = door
        self._transport: asyncio.BaseTransport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place."""
        self._transport = transport
        self._door.enter(self)
        self.inner.connection_made(transport)
        self.allow(self._door.head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give it back."""
        self.busy()
        self._door.leave(self)
        self.inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        self.inner.data_received(data)

    def eof_received(self) -> None:
        """Hand on that no more comes."""
        self.inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the other side takes nothing."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it does again."""
        self.inner.resume_writing()

    def allow(self, seconds: float) -> None:
        """Let it be idle for so long."""
        self.busy()
        self._end = asyncio.get_running_loop().call_later(seconds, self.end)

    def busy(self) -> None:
        """Let it be: a request is being answered."""
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def end(self) -> None:
        """Close it at once, whatever is still to be sent."""
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


class Connections:
    """The connections of one listener, those without a request in the order in which they may be ended."""

    def __init__(
        self, make: Callable[[], web.RequestHandler], *, most: int = MOST, head: float = HEAD, idle: float = IDLE
    ) -> None:
        """`make` is aiohttp's server; `head` and `idle` are seconds."""
        self.most, self.head, self.idle = most, head, idle
        self._make = make
        self._all: dict[web.RequestHandler, Connection] = {}
        self._waiting: OrderedDict[Connection, None] = OrderedDict()

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._make(), self)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    def enter(self, new: Connection) -> None:
        """Make room: who has waited longest without a request goes; where all are busy, who came last."""
        if len(self._all) >= self.most:
            oldest = next(iter(self._waiting), None)
            if oldest is not None:
                self.leave(oldest)
            (oldest or new).end()
        self._all[new.inner] = new
        self._waiting[new] = None

    def leave(self, gone: Connection) -> None:
        """Forget one."""
        self._all.pop(gone.inner, None)
        self._waiting.pop(gone, None)

    @web.middleware
    async def timed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While a request is answered its connection is not idle; afterwards it waits for the next one."""
        found = self._all.get(request.protocol)
        if found is not None:
            self._waiting.pop(found, None)
            found.busy()
        try:
            return await handler(request)
        finally:
            if found is not None and found.inner in self._all:
                self._waiting[found] = None
                found.allow(self.idle)
