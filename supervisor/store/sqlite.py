"""The journal in one SQLite file: WAL, full sync, one writer, a lock file that dies with its holder.

A corrupt file is never recreated, a newer one never touched, a locked one never waited for. Every refusal is one
sentence that says what was found and what to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from supervisor.core.model import RECORDS, AuditEntry, Identity, Record, key_of
from supervisor.errors import CommitFailed, StateBusy, StateDamaged, StateError
from supervisor.store import audit
from supervisor.store.codec import from_row, to_row
from supervisor.store.examine import UNHARMED, examine_file, examine_place, examine_room, refusal
from supervisor.store.schema import META, TABLES, VERSION, grow, metadata


class SqliteStore:
    """Use it from one thread only: open, load, commit, close."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and hold its lock for life. Raises `StateError` and its kinds."""
        self.path = path
        self._prepare_folder()
        self._lock = self._take_lock()
        try:
            if not examine_file(path):
                self._create()
            with contextlib.suppress(PermissionError):  # somebody else's file that we may write: theirs to protect
                os.chmod(path, 0o600)
            self._engine = _connect(path)
        except BaseException:
            os.close(self._lock)
            raise

    # -- opening

    def _prepare_folder(self) -> None:
        examine_place(self.path)
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: can't make the state folder ({error.strerror}); choose another `state`"
            ) from error

    def _take_lock(self) -> int:
        path = self.path.with_name(self.path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"{path}: can't be written ({error.strerror}); the daemon needs its state folder writable"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StateBusy(
                f"{self.path} is in use by another daemon (pid {holder}); stop it, or choose another `state`"
            ) from error
        try:
            examine_room(self.path)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(lock)
            raise StateError(f"{path} can't be written ({error.strerror}); make room on its disk") from error
        except StateError:
            os.close(lock)
            raise
        return lock

    def _create(self) -> None:
        """Make an empty state file, and put it in place complete: an empty or half-made one is never ours."""
        part = self.path.with_name(self.path.name + ".new")
        try:
            part.unlink(missing_ok=True)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            engine = create_engine(f"sqlite:///{part}", poolclass=NullPool)
            with engine.begin() as connection:
                metadata.create_all(connection)
                connection.execute(META.insert().values(version=VERSION))
            os.rename(part, self.path)
            _sync(self.path.parent)
        except (DBAPIError, OSError) as error:
            part.unlink(missing_ok=True)
            raise refusal(self.path, _reason(error)) from error

    # -- using

    def load(self) -> Sequence[Record]:
        """Return every record; the first time, make the identity."""
        try:
            with self._engine.begin() as connection:
                grow(connection)
                if connection.execute(select(TABLES[Identity].c.uid)).first() is None:
                    made = Identity(uuid.uuid4().hex, 0, datetime.now(UTC))
                    connection.execute(TABLES[Identity].insert().values(to_row(made)))
                found: list[Record] = []
                known: dict[Any, Any] = {}  # Any: as SQL has them
                for kind in RECORDS:
                    if kind is not AuditEntry:
                        rows = connection.execute(select(TABLES[kind])).mappings()
                        found += [from_row(kind, {k: _once(v, known) for k, v in row.items()}) for row in rows]
                return found
        except DBAPIError as error:
            raise refusal(self.path, _reason(error)) from error
        except ValueError as error:  # pydantic's and json's are both
            what = str(error).splitlines()[0]
            raise StateDamaged(f"{self.path} is damaged (a row can't be read: {what}); {UNHARMED}") from error

    def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Write all or nothing, on disk before it returns. Raises `CommitFailed`."""
        connection = self._engine.connect()
        try:
            transaction = connection.begin()
            try:
                self._write(connection, changes, deletes)
            except SQLAlchemyError as error:
                transaction.rollback()
                raise CommitFailed(f"{self.path}: {_reason(error)}") from error
            try:
                transaction.commit()
            except SQLAlchemyError as error:
                # A full disk took less than the whole of it: what is rolled back now is on no disk.
                refused = _is_full(error) and _rolled_back(connection)
                raise CommitFailed(f"{self.path}: {_reason(error)}", ambiguous=not refused) from error
        except SQLAlchemyError as error:
            raise CommitFailed(f"{self.path}: {_reason(error)}") from error
        finally:
            connection.close()

    def _write(self, connection: Connection, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        for record in deletes:
            table = TABLES[type(record)]
            where = [table.c[name] == value for name, value in zip(record.KEY, key_of(record), strict=True)]
            connection.execute(delete(table).where(*where))
        for kind in RECORDS:
            rows = [to_row(r) for r in changes if type(r) is kind and kind is not AuditEntry]
            if not rows:
                continue
            statement = upsert(TABLES[kind])
            plain = {name: statement.excluded[name] for name in rows[0] if name not in kind.KEY}
            connection.execute(statement.on_conflict_do_update(index_elements=list(kind.KEY), set_=plain), rows)
        audit.append(connection, [r for r in changes if isinstance(r, AuditEntry)])

    def verify_audit(self) -> int | None:
        """Return the first audit entry that does not fit the chain; None when all do."""
        with self._engine.begin() as connection:
            return audit.first_broken(connection)

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._engine.dispose()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _connect(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _: Any) -> None:  # Any: SQLAlchemy's connection record
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _is_full(error: SQLAlchemyError) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlite_errorname", "") == "SQLITE_FULL"


def _rolled_back(connection: Connection) -> bool:
    """Roll back what a failed COMMIT left; return whether that is certain."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        return False
    try:
        driver.rollback()
    except sqlite3.Error:
        return False
    return not driver.in_transaction


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _once(value: Any, known: dict[Any, Any]) -> Any:  # Any: SQL values
    """Return a value; of equal texts or numbers always the same one: a large fleet's rows say the same again and again."""
    return known.setdefault(value, value) if type(value) in (str, int) else value
