"""A store with a thread of its own, so that a slow disk never stops the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from supervisor.core.model import Record
from supervisor.ports import Store

T = TypeVar("T")


class Writer:
    """Opens, loads, commits and closes on one thread. A commit is never cancelled half-way."""

    def __init__(self) -> None:
        """Start the thread; `open` brings the store."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None

    async def open(self, make: Callable[[], Store]) -> Sequence[Record]:
        """Open the store and return every record. Raises what `make` and `load` raise."""
        self._store = store = await self._run(make)
        return await self._run(store.load)

    async def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Commit; cancelling waits for the disk first."""
        store = self._store
        if store is None:
            raise RuntimeError("the store is not open")
        await asyncio.shield(self._run(lambda: store.commit(changes, deletes)))

    async def close(self) -> None:
        """Let everything that was begun end, then close."""
        if self._store is not None:
            await self._run(self._store.close)
            self._store = None
        self._pool.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
