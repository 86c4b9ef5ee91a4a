"""What an answer is read with: bytes in as they come, an answer out. No I/O."""

from __future__ import annotations

from typing import Protocol

from supervisor.api import Answer, Refusal, TcpAnswer
from supervisor.core.terms import Seconds

KEPT = 64 * 1024
"""Bytes of an answer that are kept."""
OPEN = TcpAnswer(b"", 0.0)
"""The answer of all that were connected to and said nothing, where time does not count."""


def broken(why: str) -> Refusal:
    """Return what to raise for what is no answer."""
    return Refusal(f"broken answer ({why})")


class Reader(Protocol):
    """Reads one answer."""

    @property
    def reusable(self) -> bool:
        """Whether, after the answer, the connection can take another question."""
        ...

    def take(self, data: bytes) -> bool:
        """Take what came; return whether that is all that is wanted. Raises `Refusal`."""
        ...

    def end(self) -> None:
        """Take note that the other side closed. Raises `Refusal` when that leaves no answer."""
        ...

    def answer(self, seconds: Seconds | None) -> Answer:
        """Return the answer, which took so long; None where that does not count, and answers may be one object."""
        ...


class TcpReader:
    """Reads until some bytes appear, the other side closes, or there is enough."""

    __slots__ = ("_received", "_until")
    reusable = False

    def __init__(self, until: bytes) -> None:
        """Begin with nothing."""
        self._until = until
        self._received = bytearray()

    def take(self, data: bytes) -> bool:
        """Look for them in what is new."""
        before = len(self._received)
        self._received += data
        found = self._until in self._received[max(0, before - len(self._until)) :]
        return found or len(self._received) >= KEPT

    def end(self) -> None:
        """What came so far is an answer too."""

    def answer(self, seconds: Seconds | None) -> TcpAnswer:
        """Return what was read."""
        if seconds is None and not self._received:
            return OPEN
        return TcpAnswer(bytes(self._received[:KEPT]), seconds or 0.0)


class PrefixedReader:
    """Reads one message after its length, or as much of it as is kept."""

    __slots__ = ("_prefix", "_received")
    reusable = False

    def __init__(self, prefix: int) -> None:
        """Begin with nothing; the length has `prefix` bytes, the highest first."""
        self._prefix = prefix
        self._received = bytearray()

    def take(self, data: bytes) -> bool:
        """Count."""
        self._received += data
        return len(self._received) >= min(self._wanted, KEPT)

    def end(self) -> None:
        """Half a message is none."""
        raise broken("cut short" if self._received else "closed without one")

    def answer(self, seconds: Seconds | None) -> TcpAnswer:
        """Return the message, without its length."""
        return TcpAnswer(bytes(self._received[self._prefix : min(self._wanted, KEPT)]), seconds or 0.0)

    @property
    def _wanted(self) -> int:
        """Bytes altogether, as far as that is known."""
        length = self._received[: self._prefix]
        return self._prefix + (int.from_bytes(length, "big") if len(length) == self._prefix else 1)
