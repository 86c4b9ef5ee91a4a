"""One contract for every store: what is committed is loaded, all or nothing, and the audit log only grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.journal import Step, Workflow
from supervisor.core.model import (
    RECORDS,
    AuditEntry,
    Holder,
    Identity,
    Incident,
    IncidentKind,
    IncidentState,
    Quarantine,
    Record,
    key_of,
)
from supervisor.errors import CommitFailed
from supervisor.ports import Store
from supervisor.store import AuditFile, MemoryStore, SqliteStore
from supervisor.store.codec import from_row, nested_fields, to_row
from supervisor.store.schema import TABLES

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
Make = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Return a way to open the same store again and again."""
    memory, opened = MemoryStore(), list[Store]()

    def opener() -> Store:
        for store in opened:
            store.close()
        opened.clear()
        made: Store = memory if request.param == "memory" else SqliteStore(tmp_path / "state.db")
        opened.append(made)
        return made

    yield opener
    for store in opened:
        store.close()


def incident(number: int, state: IncidentState = IncidentState.OPEN) -> Incident:
    """Return an incident of one instance."""
    return Incident(number, "web", "i-1", IncidentKind.SICK, state, "errors", T0, T0)


def test_the_first_load_makes_an_identity_that_stays(make: Make) -> None:
    """Who this supervisor is never changes."""
    first = [r for r in make().load() if isinstance(r, Identity)]
    second = [r for r in make().load() if isinstance(r, Identity)]

    assert 1 == len(first)
    assert first == second


def test_what_is_committed_is_loaded_and_what_is_deleted_is_gone(make: Make) -> None:
    """Written, written over, deleted; across a restart."""
    store = make()
    store.load()
    holder = Holder("ada", "lunch", "ada", T0, T0 + timedelta(hours=1))
    store.commit([incident(1), holder], [])
    store.commit([incident(1, IncidentState.RESOLVED)], [holder])
    found = make().load()

    assert incident(1, IncidentState.RESOLVED) in found
    assert not any(isinstance(r, Holder) for r in found)


def test_a_refused_commit_leaves_nothing_behind(make: Make) -> None:
    """All or nothing: the audit entry that is already there takes the whole commit down."""
    store = make()
    store.load()
    entry = AuditEntry(1, T0, "ada", "test", "pause", "")
    store.commit([entry], [])
    with pytest.raises(CommitFailed) as caught:
        store.commit([incident(1), entry], [])

    assert not caught.value.ambiguous
    assert not any(isinstance(r, Incident) for r in make().load())


def test_sqlite_keeps_one_open_incident_for_an_instance(tmp_path: Path) -> None:
    """The database itself refuses a second one, whatever a bug may ask for."""
    store = SqliteStore(tmp_path / "state.db")
    store.commit([incident(1)], [])
    with pytest.raises(CommitFailed):
        store.commit([incident(2)], [])
    store.commit([incident(1, IncidentState.CLOSED), incident(2)], [])
    store.close()


def test_the_audit_chain_shows_a_changed_line(tmp_path: Path) -> None:
    """A line that somebody edits no longer fits the one before it."""
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.commit([AuditEntry(n, T0, "ada", "test", "pause", str(n)) for n in (1, 2)], [])
    store.commit([AuditEntry(3, T0, "ada", "test", "resume", "")], [])
    assert [] == AuditFile(path).verify()["broken"]
    with store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'eve' WHERE seq = 2")

    assert ["entry 2 was changed"] == AuditFile(path).verify()["broken"]
    store.close()


def test_every_field_of_every_record_has_a_column() -> None:
    """Nothing is silently left out of the journal."""
    for kind in RECORDS:
        extra = {"prev_hash", "hash"} if kind is AuditEntry else set()
        assert {f.name for f in fields(kind)} | extra == set(TABLES[kind].columns.keys())


WALL = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.one_of([st.from_type(kind) for kind in (Incident, Workflow, Step, Quarantine, Holder)]))
def test_any_record_comes_back_as_it_went(record: Record) -> None:
    """Through a row and back: equal, nested values and unions included."""
    row = to_row(record)
    kind: type = type(record)

    assert from_row(kind, row) == record
    assert nested_fields(kind) <= row.keys()
    assert key_of(record)


st.register_type_strategy(datetime, WALL)
