"""A newsroom for tests: the production outbox and engine, woken up with a story's journal, and the bot that tells it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from supervisor.core.engine import Engine
from supervisor.core.model import OutboxMessage, Record
from supervisor.core.settings import Settings
from supervisor.core.signals import MessageTold
from supervisor.core.terms import Mode, Now
from supervisor.ports import Chat, NotNow, Telling, Told
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from supervisor.surfaces.slack import SlackChat
from tests import stages
from tests.standins.slack import TOKEN, Slack

RATE = 0.03
SETTINGS = stages.settings(surfaces=("slack",))


class Down:
    """A surface that takes nothing."""

    async def tell(self, telling: Telling) -> Told:
        """Refuse."""
        raise NotNow("it is down", 3600.0)

    async def close(self) -> None:
        """Nothing to do."""


def journal(mode: Mode = Mode.AUTO, says: str = "HTTP 500, expected 200") -> list[Record]:
    """Return what the journal holds after a machine fell sick while Slack was down."""
    there = stages.stage(SETTINGS)
    there.chats["slack"] = Down()
    there.live(stages.calm)
    there.settings = replace(SETTINGS, mode=mode)

    async def falls_sick(service: Service, world: World) -> None:
        sick = stages.instances(service)[0]
        world.behave(sick.id, Behaviour.ERRORS)
        world.machines[sick.id].says = says
        await until(lambda: any(i.held or i.closed_at for i in stages.incidents(service)), 1200)

    there.live(falls_sick)
    return list(there.records())


class Office:
    """The production outbox and engine around a chat, on real time: what a restarted daemon does with its backlog."""

    def __init__(self, records: list[Record], chat: Chat, settings: Settings = SETTINGS) -> None:
        """Wake up with a journal."""
        self.boot = 1000.0
        self.engine = Engine(records, settings, self.now())
        self.outbox = Outbox(self.engine, asyncio.Lock(), {"slack": chat}, self.told)
        self.refused: list[int] = []

    def now(self) -> Now:
        """A later moment each time."""
        self.boot += 0.001
        return Now(self.boot, datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.boot))

    def told(self, signal: MessageTold) -> None:
        """Take the answer to the engine, as the loop does."""
        if signal.refused:
            self.refused.append(signal.message)
        self.engine.step([signal], self.now())
        self.engine.settle()

    @property
    def messages(self) -> list[OutboxMessage]:
        """What still waits."""
        return self.outbox.waiting("slack")

    async def work(self, limit: float = 20.0) -> None:
        """Tell everything that waits."""
        running = asyncio.create_task(self.outbox.run())
        try:
            async with asyncio.timeout(limit):
                while self.messages:
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @property
    def records(self) -> list[Record]:
        """What its journal would hold now."""
        return [record for table in self.engine.ctx.world._tables.values() for record in table.values()]


def bot(there: Slack, **changes: object) -> SlackChat:
    """Return a bot of this workspace, quicker than the real one allows."""
    options: dict[str, object] = {"api_url": there.api_url, "pace": RATE * 1.3, "patience": 0.4, "channel": "C0OPS"}
    return SlackChat(TOKEN, **(options | changes))  # type: ignore[arg-type]  # checked where it is defined
