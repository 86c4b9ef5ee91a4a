"""What the checker reads: the daemon's calls as they arrived, the journal, and the machines as they really are.

A call is looked at on its arrival, before it has any effect: what the journal held then is what had been committed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from supervisor.core.model import RECORDS, Record
from supervisor.store.codec import Row, from_row, nested_fields
from supervisor.store.schema import TABLES
from tests.standins.aws import Aws, Entry, World
from tests.standins.aws.instances import Life

RESOURCE = re.compile(r"(?:i|eni|vol|snap)-[0-9a-f]{8,17}")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that was in the journal, committed."""

    workflow: int
    step: str
    attempt: int
    request: Row

    @property
    def verb(self) -> str:
        """What was to be done."""
        return str(self.request.get("verb", ""))

    @property
    def instance(self) -> str:
        """To what; '' for a launch."""
        return str(self.request.get("instance", ""))


@dataclass(frozen=True, slots=True)
class Seen:
    """A mutating call, and what was true when it arrived."""

    entry: Entry
    life: int
    """Of the daemon: 1 for its first."""
    touched: frozenset[str] = frozenset()
    """The ids that it names, with the machines that they belong to."""
    intents: tuple[Intent, ...] = ()
    kept: frozenset[str] = frozenset()
    """Machines in quarantine, as the journal has it."""
    served: Mapping[str, int] | None = None
    """How many requests each machine had answered well."""
    healthy: frozenset[str] = frozenset()
    """Machines that the load balancer called healthy."""
    unsnapped: frozenset[str] = frozenset()
    """Machines with a snapshot that was not complete."""

    @property
    def action(self) -> str:
        """AWS's name of the call."""
        return self.entry.action


@dataclass(frozen=True, slots=True)
class Truth:
    """One machine as it really is."""

    id: str
    state: str
    tags: Mapping[str, str]
    groups: tuple[frozenset[str], ...]
    """The security groups of each interface."""
    protected: bool
    target: str
    """What the load balancer would say of it; '' where it is not registered."""
    snapshots: int
    """The most that one of its volumes has."""
    isolation: str = ""

    @property
    def lives(self) -> bool:
        """Not gone, and not on its way out."""
        return self.state not in ("shutting-down", "terminated")

    @property
    def is_isolated(self) -> bool:
        """Every interface has the isolation group alone."""
        return all(groups == {self.isolation} for groups in self.groups)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything at the end of a run. `texts` are the files and answers in which no secret may be."""

    calls: Sequence[Seen]
    machines: Mapping[str, Truth]
    records: Sequence[Record]
    texts: Mapping[str, bytes]
    desired: int
    foreign: frozenset[str] = frozenset()
    ill: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()

    def of(self, kind: type[R]) -> list[R]:
        """Return the final records of a kind."""
        return [r for r in self.records if isinstance(r, kind)]

    @property
    def effects(self) -> list[Seen]:
        """The calls that changed something, in the order of their effects."""
        return sorted((c for c in self.calls if c.entry.effect), key=lambda c: c.entry.order)


def seen_by(aws: Aws, world: World, journal: Path, entry: Entry, life: int) -> Seen:
    """Look at everything at the moment when a call arrives."""
    lives = dict(aws.instances.lives)
    healthy = {name for name in lives if aws.balancer.state(world.target_group, name) == "healthy"}
    return Seen(
        entry=entry,
        life=life,
        touched=frozenset(_touched(aws, entry.params)),
        intents=tuple(_intents(journal)),
        kept=frozenset(name for (name,) in _rows(journal, "SELECT instance FROM quarantine WHERE ended_at IS NULL")),
        served={name: machine.served for name, machine in aws.machines.known.items()},
        healthy=frozenset(healthy),
        unsnapped=frozenset(
            owner for s in aws.snapshots if s.status != "completed" for owner in _owners(lives, s.volume_id)
        ),
    )


def truth_of(aws: Aws, world: World) -> dict[str, Truth]:
    """Return every machine of the account as it really is."""
    snapshots = aws.snapshots
    found: dict[str, Truth] = {}
    for life in list(aws.instances.lives.values()):
        volumes = [disk.volume_id for disk in life.instance.block_device_mapping.values()]
        state = aws.balancer.state(world.target_group, life.id)
        found[life.id] = Truth(
            id=life.id,
            state=life.state,
            tags=life.tags,
            groups=tuple(frozenset(g.id for g in card.group_set) for card in life.instance.nics.values()),
            protected=bool(life.instance.disable_api_termination),
            target="" if state in ("unused", "draining") else state,
            snapshots=max((sum(s.volume_id == v for s in snapshots) for v in volumes), default=0),
            isolation=world.isolation,
        )
    return found


def read_journal(journal: Path) -> list[Record]:
    """Return every record of the journal, as somebody who looks on."""
    found: list[Record] = []
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5)) as reading:
        reading.row_factory = sqlite3.Row
        for kind in cast("tuple[type, ...]", RECORDS):  # a union of types is no type to mypy
            names = {f.name for f in fields(kind)}
            for row in reading.execute(f'SELECT * FROM "{TABLES[kind].name}"'):  # our own name
                values = {name: row[name] for name in row.keys() if name in names}  # noqa: SIM118  # a sqlite3.Row
                for name in nested_fields(kind):
                    values[name] = None if values[name] is None else json.loads(values[name])
                found.append(from_row(kind, values))
    return found


def _intents(journal: Path) -> Iterator[Intent]:
    query = "SELECT workflow, name, attempt, request FROM step WHERE request IS NOT NULL"
    for workflow, name, attempt, request in _rows(journal, query):
        yield Intent(workflow, name, attempt, json.loads(request))


def _rows(journal: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5)) as reading:
            return reading.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


def _touched(aws: Aws, params: object) -> Iterator[str]:
    """Name every id in a call, and the machine that it belongs to."""
    for name in _ids(params):
        yield name
        yield from _owners(aws.instances.lives, name)


def _ids(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
    elif isinstance(value, str) and RESOURCE.fullmatch(value):
        yield value


def _owners(lives: Mapping[str, Life], name: str) -> Iterator[str]:
    for life in list(lives.values()):
        parts = {card.id for card in life.instance.nics.values()}
        parts |= {disk.volume_id for disk in life.instance.block_device_mapping.values()}
        if name in parts:
            yield life.id
