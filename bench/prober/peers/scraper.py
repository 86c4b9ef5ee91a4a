"""Scrapes paths of a program on this machine, each once a second, over connections that are kept.

    python -m bench.prober.peers.scraper PORT FILE_OF_PATHS FILE_FOR_ERRORS

Once a second the number of scrapes that did not say `probe_success 1` is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

CONNECTIONS = 64
WELL = b"probe_success 1"


class Scraper:
    """A pool of connections, and what went wrong."""

    def __init__(self, port: int) -> None:
        """Nothing is opened before the first scrape."""
        self.errors = 0
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def scrape(self, path: str) -> None:
        """Scrape once."""
        async with self._room:
            try:
                reader, writer = self._idle.pop() if self._idle else await self._open()
                writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
                body = await _answer(reader)
                self._idle.append((reader, writer))
                self.errors += WELL not in body
            except (OSError, EOFError, ValueError):
                self.errors += 1

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def ready(self) -> None:
        """Wait until it listens."""
        while True:
            with contextlib.suppress(OSError):
                self._idle.append(await self._open())
                return
            await asyncio.sleep(0.1)


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in head:
        return await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
    body = b""
    while size := int(await reader.readline(), 16):  # chunked
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


async def scrape(port: int, paths: list[str], told: Path) -> None:
    """Scrape for ever."""
    scraper = Scraper(port)
    await scraper.ready()
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    flying: set[asyncio.Task[None]] = set()
    while True:
        due = began + number / len(paths)
        await asyncio.sleep(max(0.0, due - loop.time()))
        task = loop.create_task(scraper.scrape(paths[number % len(paths)]))
        flying.add(task)
        task.add_done_callback(flying.discard)
        number += 1
        if number % len(paths) == 0:
            beside = told.with_suffix(".new")
            beside.write_text(str(scraper.errors))
            os.replace(beside, told)


if __name__ == "__main__":
    asyncio.run(scrape(int(sys.argv[1]), Path(sys.argv[2]).read_text().split(), Path(sys.argv[3])))
