"""The ports: what Sickbay needs of the outside. Each is small enough to fake in thirty lines.

One contract suite per port runs over every implementation (tests/contracts/).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from supervisor.core.cards import Card
from supervisor.core.chain import AuditDoc, Head, VerifiedDoc
from supervisor.core.machine import Leftover, Machine, Offer
from supervisor.core.model import OutboxMessage, Record
from supervisor.core.requests import Outcome, Request
from supervisor.core.signals import Command, OperatorAsked, Reply, Result
from supervisor.core.terms import Now


class Clock(Protocol):
    """Where `now` comes from."""

    def now(self) -> Now:
        """Return the present moment."""
        ...


class Cloud(Protocol):
    """One provider's view of one fleet. All of its mutations go through `perform`."""

    async def offer(self) -> Offer:
        """Return what the fleet is launched from now, all of it resolved to what can't move any more.

        Raises `ProviderError`: it can't be known now, or what is configured is not there.
        """
        ...

    async def inventory(self) -> Sequence[Machine]:
        """Return every machine of the fleet that the cloud still shows, quarantined and stopped ones included.

        Raises `ProviderError` when the answer is failed or partial: unknown, never gone.
        """
        ...

    async def leftovers(self) -> Sequence[Leftover]:
        """Return what machines of the fleet left behind. Raises `ProviderError`. Asked for seldom."""
        ...

    async def perform(self, request: Request) -> Outcome:
        """Carry out one request. Running it twice has the effect of once; it never raises for a cloud's no."""
        ...

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return the last lines of an instance's log or console; empty where there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections; machines live on."""
        ...


class Severity(StrEnum):
    """What a finding means for the fleet."""

    ERROR = "error"  # it can't be healed like this
    WARNING = "warning"  # it can, with less than was meant
    NOTE = "note"  # nothing is wrong: what one should know


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at the cloud found: one sentence with what was expected and what to do."""

    severity: Severity
    sentence: str


class Provider(Protocol):
    """A kind of cloud: how its options are checked and how a fleet's `Cloud` is opened.

    `Options` is the model of `[fleet.NAME.KIND]`; the methods get an instance of it. Optional besides:
    `claims(options)`, addresses that nobody else can have; `second_class(options)`, whether a load balancer speaks for
    the machines; `balanced(options)`, whether one says who serves; `group(options)`, the Auto Scaling group that
    launches them; `hourly_price(options)`; `preflight(fleet, options, steps)`, the `Finding`s of a look at the cloud for
    a fleet whose remediations plan these steps: it changes nothing, and raises `ProviderError`.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[BaseModel]]

    @classmethod
    def offline(cls, options: Any, version: str) -> Offer | None:  # Any: each provider's own Options
        """Return the offer where no cloud need be asked for it, else None. Raises `ProviderError` in one clear sentence."""
        ...

    @classmethod
    def open(cls, fleet: str, options: Any, version: str, state: Path, uid: str) -> Cloud:  # Any: as above
        """Open the cloud of one fleet. `state` is the daemon's state folder, `uid` the supervisor's identity."""
        ...


class Store(Protocol):
    """The journal. Synchronous: the shell gives it a thread of its own."""

    def load(self) -> Sequence[Record]:
        """Return every record. The first start makes the `Identity`."""
        ...

    def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Write all or nothing, durably, before returning.

        Raises `CommitFailed`; with `ambiguous` set, the caller must exit and load afresh.
        """
        ...

    def close(self) -> None:
        """Let go of the file and its lock."""
        ...


class CheckHost(Protocol):
    """Runs checks, in production in a child process of its own."""

    def apply(self, commands: Sequence[Command]) -> None:
        """Take `Observe`, `Forget`, `AskNow` and `Stretch`; never blocks. Others are ignored."""
        ...

    def results(self) -> AsyncIterator[Sequence[Result]]:
        """Yield batches of results for ever."""
        ...


@dataclass(frozen=True, slots=True)
class Telling:
    """Everything that waits for one surface about one incident, or about none: oldest first, never empty.

    `card` is the incident as it stands now; `thread` is where the surface began its story, '' when it has not.
    `doubtful` means that some of it may have been told already, by an attempt whose answer never came.
    """

    messages: tuple[OutboxMessage, ...]
    card: Card | None = None
    thread: str = ""
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What a surface took: so many messages from the front, and where the incident's story is."""

    count: int
    thread: str = ""


class NotNow(Exception):
    """Raised by a surface that can't take anything now: one sentence, and the seconds to wait if it named them."""

    def __init__(self, sentence: str, after: float | None = None) -> None:
        """Keep the wait."""
        super().__init__(sentence)
        self.after = after


class NotThis(Exception):
    """Raised by a surface that will never take the first message as it is. It is kept as a dead letter."""


class AuditLog(Protocol):
    """The audit log as it lies on disk. Blocking: asked from threads only."""

    def read(self, since: datetime | None, limit: int) -> list[AuditDoc]:
        """Return the newest entries, the newest first. Raises `StateError`."""
        ...

    def verify(self, anchors: Sequence[Head] = (), *, tail: bool = False) -> VerifiedDoc:
        """Look at the whole chain, or its tail, and whether earlier heads are still in it. Raises `StateError`."""
        ...

    def head(self) -> Head | None:
        """Return the last entry's number and hash. Raises `StateError`."""
        ...

    def keep(self, head: Head) -> None:
        """Write a head down beside the log: `verify` looks for it. Raises `OSError`."""
        ...


class Chat(Protocol):
    """A surface that is told things. Being down delays nothing else and loses nothing."""

    async def tell(self, telling: Telling) -> Told:
        """Deliver some of it, in order. Raises `NotNow`, `NotThis`; any other exception means `NotNow`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


Ask: TypeAlias = Callable[[OperatorAsked], Awaitable[Reply]]
"""Hands an operator's request to the engine; returns its committed answer."""


@runtime_checkable
class Hearing(Protocol):
    """A chat in which people may answer. Being deaf delays nothing else."""

    @property
    def deaf(self) -> str:
        """Why nobody is heard, in a sentence; '' while people are."""
        ...

    async def hear(self, ask: Ask) -> None:
        """Hand in what people ask for, until cancelled. Returns where there is nothing to hear."""
        ...
