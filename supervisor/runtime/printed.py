"""What a check host prints: a few lines a minute are logged, the rest is counted. The daemon's own log stays readable.

Reading is slow on purpose: a plugin that prints without end is held up by its own full pipe, and so blocks its host and
is found out, instead of costing the supervisor a core.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from supervisor.core.text import clean

LINES = 5
EVERY = 60.0
"""At most so many lines are passed on in so many seconds."""
LONGEST_LINE = 300
CHUNK = 64 * 1024
BREATH = 0.02  # seconds between two reads: 3 MiB/s

Tell = Callable[[str, int], None]  # a line, and the bytes that were dropped since the last


class Sampler:
    """Picks the lines to pass on. Pure: the caller brings the time, in seconds."""

    def __init__(self) -> None:
        """Begin a first minute with the first line."""
        self._rest = b""
        self._since = float("-inf")
        self._told = 0
        self.dropped = 0

    def take(self, data: bytes, now: float) -> list[str]:
        """Take what was read; return the lines worth telling. Counts the bytes of the others in `dropped`."""
        if now - self._since >= EVERY:
            self._since, self._told = now, 0
        if self._told >= LINES:  # not even split: there may be a great deal of it
            self.dropped += len(self._rest) + len(data)
            self._rest = b""
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > CHUNK:  # a line without an end
            lines, self._rest = [*lines, self._rest], b""
        told: list[str] = []
        for line in lines:
            text = clean(line[: 4 * LONGEST_LINE].decode(errors="replace"), LONGEST_LINE)
            if text and self._told < LINES:
                self._told += 1
                told.append(text)
            else:
                self.dropped += len(line) + 1
        return told


class Printed:
    """Reads a pipe until it ends, and tells."""

    def __init__(self, descriptor: int, tell: Tell) -> None:
        """Begin to read; the descriptor is ours from now on."""
        self._descriptor = descriptor
        self._tell = tell
        self._sampler = Sampler()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        os.set_blocking(descriptor, False)
        self._watch()

    def _watch(self) -> None:
        self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._read():
            self._timer = self._loop.call_later(BREATH, self._watch)

    def _read(self) -> bool:
        """Read once, and tell; return whether there may be more."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return True
        for line in self._sampler.take(data, self._loop.time()):
            self._tell(line, self._sampler.dropped)
            self._sampler.dropped = 0
        return bool(data)

    def close(self) -> None:
        """Hear the last words, and read no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
        self._read()
        os.close(self._descriptor)
