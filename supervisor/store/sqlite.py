"""The journal in one SQLite file: WAL, full sync, one writer, a lock file that dies with its holder.

A corrupt file is never recreated, a newer one never touched, a locked one never waited for. Every refusal is one
sentence that says what was found and what to do.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, inspect, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from supervisor.core.model import RECORDS, AuditEntry, Identity, Record, key_of
from supervisor.errors import CommitFailed, StateBusy, StateDamaged, StateError, StateNewer
from supervisor.store import audit
from supervisor.store.codec import from_row, to_row
from supervisor.store.schema import META, TABLES, VERSION, grow, metadata

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph", "lustre"})


class SqliteStore:
    """Use it from one thread only: open, load, commit, close."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and hold its lock for life. Raises `StateError` and its kinds."""
        self.path = path
        self._prepare_folder()
        self._lock = self._take_lock()
        try:
            self._engine = self._connect()
            self._check()
        except BaseException:
            os.close(self._lock)
            raise

    # -- opening

    def _prepare_folder(self) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: can't make the state folder ({error.strerror}); choose another `state`"
            ) from error
        if self.path.is_dir():
            raise StateError(f"{self.path} is a folder, a state file was expected; give `state` the path of a file")
        kind = _file_system(folder)
        if kind in NETWORK_FILE_SYSTEMS:
            raise StateError(
                f"{folder} is on a network file system ({kind}), where locks can't be trusted; use a local disk"
            )

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
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _connect(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self.path}",
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

    def _check(self) -> None:
        try:
            with self._engine.begin() as connection:
                verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if verdict != "ok":
                    raise StateDamaged(f"{self.path} is damaged ({verdict}); restore a backup, nothing was changed")
                names = set(inspect(connection).get_table_names())
                if not names:
                    metadata.create_all(connection)
                    connection.execute(META.insert().values(version=VERSION))
                elif META.name not in names:
                    raise StateError(f"{self.path} is no Sickbay state file; choose another `state`")
                found = connection.execute(select(META.c.version)).scalar() or 0
                if found > VERSION:
                    raise StateNewer(
                        f"{self.path} was written by a newer Sickbay (format {found}, this one reads {VERSION}); upgrade"
                    )
                grow(connection)
            os.chmod(self.path, 0o600)
        except DBAPIError as error:
            raise _state_error(self.path, error) from error

    # -- using

    def load(self) -> Sequence[Record]:
        """Return every record; the first time, make the identity."""
        try:
            with self._engine.begin() as connection:
                if connection.execute(select(TABLES[Identity].c.uid)).first() is None:
                    made = Identity(uuid.uuid4().hex, 0, datetime.now(UTC))
                    connection.execute(TABLES[Identity].insert().values(to_row(made)))
                found: list[Record] = []
                for kind in RECORDS:
                    if kind is not AuditEntry:
                        rows = connection.execute(select(TABLES[kind])).mappings()
                        found += [from_row(kind, dict(row)) for row in rows]
                return found
        except DBAPIError as error:
            raise _state_error(self.path, error) from error

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
                raise CommitFailed(f"{self.path}: {_reason(error)}", ambiguous=True) from error
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


def _reason(error: SQLAlchemyError) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _state_error(path: Path, error: DBAPIError) -> StateError:
    reason = _reason(error)
    if "malformed" in reason or "not a database" in reason:
        return StateDamaged(f"{path} is damaged ({reason}); restore a backup, nothing was changed")
    if "readonly" in reason or "unable to open" in reason:
        return StateError(f"{path} can't be written ({reason}); the daemon needs its state file writable")
    return StateError(f"{path} can't be used ({reason})")


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder."""
    best, kind = "", ""
    real = str(folder.resolve())
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        mount, found = line.split()[1:3]
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, found
    return kind
