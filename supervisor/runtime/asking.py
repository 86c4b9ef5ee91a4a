"""How the check host puts a question to an instance without a coroutine for it; what came of it is told by a call.

`Asker` is what the schedule knows of the network. `runtime/lean` is the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from supervisor.api import Answer, NoAnswer, Question, Refusal
from supervisor.core.terms import Seconds

Outcome: TypeAlias = Answer | NoAnswer | Refusal | OSError
"""An answer; or that there was none, or a bad one; or a fault of our own (no descriptors, no name), which tells nothing."""

Done: TypeAlias = Callable[[Outcome], None]


class TimedOut(NoAnswer):
    """The limit is over."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question, as it is put to any instance: made once for each check, with all that can be made beforehand."""

    question: Question
    before: bytes  # what is sent: `before`, the instance's host and port, `after`
    after: bytes


class Asker(Protocol):
    """Asks, and keeps every limit: time, size, number of headers."""

    def prepare(self, question: Question) -> Prepared:
        """Return a question as it can be asked. Raises `ValueError` for one that nobody can ask."""
        ...

    def ask(self, prepared: Prepared, host: str, limit: Seconds, done: Done) -> Callable[[], None]:
        """Ask one instance, and call `done` exactly once, later; return what gives it up without calling `done`.

        `host` is an IP address or a name. After `limit` seconds `done` is given `TimedOut`.
        """
        ...

    @property
    def in_flight(self) -> int:
        """How many questions wait for their answer."""
        ...

    async def close(self) -> None:
        """Give everything up, and let go of the connections."""
        ...
