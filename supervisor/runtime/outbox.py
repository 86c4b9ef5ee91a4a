"""Tells people what is in the outbox, in order, one surface not waiting for another.

A message is deleted once its surface took it. A surface that refuses delays only itself: its messages wait, with a
growing pause, and are told in order when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from supervisor.core.engine import Engine
from supervisor.core.model import OutboxMessage
from supervisor.core.signals import MessageTold
from supervisor.ports import Chat

log = structlog.get_logger()

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
TELL_LIMIT = 30.0


class Outbox:
    """One task per surface."""

    def __init__(self, engine: Engine, chats: Mapping[str, Chat], told: Callable[[MessageTold], None]) -> None:
        """`told` takes the answer back to the engine, which deletes the message."""
        self._engine = engine
        self._chats = chats
        self._told = told
        self._news = {surface: asyncio.Event() for surface in chats}
        self._done: dict[int, bool] = {}
        self.delivered = dict.fromkeys(chats, 0)  # surface -> messages it took
        self.refused = dict.fromkeys(chats, 0)  # surface -> times it did not take one

    def poke(self) -> None:
        """There may be something new."""
        for event in self._news.values():
            event.set()

    async def run(self) -> None:
        """Tell for ever."""
        async with asyncio.TaskGroup() as group:
            for surface, chat in sorted(self._chats.items()):
                group.create_task(self._run(surface, chat), name=f"outbox of {surface}")

    def waiting(self, surface: str) -> list[OutboxMessage]:
        """Return the messages that a surface has not taken yet, oldest first."""
        world = self._engine.ctx.world
        return [m for m in world.all(OutboxMessage) if m.surface == surface and not m.dead and m.id not in self._done]

    async def _run(self, surface: str, chat: Chat) -> None:
        pause = FIRST_PAUSE
        while True:
            messages = self.waiting(surface)
            if not messages:
                self._done = {n: ok for n, ok in self._done.items() if self._engine.ctx.world.get(OutboxMessage, n)}
                await self._news[surface].wait()
                self._news[surface].clear()
                continue
            message = messages[0]
            try:
                async with asyncio.timeout(TELL_LIMIT):
                    await chat.tell(message)
            except Exception as error:  # noqa: BLE001  # a surface may fail in any way, and delays only itself
                log.warning("outbox.refused", surface=surface, message=message.id, error=type(error).__name__)
                self.refused[surface] += 1
                self._told(MessageTold(message.id, False, type(error).__name__))
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                self._done[message.id] = True
                self.delivered[surface] += 1
                self._told(MessageTold(message.id, True))
                pause = FIRST_PAUSE
