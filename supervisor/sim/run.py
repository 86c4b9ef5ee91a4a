"""Runs the production service in a world: one life after another, killed where a test says, on one journal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from supervisor.core.model import OutboxMessage, Record
from supervisor.core.settings import Settings
from supervisor.core.terms import Seconds
from supervisor.ports import Chat, Cloud, Store, Telling, Told
from supervisor.runtime.loop import Journal as JournalPort
from supervisor.runtime.recorder import Pen
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Commit, Journal, Killed, Life
from supervisor.sim.host import SimHost
from supervisor.sim.world import World

Script = Callable[[Service, World], Awaitable[None]]
MakeCloud = Callable[[World, str, Life], Cloud]
MakeJournal = Callable[[Store, World, Life, list[Commit]], JournalPort]


class Memory:
    """A chat that remembers."""

    def __init__(self) -> None:
        """Begin with silence."""
        self.messages: list[OutboxMessage] = []

    async def tell(self, telling: Telling) -> Told:
        """Remember."""
        self.messages.extend(telling.messages)
        return Told(len(telling.messages))

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True)
class Stage:
    """A world, a journal and the commits on it: what outlives a daemon."""

    world: World
    store: Store
    settings: Settings
    commits: list[Commit] = field(default_factory=list)
    chat: Memory = field(default_factory=Memory)
    chats: dict[str, Chat] = field(default_factory=dict)  # surfaces that behave otherwise
    make_cloud: MakeCloud = FakeCloud
    make_journal: MakeJournal = Journal
    pen: Pen | None = None  # writes the history

    def live(self, script: Script, kill_at: int | None = None) -> Life:
        """Live one life: until the script ends, or until it is killed."""
        life = Life(kill_at)
        with contextlib.suppress(Killed):
            self.world.clock.run(self._live(script, life))
        life.dead = True
        return life

    async def _live(self, script: Script, life: Life) -> None:
        clouds = {name: self.make_cloud(self.world, name, life) for name in self.settings.fleets}
        checks = {name: fleet.checks for name, fleet in self.settings.fleets.items()}
        chats: dict[str, Chat] = {name: self.chats.get(name, self.chat) for name in self.settings.surfaces}
        service = Service(
            settings=self.settings,
            records=self.store.load(),
            journal=self.make_journal(self.store, self.world, life, self.commits),
            clouds=clouds,
            host=SimHost(self.world, checks, life),
            chats=chats,
            clock=self.world.clock,
            pen=self.pen,
        )
        running = asyncio.ensure_future(service.run())
        playing = asyncio.ensure_future(script(service, self.world))
        killed = asyncio.ensure_future(life.killed.wait())
        try:
            await asyncio.wait([running, playing, killed], return_when=asyncio.FIRST_COMPLETED)
            for task in (running, playing):
                if task.done() and not task.cancelled() and task.exception() is not None:
                    raise _root(task.exception())
        finally:
            life.dead = True
            tasks = (asyncio.all_tasks() | {running, playing}) - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # of those that are done, too: nobody else asks
            await service.close()  # the steps that were killed: they are done, and the executor alone knows them

    def records(self) -> Sequence[Record]:
        """Return what the journal holds."""
        return self.store.load()


def _root(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or RuntimeError("no error")


async def until(done: Callable[[], bool], limit: Seconds, step: Seconds = 0.25) -> None:
    """Wait on virtual time, looking ever more seldom. Raises `TimeoutError` after `limit` seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not done():
        waited = loop.time() - begun
        if waited >= limit:
            raise TimeoutError(f"not within {limit:.0f}s of virtual time")
        await asyncio.sleep(max(step, min(2.0, step * waited / 60.0)))
