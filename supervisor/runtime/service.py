"""The whole of Sickbay around its ports: the same in production and in simulation.

check host ─ results ─┐                       ┌─ Perform ─> executor ─> cloud
pollers ─ inventory ──┼─> inbox ─> loop ──────┼─ Observe, Forget, AskNow, Stretch ─> check host
operators, sentinels ─┘      (engine, store)  └─ events ─> log, page; outbox ─> chat
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from supervisor.core.context import KILL_SWITCH
from supervisor.core.engine import Engine
from supervisor.core.measured import Measured
from supervisor.core.model import Holder, Instance, Record
from supervisor.core.requests import DESTRUCTIVE, Request
from supervisor.core.settings import Settings
from supervisor.core.signals import (
    Command,
    Event,
    HeartbeatsDeaf,
    HeartbeatsReported,
    IncidentTold,
    InstanceMoved,
    InventoryFailed,
    InventorySeen,
    KillSwitchSeen,
    Noticed,
    OperatorAsked,
    Perform,
    ReadLog,
    Reply,
    ResultsReported,
    Said,
    SelfReported,
    SentinelReported,
    SettingsLoaded,
    StepFinished,
)
from supervisor.ports import Chat, CheckHost, Clock, Cloud, Hearing
from supervisor.runtime.executor import Executor
from supervisor.runtime.log_reader import LogReader
from supervisor.runtime.loop import Inbox, Journal, Loop
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.poller import Poller
from supervisor.runtime.recorder import Pen, Recorder

log = structlog.get_logger()

KILL_SWITCH_INTERVAL = 0.5  # seconds
Listener = Callable[[Sequence[Event]], None]


class Service:
    """Engine, loop and everything that feeds them. `run` ends only by cancellation or by an error."""

    def __init__(
        self,
        *,
        settings: Settings,
        records: Sequence[Record],
        journal: Journal,
        clouds: Mapping[str, Cloud],
        host: CheckHost,
        chats: Mapping[str, Chat],
        clock: Clock,
        kill_switch: Path | None = None,
        pen: Pen | None = None,
    ) -> None:
        """Wake up with what the store holds; `kill_switch` is the pause file, `pen` writes the history."""
        self.inbox = Inbox()
        self.engine = Engine(records, settings, clock.now())
        ctx = self.engine.ctx
        self.recorder = pen and Recorder(lambda: ctx.world, lambda: ctx.settings, pen, clock.now())
        tap = self.recorder.tap if self.recorder else None
        self.loop = Loop(self.engine, journal, clock, self.inbox, self._dispatch, self._publish, tap)
        self.executor = Executor(clouds, self._finished, self._gate)
        self.log_reader = LogReader(clouds, self.inbox.put)
        self.outbox = Outbox(self.engine, self.loop.stable, chats, self.inbox.put)
        self.listeners: list[Listener] = []
        self.measured = Measured()
        self._clouds = dict(clouds)
        self._host = host
        self._clock = clock
        self._kill_switch = kill_switch
        self._pollers: dict[str, Poller] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._polling: list[asyncio.Task[None]] = []
        self._chats = dict(chats)
        self._hearing: dict[str, tuple[Chat, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Run for ever."""
        async with asyncio.TaskGroup() as group:
            self._tasks = group
            group.create_task(self.loop.run(), name="loop")
            group.create_task(self.outbox.run(), name="outbox")
            group.create_task(self._take_results(), name="results")
            group.create_task(self._watch_kill_switch(), name="kill switch")
            if self.recorder:
                group.create_task(self.recorder.run(self.notice), name="history")
            self._poll(self.engine.ctx.settings)
            self._listen(self._chats)

    async def close(self) -> None:
        """Give up what is under way; the journal knows it all."""
        await self.log_reader.close()
        await self.executor.close()

    def reload(self, settings: Settings, clouds: Mapping[str, Cloud], chats: Mapping[str, Chat]) -> None:
        """Take a new configuration that was checked whole."""
        self.outbox.use(chats)
        self._listen(chats)
        self._clouds.clear()
        self._clouds.update(clouds)
        self.executor.use(self._clouds)
        self.log_reader.use(self._clouds)
        self.inbox.put(SettingsLoaded(settings))
        self._poll(settings)

    async def ask(self, request: OperatorAsked) -> Reply:
        """Hand in an operator's request; return its committed answer."""
        return await self.loop.ask(request)

    def report(self, signal: SentinelReported | SelfReported | HeartbeatsReported | HeartbeatsDeaf) -> None:
        """Tell the engine of our own eyes and ears."""
        self.inbox.put(signal)

    def notice(self, kind: str, text: str) -> None:
        """Have people told of something of the shell's."""
        self.inbox.put(Noticed(kind, text))

    # -- between the parts

    def _poll(self, settings: Settings) -> None:
        if self._tasks is None:
            return
        for task in self._polling:
            task.cancel()
        self._polling.clear()
        self._pollers.clear()
        for name, policy in sorted(settings.fleets.items()):
            journal = self.engine.ctx.world.table(Instance)
            poller = Poller(
                name, self._clouds[name], self._clock, policy.inventory_interval, self._inventoried, journal
            )
            self._pollers[name] = poller
            self._polling.append(self._tasks.create_task(poller.run(), name=f"inventory of {name}"))
            seldom = poller.watch_leftovers(self.inbox.put)
            self._polling.append(self._tasks.create_task(seldom, name=f"leftovers of {name}"))

    def _listen(self, chats: Mapping[str, Chat]) -> None:
        """Hear what people answer in the chats; one that stays the same goes on undisturbed."""
        self._chats = dict(chats)
        if self._tasks is None:
            return
        for name, (chat, task) in list(self._hearing.items()):
            if chats.get(name) is not chat:
                task.cancel()
                del self._hearing[name]
        for name, chat in sorted(chats.items()):
            if isinstance(chat, Hearing) and name not in self._hearing:
                task = self._tasks.create_task(self._hear(name, chat), name=f"answers in {name}")
                self._hearing[name] = chat, task

    async def _hear(self, name: str, chat: Hearing) -> None:
        try:
            await chat.hear(self.ask)
        except Exception as error:  # noqa: BLE001  # a surface may fail in any way, and stops nothing else
            log.error("chat.deaf", surface=name, why=type(error).__name__)

    def deaf(self) -> dict[str, str]:
        """Return the chats in which nobody is heard who should be, each with a sentence why."""
        found = {name: chat.deaf for name, chat in self._chats.items() if isinstance(chat, Hearing)}
        return {name: why for name, why in found.items() if why}

    def _inventoried(self, signal: InventorySeen | InventoryFailed) -> None:
        self.inbox.put(signal)

    def _finished(self, signal: StepFinished) -> None:
        self.inbox.put(signal)
        for poller in self._pollers.values():
            poller.poke()

    def _dispatch(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Perform):
                self.executor.perform(command)
            elif isinstance(command, ReadLog):
                self.log_reader.read(command)
        self._host.apply(commands)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case IncidentTold():
                    log.info(event.kind, incident=event.incident.id, fleet=event.incident.fleet, text=event.text)
                case InstanceMoved():
                    log.info("instance.moved", instance=event.instance, fleet=event.fleet, old=event.old, new=event.new)
                case Said():
                    log.info(event.kind, fleet=event.fleet, text=event.text)
        self.outbox.poke()
        for listener in self.listeners:
            listener(events)

    def _gate(self, request: Request) -> str:
        """Return why a request may not be carried out right now: read immediately before each call."""
        if self._kill_switch is not None and self._kill_switch.exists():
            return "paused by the pause file"
        ctx = self.engine.ctx
        if ctx.holders:
            return f"paused by {', '.join(ctx.holders)}"
        # A step may have been on its way, or waited for its turn, when somebody put a hold on its machine.
        instance = ctx.world.get(Instance, request.instance) if isinstance(request, DESTRUCTIVE) else None
        return "" if instance is None else ctx.hold_on(instance)

    async def _take_results(self) -> None:
        async for results in self._host.results():
            self.measured.take(results)
            self.inbox.put(ResultsReported(results))

    async def _watch_kill_switch(self) -> None:
        """Tell the engine when the pause file comes and goes."""
        known = self.engine.ctx.world.get(Holder, KILL_SWITCH) is not None
        while self._kill_switch is not None:
            present = self._kill_switch.exists()
            if present != known:
                known = present
                self.inbox.put(KillSwitchSeen(present))
            await asyncio.sleep(KILL_SWITCH_INTERVAL)
