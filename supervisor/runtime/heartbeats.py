"""Takes the messages that machines send by themselves: which of them are signs of life, and which are refused, and why.

Fed by the broker's connection, message by message; knows nothing of it. Life is the moment at which a live message
arrived, with a sequence number that rises within its boot id. What a message says of time is never read.

`heard` must be cheap: it keeps the newest message of each machine, unread; an older one that still waited is dropped.
`beats` reads what waits. A sender can fill its own place, and nobody else's.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NoReturn

from supervisor.core.signals import Beat
from supervisor.core.terms import BootTime, Seconds
from supervisor.core.text import clean

LARGEST = 64 * 1024
"""Bytes of one message."""

ENTRIES = 64  # metrics, and facts, of one message
NAME = 64  # characters
FACT = 200  # characters
BOOTS = 8  # boot ids of a machine that are known as past ones
MOST_SEQ = 2**63
WILLS_WITHIN: Seconds = 10.0
WILLS_SHARE = 0.2
WILLS_LEAST = 2  # a single one is no event of the broker's, however small the fleet
WILLS_IGNORED: Seconds = 60.0

EMPTY: Mapping[str, Any] = MappingProxyType({})  # Any: numbers, or words


class Refused(StrEnum):
    """Why a message is no sign of life."""

    TOPIC = "topic"  # none of ours
    STRANGER = "stranger"  # of an instance, or a fleet, that is not known: nothing of it is kept
    RETAINED = "retained"  # the broker kept it: nobody can say since when
    OVERSIZE = "oversize"
    MALFORMED = "malformed"  # no JSON object of the shape that is expected
    FORGED = "forged"  # it names another instance, or fleet, than its topic does
    REPLAYED = "replayed"  # its sequence does not rise, or its boot is over
    SHED = "shed"  # a newer one of the same machine came before this one was read


@dataclass(frozen=True, slots=True)
class Payload:
    """What came with a sign of life: numbers in base units, and words."""

    metrics: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    facts: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(slots=True)
class _Sender:
    """What is kept of one machine."""

    boot: str
    seq: int
    said: Payload
    past: tuple[str, ...] = ()  # boot ids before this one


class Heartbeats:
    """All machines' signs of life. `fleet_of` returns the fleet of an instance, `None` of one that is not known."""

    def __init__(self, root: str, fleet_of: Callable[[str], str | None], hint: Callable[[str], None]) -> None:
        """`root` is what topics begin with; `hint` is told an instance that may have died: it should be asked now."""
        self.refused: Counter[Refused] = Counter()
        self.accepted = 0
        self.forged: tuple[str, str] | None = None  # topic, and what it names instead; the last one, until it is told
        self.wills = Wills()
        self._start = f"{root}v1/"
        self._fleet_of = fleet_of
        self._hint = hint
        self._waiting: dict[str, tuple[BootTime, bytes]] = {}
        self._senders: dict[str, _Sender] = {}

    def __len__(self) -> int:
        """Return how many messages wait to be read."""
        return len(self._waiting)

    def said(self, instance: str) -> Payload:
        """Return what came with the newest sign of life of an instance."""
        sender = self._senders.get(instance)
        return Payload() if sender is None else sender.said

    def heard(self, topic: str, payload: bytes, *, retained: bool, now: BootTime) -> None:
        """Take one message that arrived now."""
        if not topic.startswith(self._start):
            self.refused[Refused.TOPIC] += 1
            return
        parts = topic[len(self._start) :].split("/")
        if len(parts) != 3:
            self.refused[Refused.TOPIC] += 1
            return
        fleet, what, instance = parts
        if self._fleet_of(instance) != fleet:
            self.refused[Refused.STRANGER] += 1
        elif retained:
            self.refused[Refused.RETAINED] += 1
        elif len(payload) > LARGEST:
            self.refused[Refused.OVERSIZE] += 1
        elif what == "heartbeat":
            if instance in self._waiting:
                self.refused[Refused.SHED] += 1
            self._waiting[instance] = (now, payload)
        elif what != "presence":
            self.refused[Refused.TOPIC] += 1
        elif payload == b"offline" and self.wills.hints(instance, len(self._senders), now):
            self._hint(instance)

    def beats(self, most: int) -> list[Beat]:
        """Read at most so many of the messages that wait, the oldest first; return the signs of life among them."""
        found: list[Beat] = []
        for instance in [name for name, _ in zip(self._waiting, range(most), strict=False)]:
            at, payload = self._waiting.pop(instance)
            refused = self._read(instance, payload)
            if refused is None:
                found.append(Beat(instance, at))
            else:
                self.refused[refused] += 1
        self.accepted += len(found)
        return found

    def forget_strangers(self) -> None:
        """Keep nothing of instances that are no longer known."""
        for instance in [name for name in self._senders if self._fleet_of(name) is None]:
            del self._senders[instance]
        self.wills.forget(self._fleet_of)

    def _read(self, instance: str, payload: bytes) -> Refused | None:
        """Take one message of a known instance; return why it is refused."""
        try:
            told = _object(payload)
            fleet = self._fleet_of(instance)
            for key, own in (("instance", instance), ("fleet", fleet)):
                if told.get(key, own) != own:
                    self.forged = (instance, clean(str(told[key]), NAME))
                    return Refused.FORGED
            seq, boot = _sequence(told)
            sender = self._senders.get(instance)
            if sender is not None and (boot in sender.past or (boot == sender.boot and seq <= sender.seq)):
                return Refused.REPLAYED
            said = Payload(_metrics(told.get("metrics", EMPTY)), _facts(told.get("facts", EMPTY)))
        except (ValueError, OverflowError, RecursionError):
            return Refused.MALFORMED
        if sender is None:
            self._senders[instance] = _Sender(boot, seq, said)
            return None
        if boot != sender.boot:
            sender.past = (*sender.past, sender.boot)[-BOOTS:]
        sender.boot, sender.seq, sender.said = boot, seq, said
        return None


class Wills:
    """Last wills, which the broker tells: a hint to ask a machine now. Where many come at once, it is the broker's doing."""

    def __init__(self) -> None:
        """Start with none."""
        self.ignored_until: BootTime = -math.inf
        self._lately: deque[BootTime] = deque()  # at most one of each machine
        self._last: dict[str, BootTime] = {}

    def hints(self, instance: str, clients: int, now: BootTime) -> bool:
        """Take one will; return whether its machine should be asked. `clients` is how many there are."""
        if now - self._last.get(instance, -math.inf) < WILLS_WITHIN:
            return False
        self._last[instance] = now
        self._lately.append(now)
        while now - self._lately[0] > WILLS_WITHIN:
            self._lately.popleft()
        if len(self._lately) >= max(WILLS_LEAST, WILLS_SHARE * clients):
            self.ignored_until = now + WILLS_IGNORED
        return now >= self.ignored_until

    def forget(self, fleet_of: Callable[[str], str | None]) -> None:
        """Keep nothing of instances that are no longer known."""
        self._last = {name: at for name, at in self._last.items() if fleet_of(name) is not None}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _object(payload: bytes) -> dict[str, Any]:
    told = _DECODER.decode(payload.decode("utf-8"))
    if not isinstance(told, dict):
        raise ValueError("no object")
    return told


def _sequence(told: Mapping[str, Any]) -> tuple[int, str]:
    seq, boot = told.get("seq"), told.get("boot_id")
    if type(seq) is not int or not 0 <= seq < MOST_SEQ:
        raise ValueError("no sequence number")
    if not isinstance(boot, str) or not 0 < len(boot) <= NAME:
        raise ValueError("no boot id")
    return seq, boot


def _metrics(told: Any) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for name, value in _entries(told):
        if type(value) not in (int, float) or not abs(value) < math.inf:
            raise ValueError("a metric that is no number")
        found[name] = float(value)
    return found or EMPTY


def _facts(told: Any) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in _entries(told):
        if not isinstance(value, str):
            raise ValueError("a fact that is no text")
        found[name] = value if value.isalnum() and len(value) <= FACT else clean(value, FACT)
    return found or EMPTY


def _entries(told: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(told, Mapping) or len(told) > ENTRIES:
        raise ValueError("no table, or too large a one")
    for name, value in told.items():
        if not 0 < len(name) <= NAME or not name.isprintable():
            raise ValueError("a name that can't be shown")
        yield name, value
