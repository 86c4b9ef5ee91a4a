"""People answer in a chat: the service hands it to the engine, and a chat that fails stops nothing else."""

from __future__ import annotations

import asyncio

from supervisor.core.signals import Approve, Choice, OperatorAsked, Pause, Seen
from supervisor.ports import Ask
from supervisor.runtime.service import Service
from supervisor.sim.run import Memory
from supervisor.sim.world import World
from tests import stages


class Answered(Memory):
    """A chat in which somebody asks for a pause as soon as anybody listens, or that breaks."""

    def __init__(self, *, breaks: bool = False) -> None:
        """Begin silent."""
        super().__init__()
        self.breaks = breaks
        self.heard = 0
        self.deaf = "nobody listens"

    async def hear(self, ask: Ask) -> None:
        """Ask once, then stay."""
        self.heard += 1
        if self.breaks:
            raise KeyError("nonsense")
        self.deaf = ""
        await ask(OperatorAsked("1", Pause("ada", 60.0), "ada", "chat"))
        try:
            await asyncio.sleep(1e6)
        finally:
            self.deaf = "nobody listens"


def test_what_is_asked_in_a_chat_is_done() -> None:
    """The same verbs as on the command line, audited with the chat's name."""
    there, chat = stages.stage(), Answered()
    there.chats["chat"] = chat

    async def waits(service: Service, world: World) -> None:
        await asyncio.sleep(5)
        assert ("ada",) == service.engine.ctx.holders
        assert {} == service.deaf()

    there.live(waits)
    assert 1 == chat.heard


def test_a_chat_that_breaks_stops_nothing() -> None:
    """The fleet boots all the same, and what is wrong can be read."""
    there, chat = stages.stage(), Answered(breaks=True)
    there.chats["chat"] = chat

    async def calms(service: Service, world: World) -> None:
        await stages.calm(service, world)
        assert {"chat": "nobody listens"} == service.deaf()

    there.live(calms)


def test_a_new_configuration_listens_to_the_new_chat_only() -> None:
    """One that stays the same is not disturbed; one that goes is heard no more."""
    there, old, new = stages.stage(), Answered(), Answered()
    there.chats["chat"] = old

    async def reloads(service: Service, world: World) -> None:
        await asyncio.sleep(5)
        settings, clouds = service.engine.ctx.settings, dict(service._clouds)
        service.reload(settings, clouds, {"chat": old})
        await asyncio.sleep(5)
        assert 1 == old.heard
        service.reload(settings, clouds, {"chat": new})
        await asyncio.sleep(5)
        assert ("nobody listens", "") == (old.deaf, new.deaf)

    there.live(reloads)


def test_an_offer_that_nobody_made_is_refused() -> None:
    """What is asked beside an incident's card counts only while the card offers it."""
    there = stages.stage()

    async def asks(service: Service, world: World) -> None:
        await stages.calm(service, world)
        uid = service.engine.ctx.world.identity.uid
        seen = Seen(uid, 99, 1, Choice.APPROVE)
        reply = await service.ask(OperatorAsked("1", Approve(99, 1), "ada", "chat", seen=seen))
        assert (False, "no incident 99 was found") == (reply.ok, reply.text)

    there.live(asks)
