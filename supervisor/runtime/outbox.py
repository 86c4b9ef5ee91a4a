"""Tells people what is in the outbox, in order, one surface not waiting for another.

A message is deleted once its surface took it. A surface that can't take it delays only itself: its messages wait, with
a growing pause or the one it asked for, and are told in order when it is back. All that waits about one incident is
told at once, so that a long outage ends in a few messages and not in hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from supervisor.core.cards import card
from supervisor.core.engine import Engine
from supervisor.core.model import Incident, OutboxMessage, Thread
from supervisor.core.signals import MessageTold
from supervisor.ports import Chat, NotNow, NotThis, Telling, Told

log = structlog.get_logger()

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LONGEST_ASKED = 3600.0
TELL_LIMIT = 60.0
MOST_AT_ONCE = 100


@dataclass(slots=True)
class _Desk:
    """One surface: what it was given in this life, and how it fares."""

    chat: Chat
    since: datetime  # what is older may have been told in an earlier life
    pause: float
    news: asyncio.Event = field(default_factory=asyncio.Event)
    done: set[int] = field(default_factory=set)  # taken, and not yet deleted by the engine
    threads: dict[int, str] = field(default_factory=dict)  # begun, and not yet written down by the engine
    trouble: str = ""
    delivered: int = 0  # messages it took
    refused: int = 0  # times it took none
    task: asyncio.Task[None] | None = None


class Outbox:
    """One task per surface."""

    def __init__(
        self,
        engine: Engine,
        stable: asyncio.Lock,
        chats: Mapping[str, Chat],
        told: Callable[[MessageTold], None],
    ) -> None:
        """`stable` is held while the engine decides; `told` takes the answer back to it, which deletes the message."""
        self._engine = engine
        self._stable = stable
        self._told = told
        self._desks = {surface: self._desk(chat) for surface, chat in chats.items()}
        self._group: asyncio.TaskGroup | None = None

    def poke(self) -> None:
        """There may be something new."""
        for desk in self._desks.values():
            desk.news.set()

    async def run(self) -> None:
        """Tell for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for surface in sorted(self._desks):
                self._begin(surface)
            await asyncio.Event().wait()  # surfaces may come with a new configuration

    def use(self, chats: Mapping[str, Chat]) -> None:
        """Take other surfaces; one that stays the same goes on undisturbed."""
        old, self._desks = self._desks, {}
        for surface, chat in sorted(chats.items()):
            known = old.get(surface)
            if known is not None and known.chat is chat:
                self._desks[surface] = old.pop(surface)
            else:
                desk = self._desks[surface] = self._desk(chat)
                if known is not None:  # what it took, and the engine has not yet written down, stays told
                    desk.done, desk.threads = set(known.done), dict(known.threads)
                self._begin(surface)
        for desk in old.values():
            if desk.task is not None:
                desk.task.cancel()

    def troubles(self) -> dict[str, str]:
        """Return what keeps each surface from taking messages, in a sentence; '' for one that takes them."""
        return {surface: desk.trouble for surface, desk in sorted(self._desks.items())}

    @property
    def delivered(self) -> dict[str, int]:
        """Messages that each surface took in this life."""
        return {surface: desk.delivered for surface, desk in self._desks.items()}

    @property
    def refused(self) -> dict[str, int]:
        """Times that each surface took nothing."""
        return {surface: desk.refused for surface, desk in self._desks.items()}

    def waiting(self, surface: str) -> list[OutboxMessage]:
        """Return the messages that a surface has not taken yet, oldest first. Read it only while stable."""
        done = self._desks[surface].done if surface in self._desks else set[int]()
        world = self._engine.ctx.world
        return [m for m in world.all(OutboxMessage) if m.surface == surface and not m.dead and m.id not in done]

    def _desk(self, chat: Chat) -> _Desk:
        return _Desk(chat, self._engine.ctx.now.wall, FIRST_PAUSE)

    def _begin(self, surface: str) -> None:
        if self._group is not None:
            self._desks[surface].task = self._group.create_task(self._run(surface), name=f"outbox of {surface}")

    async def _run(self, surface: str) -> None:
        desk = self._desks[surface]
        while True:
            desk.news.clear()
            async with self._stable:
                telling = self._next(surface, desk)
            if telling is None:
                await desk.news.wait()
                continue
            wait = await self._tell(surface, desk, telling)
            if wait:
                await asyncio.sleep(wait)

    def _next(self, surface: str, desk: _Desk) -> Telling | None:
        """Collect everything that waits about what is first in line."""
        world = self._engine.ctx.world
        messages = self.waiting(surface)
        if not messages:
            desk.done = {number for number in desk.done if world.get(OutboxMessage, number)}
            desk.threads = {n: ref for n, ref in desk.threads.items() if not world.get(Thread, surface, n)}
            return None
        number = messages[0].incident
        incident = world.get(Incident, number) if number else None
        if number:
            chosen = [m for m in messages if m.incident == number]
        else:  # only neighbours: what belongs to no incident keeps its place between the others
            chosen = messages[: next((i for i, m in enumerate(messages) if m.incident), len(messages))]
        known = world.get(Thread, surface, number) if number else None
        thread = desk.threads.get(number) or (known.ref if known else "")
        return Telling(
            messages=tuple(chosen[:MOST_AT_ONCE]),
            card=card(self._engine.ctx, incident) if incident else None,
            thread=thread,
            doubtful=any(m.tries or m.at < desk.since for m in chosen),
        )

    async def _tell(self, surface: str, desk: _Desk, telling: Telling) -> float:
        """Tell; return the seconds to wait before the next."""
        first = telling.messages[0]
        try:
            async with asyncio.timeout(TELL_LIMIT):
                told = await desk.chat.tell(telling)
        except NotThis as error:
            log.error("outbox.dead_letter", surface=surface, message=first.id, why=str(error))
            desk.done.add(first.id)
            desk.refused += 1
            self._told(MessageTold(first.id, ok=False, refused=True))
            return 0.0
        except Exception as error:  # noqa: BLE001  # a surface may fail in any way, and delays only itself
            return self._refused(surface, desk, first, error)
        if not told.count and told.thread in ("", telling.thread):  # no progress: asking at once would spin
            return self._refused(surface, desk, first, NotNow("it took nothing and gave no reason"))
        self._took(surface, desk, telling, told)
        return 0.0

    def _took(self, surface: str, desk: _Desk, telling: Telling, told: Told) -> None:
        number = telling.messages[0].incident
        if number and told.thread:
            desk.threads[number] = told.thread
        for message in telling.messages[: told.count]:
            desk.done.add(message.id)
            self._told(MessageTold(message.id, ok=True, thread=told.thread))
        desk.delivered += told.count
        if desk.trouble:
            log.info("outbox.back", surface=surface)
        desk.trouble, desk.pause = "", FIRST_PAUSE

    def _refused(self, surface: str, desk: _Desk, first: OutboxMessage, error: Exception) -> float:
        """Remember the trouble, say it once, and return how long to wait."""
        desk.refused += 1
        sentence = str(error) if isinstance(error, NotNow) else f"it failed: {type(error).__name__}"
        if sentence != desk.trouble:
            log.warning("outbox.refused", surface=surface, why=sentence)
        desk.trouble = sentence
        if not first.tries:  # from now on the first message is doubtful, also after a restart
            self._told(MessageTold(first.id, ok=False))
        asked = error.after if isinstance(error, NotNow) else None
        if asked is not None:
            return min(LONGEST_ASKED, max(0.0, asked))
        wait, desk.pause = desk.pause, min(LONGEST_PAUSE, desk.pause * 2)
        return wait
