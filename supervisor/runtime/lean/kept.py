"""Connections that wait for their next question."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from select import EPOLLOUT
from time import monotonic

from supervisor.core.terms import Seconds
from supervisor.runtime.lean.tls import Channel, Key

IDLE: Seconds = 120.0
"""A connection that nobody has wanted for that long is closed: its instance may be gone."""


@dataclass(slots=True, eq=False)
class Kept:
    """A connection without a question. Whatever comes now was not asked for, the end of it included: it is closed."""

    key: Key
    sock: socket.SocketType
    fd: int
    channel: Channel | None
    drop: Callable[[Kept], None]
    since: Seconds = 0.0

    def on(self, events: int) -> None:
        """Close."""
        if events != EPOLLOUT:
            self.drop(self)


class Pool:
    """The kept connections, one to a place, and no more than half of our descriptors."""

    def __init__(self, unwatch: Callable[[int], None]) -> None:
        """Begin with none; `unwatch` is told of a descriptor that is about to be closed."""
        self._unwatch = unwatch
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._kept: dict[Key, Kept] = {}  # who waits longest first

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)

    def put(self, kept: Kept) -> bool:
        """Keep a connection, if there is room and none to the same place; return whether it is kept."""
        if kept.key in self._kept or len(self._kept) >= self._most:
            return False
        kept.since = monotonic()
        self._kept[kept.key] = kept
        return True

    def take(self, key: Key) -> Kept | None:
        """Return the connection to a place, and let go of it."""
        return self._kept.pop(key, None)

    def drop(self, kept: Kept) -> None:
        """Close one."""
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
        self._unwatch(kept.fd)
        kept.sock.close()

    def sweep(self, now: Seconds) -> None:
        """Close those that nobody has wanted for long."""
        while self._kept and (oldest := next(iter(self._kept.values()))).since + IDLE <= now:
            self.drop(oldest)

    def close(self) -> None:
        """Close all."""
        for kept in list(self._kept.values()):
            self.drop(kept)
