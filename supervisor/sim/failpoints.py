"""Points at which a daemon can be killed: around each commit, and before, after and late at each cloud call.

A kill is a `BaseException` that nothing catches. Every wrapper knows which life it belongs to: after a kill nothing of
that life passes any more, however its tasks unwind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.core.model import Record
from supervisor.core.terms import BootTime
from supervisor.ports import Store
from supervisor.sim.world import World


class Killed(BaseException):  # a kill is no error: nothing may handle it
    """SIGKILL, as the simulation knows it."""


class Life:
    """One life of the daemon: counts its points, and ends at the armed one."""

    def __init__(self, kill_at: int | None = None) -> None:
        """Live on when `kill_at` is None."""
        self.points: list[str] = []
        self.dead = False
        self.killed = asyncio.Event()  # wakes whoever must tear this life down
        self._kill_at = kill_at

    def point(self, name: str) -> None:
        """Pass a point, or die there."""
        self.check()
        self.points.append(name)
        if self._kill_at == len(self.points) - 1:
            self.dead = True
            self.killed.set()
            raise Killed(name)

    def check(self) -> None:
        """Let nothing of a dead life pass."""
        if self.dead:
            raise Killed("already dead")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that reached the disk."""

    order: int
    at: BootTime
    changes: tuple[Record, ...]
    deletes: tuple[Record, ...]


class Journal:
    """A store with a record of every commit, and a point on either side of each."""

    def __init__(self, store: Store, world: World, life: Life, commits: list[Commit]) -> None:
        """Wrap a store for one life; `commits` outlives it."""
        self._store = store
        self._world = world
        self._life = life
        self._commits = commits

    async def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Commit, or die before or after it."""
        self._life.point("commit before")
        self._write(changes, deletes)
        self._life.point("commit after")

    def _write(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        self._store.commit(changes, deletes)
        order = self._world.next_order()
        self._commits.append(Commit(order, self._world.clock.boot, tuple(changes), tuple(deletes)))
