"""The outbox on virtual time: order, patience, and surfaces that don't wait for each other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from supervisor.core.engine import Engine
from supervisor.core.model import OutboxMessage
from supervisor.core.signals import MessageTold
from supervisor.core.terms import Lifecycle
from supervisor.ports import NotNow, NotThis, Telling, Told
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.service import Service
from supervisor.sim.run import Memory, Stage, until
from supervisor.sim.world import World
from tests import stages


class Scripted(Memory):
    """A surface that behaves as a function says before it remembers."""

    def __init__(self, behave: Callable[[Telling, int], Told | None]) -> None:
        """`behave` gets the telling and how often it was asked."""
        super().__init__()
        self.behave = behave
        self.asked: list[tuple[float, int]] = []

    async def tell(self, telling: Telling) -> Told:
        """Behave, then remember what is taken."""
        self.asked.append((asyncio.get_running_loop().time(), telling.messages[0].id))
        told = self.behave(telling, len(self.asked)) or Told(len(telling.messages))
        self.messages.extend(telling.messages[: told.count])
        return told


def two_surfaces(other: Scripted) -> Stage:
    """Return a stage with a surface that works and another one."""
    there = stages.stage(stages.settings(surfaces=("chat", "other")))
    there.chats["other"] = other
    return there


async def heals(service: Service, world: World) -> None:
    """A fleet starts, a machine crashes and is replaced."""
    await stages.calm(service, world)
    world.crash(stages.instances(service)[0].id)
    await until(lambda: bool(stages.incidents(service)), 600)
    await stages.calm(service, world)
    await asyncio.sleep(5)


def texts(messages: list[OutboxMessage]) -> list[str]:
    """Return what was told; which names the machines got does not matter."""
    return [re.sub(r"i-[0-9a-f]{8}", "i-…", m.text) for m in messages]


def test_a_surface_that_is_down_delays_neither_healing_nor_another_surface() -> None:
    """Everything is healed and told elsewhere at the same times as without it; its own messages wait."""

    def refuse(_: Telling, __: int) -> Told | None:
        raise NotNow("it is down")

    alone, down = stages.stage(), Scripted(refuse)
    alone.live(heals)
    both = two_surfaces(down)
    both.live(heals)

    assert sorted(texts(alone.chat.messages)) == sorted(texts(both.chat.messages))
    assert [c.at for c in alone.world.calls] == [c.at for c in both.world.calls]
    waiting = [r for r in both.records() if isinstance(r, OutboxMessage)]
    assert texts(both.chat.messages) == texts(sorted(waiting, key=lambda m: m.id))


def test_what_waited_is_told_in_order_when_the_surface_is_back() -> None:
    """Each incident's story in its order, nothing missing, nothing twice."""
    down_for = 40

    def behave(_: Telling, asked: int) -> Told | None:
        if asked < down_for:
            raise ConnectionResetError("in the middle")
        return None

    other = Scripted(behave)
    there = two_surfaces(other)

    async def script(service: Service, world: World) -> None:
        await heals(service, world)
        await asyncio.sleep(3600)

    there.live(script)

    for number in {m.incident for m in there.chat.messages}:
        expected = [m.text for m in there.chat.messages if m.incident == number]
        assert expected == [m.text for m in other.messages if m.incident == number]
    pauses = [round(b[0] - a[0]) for a, b in zip(other.asked, other.asked[1:], strict=False)][:8]
    assert [1, 2, 4, 8, 16, 32, 60, 60] == pauses


def test_a_surface_that_names_a_wait_is_left_alone_for_so_long() -> None:
    """Retry-After is obeyed to the second."""

    def behave(_: Telling, asked: int) -> Told | None:
        if asked == 1:
            raise NotNow("slow down", 17.0)
        return None

    other = Scripted(behave)
    there = two_surfaces(other)
    there.live(heals)

    assert 17 == round(other.asked[1][0] - other.asked[0][0])


def test_a_message_that_is_refused_for_good_becomes_a_dead_letter() -> None:
    """It is kept, and no longer in the way."""

    def behave(_: Telling, asked: int) -> Told | None:
        if asked == 2:
            raise NotThis("too strange")
        return None

    other = Scripted(behave)
    there = two_surfaces(other)
    there.live(heals)

    dead = [r for r in there.records() if isinstance(r, OutboxMessage)]
    assert [True] == [m.dead for m in dead]
    missing = {m.text for m in there.chat.messages} - {m.text for m in other.messages}
    assert {m.text for m in dead} == missing


def test_where_a_story_was_begun_survives_a_restart() -> None:
    """The surface is handed its own word for the place, in the next life as well."""
    threads: list[tuple[int, str]] = []

    def behave(telling: Telling, asked: int) -> Told | None:
        if telling.card is None:
            return None
        threads.append((telling.card.incident, telling.thread))
        return Told(1, telling.thread or f"place-{telling.card.incident}")

    other = Scripted(behave)
    there = two_surfaces(other)

    async def falls_sick(service: Service, world: World) -> None:
        await stages.calm(service, world)
        world.crash(stages.instances(service)[0].id)
        await until(lambda: bool(stages.instances(service, Lifecycle.WARMING)), 600)

    there.live(falls_sick)
    first_life = len(threads)
    there.live(stages.calm)

    assert first_life < len(threads)
    assert all(ref == f"place-{number}" for number, ref in threads[first_life:])


def test_a_new_configuration_tells_nothing_twice() -> None:
    """What a surface took, and the engine has not yet put away, is not told again by the surface that takes its place."""
    settings = stages.settings()
    there = stages.stage(settings)

    def refuse(_: Telling, __: int) -> Told | None:
        raise NotNow("it is down", 3600.0)

    there.chats["chat"] = Scripted(refuse)
    there.live(stages.calm)
    first, second = Memory(), Memory()

    async def reloads() -> None:
        engine = Engine(there.records(), settings, there.world.clock.now())
        told: list[MessageTold] = []
        outbox = Outbox(engine, asyncio.Lock(), {"chat": first}, told.append)
        running = asyncio.ensure_future(outbox.run())
        await asyncio.sleep(5)
        assert told
        outbox.use({"chat": second})
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    there.world.clock.run(reloads())
    assert [] == second.messages
    assert first.messages


def test_a_surface_that_takes_nothing_and_says_nothing_is_asked_ever_more_seldom() -> None:
    """A bad surface costs a look now and then, never a spinning loop."""
    other = Scripted(lambda telling, _: Told(0, telling.thread))
    there = two_surfaces(other)
    there.live(heals)

    pauses = [round(b[0] - a[0]) for a, b in zip(other.asked, other.asked[1:], strict=False)][:6]
    assert [1, 2, 4, 8, 16, 32] == pauses
