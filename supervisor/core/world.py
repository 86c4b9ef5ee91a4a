"""The records in memory, with the indexes that make each question cheap, and an undo log.

The engine writes here during a step; what it wrote counts only once the store has committed it. `rollback()` puts
everything back as it was, so a refused commit leaves memory and disk in agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar, cast

from supervisor.core.journal import Step, Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import (
    AuditEntry,
    Change,
    CheckStanding,
    Holder,
    Identity,
    Image,
    Incident,
    IncidentKind,
    IncidentState,
    Instance,
    Learnt,
    Offering,
    OutboxMessage,
    Permit,
    Quarantine,
    Record,
    Removal,
    Slot,
    Thread,
    key_of,
)
from supervisor.core.terms import Lifecycle

Key = str | int | tuple[str | int, ...]
"""What a record is found by: the bare value where its key is a single one, as nearly everywhere."""
Place = tuple[Lifecycle, str, str]  # lifecycle, zone, image
R = TypeVar("R", bound=Record)


class World:
    """All records, one writer."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Load everything the store holds. Exactly one `Identity` must be among it."""
        self._tables: dict[type, dict[Key, Record]] = defaultdict(dict)
        self._undo: dict[tuple[type, Key], Record | None] = {}
        self._audit: list[AuditEntry] = []
        self.version = 0  # grows with every record that is written or taken back
        self.slot_changes = 0  # grows with every slot that comes or goes
        self.members: dict[str, set[str]] = defaultdict(set)  # fleet -> instances not retired
        self.slots_of: dict[str, set[int]] = defaultdict(set)
        self.free_slots: dict[str, set[int]] = defaultdict(set)
        self.stuck_slots: dict[str, set[int]] = defaultdict(set)  # those that need a human
        self.failing_slots: dict[str, set[int]] = defaultdict(set)  # those whose last launches failed
        self.census: dict[str, Counter[Place]] = defaultdict(Counter)  # fleet -> where its members stand
        self.open_incidents: dict[tuple[str, str, str], int] = {}  # (fleet, instance, about)
        self.open_of: dict[str, set[int]] = defaultdict(set)
        self.shared: dict[str, set[int]] = defaultdict(set)  # fleet -> open incidents of a shared cause
        self.running: dict[str, set[int]] = defaultdict(set)
        self.rescues: dict[str, set[int]] = defaultdict(
            set
        )  # fleet -> workflows that launched one more, however they ended
        self.by_instance: dict[str, int] = {}  # instance -> running workflow (patient or candidate)
        self.by_slot: dict[tuple[str, int], int] = {}
        self.kept: dict[str, set[str]] = defaultdict(set)  # fleet -> quarantined instances
        self.unsettled: dict[str, set[int]] = defaultdict(set)
        identity: Identity | None = None
        for record in records:
            if isinstance(record, AuditEntry):
                continue
            if isinstance(record, Identity):
                identity = record
            self._set(type(record), _key(record), record)
        if identity is None:
            raise ValueError("the store holds no identity")
        self._uid = identity.uid

    # -- reading

    @property
    def identity(self) -> Identity:
        """Who this supervisor is."""
        return cast(Identity, self._tables[Identity][self._uid])

    def get(self, kind: type[R], *key: str | int) -> R | None:
        """Return one record by its key."""
        return cast("R | None", self._tables[kind].get(_bare(key)))

    def need(self, kind: type[R], *key: str | int) -> R:
        """Return one record that must exist."""
        return cast(R, self._tables[kind][_bare(key)])

    def table(self, kind: type[R]) -> Mapping[Key, R]:
        """Return the records of a kind by their keys, to look many up in a row."""
        return cast("Mapping[Key, R]", self._tables[kind])

    def all(self, kind: type[R]) -> Iterator[R]:
        """Iterate over the records of a kind, in key order."""
        table = self._tables[kind]
        return (cast(R, table[key]) for key in sorted(table))

    def values(self, kind: type[R]) -> Iterable[R]:
        """Return the records of a kind in no promised order: for counting only."""
        return cast("Iterable[R]", self._tables[kind].values())

    def count(self, kind: type[Record]) -> int:
        """Return how many records of a kind there are."""
        return len(self._tables[kind])

    def incident_of(self, fleet: str, instance: str, about: str = "") -> Incident | None:
        """Return the incident of an instance (or of the fleet, for '', or of what a shared one is `about`) that is not closed."""
        number = self.open_incidents.get((fleet, instance, about))
        return None if number is None else self.need(Incident, number)

    def good_image(self, fleet: str) -> Image | None:
        """Return the last known good image of a fleet: healing launches it. None before there is any."""
        return next((image for image in self.all(Image) if image.fleet == fleet and image.last_known_good), None)

    def workflow_of(self, instance: str) -> Workflow | None:
        """Return the running workflow that concerns an instance."""
        number = self.by_instance.get(instance)
        return None if number is None else self.need(Workflow, number)

    # -- writing

    def next_id(self) -> int:
        """Return a fresh number. Numbers rise, and are never used twice."""
        identity = replace(self.identity, counter=self.identity.counter + 1)
        self.put(identity)
        return identity.counter

    def put(self, record: R) -> R:
        """Write one record."""
        if isinstance(record, AuditEntry):
            self._audit.append(record)
            return record
        kind, key = type(record), _key(record)
        old = self._tables[kind].get(key)
        if old != record:
            self._undo.setdefault((kind, key), old)
            self._set(kind, key, record)
        return record

    def delete(self, record: Record) -> None:
        """Delete one record."""
        kind, key = type(record), _key(record)
        old = self._tables[kind].get(key)
        if old is not None:
            self._undo.setdefault((kind, key), old)
            self._set(kind, key, None)

    def changes(self) -> tuple[list[Record], list[Record]]:
        """Return what was written and what was deleted since the last `settle`, in a fixed order."""
        written: list[Record] = []
        deleted: list[Record] = []
        for (kind, key), old in self._undo.items():
            now = self._tables[kind].get(key)
            if now is not None and now != old:
                written.append(now)
            elif now is None and old is not None:
                deleted.append(old)
        return [*written, *self._audit], deleted

    def settle(self) -> None:
        """Accept what was written: it is on disk."""
        self._undo.clear()
        self._audit.clear()

    def rollback(self) -> None:
        """Put everything back as it was at the last `settle`."""
        for (kind, key), old in reversed(self._undo.items()):
            self._set(kind, key, old)
        self.settle()

    # -- indexes

    def _set(self, kind: type, key: Key, record: Record | None) -> None:
        self.version += 1
        table = self._tables[kind]
        old = table.get(key)
        if kind is Slot and (old is None or record is None):
            self.slot_changes += 1
        if old is not None:
            self._index(old, add=False)
        if record is None:
            table.pop(key, None)
        else:
            table[key] = record
            self._index(record, add=True)

    def _index(self, record: Record, *, add: bool) -> None:
        match record:
            case Instance():
                if record.lifecycle is not Lifecycle.RETIRED:
                    _toggle(self.members[record.fleet], record.id, add=add)
                    _count(self.census[record.fleet], (record.lifecycle, record.zone, record.image), add=add)
            case Slot():
                _toggle(self.slots_of[record.fleet], record.number, add=add)
                if record.occupant is None:
                    _toggle(self.free_slots[record.fleet], record.number, add=add)
                if record.failures:
                    _toggle(self.failing_slots[record.fleet], record.number, add=add)
                if record.needs_human:
                    _toggle(self.stuck_slots[record.fleet], record.number, add=add)
            case Incident():
                if record.state is not IncidentState.CLOSED:
                    _toggle(self.open_of[record.fleet], record.id, add=add)
                    if record.kind is IncidentKind.SHARED:
                        _toggle(self.shared[record.fleet], record.id, add=add)
                    _point(self.open_incidents, (record.fleet, record.instance, record.about), record.id, add=add)
            case Workflow():
                if record.kind is WorkflowKind.RESCUE:
                    _toggle(self.rescues[record.fleet], record.id, add=add)
                if record.state is WorkflowState.RUNNING:
                    _toggle(self.running[record.fleet], record.id, add=add)
                    for instance in {record.patient, record.candidate if record.fills else ""} - {""}:
                        _point(self.by_instance, instance, record.id, add=add)
                    if record.slot is not None and (record.fills or not record.candidate):
                        _point(self.by_slot, (record.fleet, record.slot), record.id, add=add)
            case Quarantine():
                if record.ended_at is None:
                    _toggle(self.kept[record.fleet], record.instance, add=add)
            case Removal():
                if record.settled_at is None:
                    _toggle(self.unsettled[record.fleet], record.id, add=add)
            case Step() | Image() | Offering() | Holder() | OutboxMessage() | Thread() | AuditEntry() | Identity():
                pass
            case Change() | CheckStanding() | Learnt() | Permit():
                pass


def _key(record: Record) -> Key:
    return _bare(key_of(record))


def _bare(key: tuple[str | int, ...]) -> Key:
    return key[0] if len(key) == 1 else key


T = TypeVar("T")
K = TypeVar("K")


def _toggle(place: set[T], item: T, *, add: bool) -> None:
    if add:
        place.add(item)
    else:
        place.discard(item)


def _count(census: Counter[Place], place: Place, *, add: bool) -> None:
    census[place] += 1 if add else -1
    if not census[place]:
        del census[place]


def _point(place: dict[K, int], key: K, number: int, *, add: bool) -> None:
    if add:
        place[key] = number
    elif place.get(key) == number:
        del place[key]
