"""The loop around the engine: signals in, one commit, then commands and events out.

No commit, no command. What the engine decided counts only once it is on disk; a refused commit is rolled back, the
signals that may not be lost are kept, and nothing is done meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from supervisor.core.engine import Engine
from supervisor.core.model import Record
from supervisor.core.signals import (
    Command,
    DigestDue,
    Event,
    LogRead,
    MessageTold,
    OperatorAsked,
    Reply,
    Said,
    Signal,
    StepFinished,
    Turn,
    Woke,
)
from supervisor.core.terms import Now, Seconds
from supervisor.errors import CommitFailed
from supervisor.ports import Clock

log = structlog.get_logger()

TICK = 1.0  # seconds: the engine looks at least this often, so that lost time is noticed
LEAST = 0.02  # seconds: looks that are planned closer together than this are taken together
RETRY = 1.0  # seconds between tries while the store refuses
DURABLE = (StepFinished, OperatorAsked, MessageTold, DigestDue, LogRead)

Tap = Callable[[Sequence[Signal], Turn, Now], None]


class Journal(Protocol):
    """A store with its thread."""

    async def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Write all or nothing."""
        ...


class Inbox:
    """Where every signal goes. Unbounded, but fed only by senders that bound themselves."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: list[Signal] = []
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        """Return how many signals wait."""
        return len(self._waiting)

    def put(self, signal: Signal) -> None:
        """Add a signal; never blocks."""
        self._waiting.append(signal)
        self._filled.set()

    async def take(self, seconds: float) -> list[Signal]:
        """Return what is there, or wait for the first signal, at most so long. Everybody else gets a turn meanwhile."""
        if self._waiting:
            await asyncio.sleep(0)  # an engine that is late must not keep those from their turn who wait for it
        else:
            try:
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
            except TimeoutError:
                pass
        batch, self._waiting = self._waiting, []
        self._filled.clear()
        return batch


class Loop:
    """Runs the engine for ever. `stable` is held while a turn is being decided and committed: readers take it too."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        clock: Clock,
        inbox: Inbox,
        dispatch: Callable[[Sequence[Command]], None],
        publish: Callable[[Sequence[Event]], None],
        tap: Tap | None = None,
    ) -> None:
        """Wire the engine to its surroundings; `tap` keeps the history."""
        self.engine = engine
        self.stable = asyncio.Lock()
        self.turns = 0
        self.commits = 0
        self.refusals = 0  # commits that the store refused
        self.step_seconds: Seconds = 0.0  # spent deciding, all turns together
        self.commit_seconds: Seconds = 0.0  # spent on commits that came through
        self.refused = ""  # why the store refuses, '' while it does not
        self._journal = journal
        self._clock = clock
        self._inbox = inbox
        self._dispatch = dispatch
        self._publish = publish
        self._tap = tap
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._kept: list[Signal] = []

    async def run(self) -> None:
        """Step, commit, dispatch; for ever. Raises `CommitFailed` when nobody can say whether a commit is on disk."""
        next_look: float | None = self._clock.now().boot
        while True:
            now = self._clock.now().boot
            wait = TICK if next_look is None else min(TICK, max(LEAST, next_look - now))
            batch = await self._inbox.take(wait)
            async with self.stable:
                turn = await self._turn([*self._kept, *batch] or [Woke()])
            next_look = turn.next_look if turn is not None else self._clock.now().boot + RETRY
            if turn is None:
                await asyncio.sleep(RETRY)

    async def _turn(self, signals: list[Signal]) -> Turn | None:
        """Make one turn; return None when the store refused it."""
        begun = self._clock.now()
        turn = self.engine.step(signals, begun)
        self.turns += 1
        decided = self._clock.now().boot
        self.step_seconds += decided - begun.boot
        if turn.changes or turn.deletes:
            try:
                await self._journal.commit(turn.changes, turn.deletes)
            except CommitFailed as error:
                self._refuse(error, signals)
                return None
            self.commits += 1
            self.commit_seconds += self._clock.now().boot - decided
        self._kept = []
        if self.refused:
            self.refused = ""
            self._publish([Said("store.back", "the store takes commits again")])
        self.engine.settle()
        if self._tap is not None:
            self._tap(signals, turn, begun)
        if turn.commands:
            self._dispatch(turn.commands)
        if turn.events:
            self._publish(turn.events)
        for reply in turn.replies:
            future = self._replies.pop(reply.request, None)
            if future is not None and not future.done():
                future.set_result(reply)
        return turn

    def _refuse(self, error: CommitFailed, signals: list[Signal]) -> None:
        self.engine.rollback()
        self.refusals += 1
        if error.ambiguous:
            raise error
        self._kept = [signal for signal in signals if isinstance(signal, DURABLE)]
        if not self.refused:
            self._publish([Said("store.refuses", f"nothing is done while the store refuses: {error}")])
        self.refused = str(error)

    async def ask(self, request: OperatorAsked) -> Reply:
        """Hand an operator's request to the engine; return its answer, committed."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[request.request] = future
        self._inbox.put(request)
        try:
            return await future
        finally:
            self._replies.pop(request.request, None)
