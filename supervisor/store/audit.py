"""The audit log in the state file: appended to by the writer, read and verified beside it by whoever may."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sqlalchemy import Connection, Select, create_engine, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from supervisor.core.chain import GENESIS, AuditDoc, Head, Link, VerifiedDoc, digest, verify
from supervisor.core.model import AuditEntry
from supervisor.errors import StateError
from supervisor.files import write_durably
from supervisor.store.codec import Row, to_row
from supervisor.store.schema import TABLES

TAIL = 1000  # entries that a start looks at
BATCH = 1000

_TABLE = TABLES[AuditEntry]
_SHOWN = tuple(AuditDoc.__annotations__)


def append(connection: Connection, entries: list[AuditEntry]) -> None:
    """Append entries to the chain."""
    if not entries:
        return
    last = connection.execute(select(_TABLE.c.hash).order_by(_TABLE.c.seq.desc()).limit(1)).scalar()
    previous = last or GENESIS
    rows: list[Row] = []
    for entry in sorted(entries, key=lambda e: e.seq):
        row = to_row(entry)
        row["prev_hash"] = previous
        row["hash"] = previous = digest(previous, to_row(entry))
        rows.append(row)
    connection.execute(insert(_TABLE), rows)


class AuditFile:
    """Reads the audit log of a state file, and keeps its head beside it. Blocks, so it is used in threads."""

    def __init__(self, path: Path) -> None:
        """Open the file at each question. The last head that was written down lies beside it."""
        self.path = path
        self._kept = path.with_name("audit.head")

    def read(self, since: datetime | None, limit: int) -> list[AuditDoc]:
        """Return the newest entries, the newest first. Raises `StateError`."""
        with self._reading() as connection:
            query = select(_TABLE).order_by(_TABLE.c.seq.desc()).limit(limit)
            if since is not None:  # times are text in UTC, which may or may not have a fraction
                query = query.where(_TABLE.c.at >= since.strftime("%Y-%m-%dT%H:%M:%S"))
            rows = connection.execute(query).mappings()
            return [cast(AuditDoc, {key: row[key] or "" for key in _SHOWN}) for row in rows]

    def verify(self, anchors: Sequence[Head] = (), *, tail: bool = False) -> VerifiedDoc:
        """Look at the whole chain, or at its last entries only. Raises `StateError`."""
        query = select(_TABLE).order_by(_TABLE.c.seq)
        with self._reading() as connection:
            before = select(_TABLE.c.seq).order_by(_TABLE.c.seq.desc()).offset(TAIL).limit(1)
            last = connection.execute(before).scalar() if tail else None
            if last is not None:
                query = query.where(_TABLE.c.seq > last)
            return verify(self._links(connection, query), self._anchors(anchors), whole=last is None)

    def head(self) -> Head | None:
        """Return the last entry's number and hash. Raises `StateError`."""
        with self._reading() as connection:
            found = connection.execute(
                select(_TABLE.c.seq, _TABLE.c.hash).order_by(_TABLE.c.seq.desc()).limit(1)
            ).first()
        return None if found is None else Head(found.seq, found.hash)

    def keep(self, head: Head) -> None:
        """Write a head down beside the file. Raises `OSError`."""
        write_durably(self._kept, f"{head}\n")

    def _anchors(self, given: Sequence[Head]) -> list[Head]:
        try:
            return [*given, Head.parse(self._kept.read_text(encoding="utf-8").strip())]
        except (OSError, ValueError):  # there is none, or none that can be read
            return list(given)

    def _links(self, connection: Connection, query: Select[tuple[object, ...]]) -> Iterator[Link]:
        for found in connection.execution_options(yield_per=BATCH).execute(query).mappings():
            row = dict(found)
            previous, own = row.pop("prev_hash"), row.pop("hash")
            yield Link(row, str(previous), str(own))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        log = self.path.with_name(self.path.name + "-wal")
        # Without a log there is nothing to share with a writer, and no file of SQLite's own is left behind.
        mode = "ro" if log.exists() else "ro&immutable=1"
        address = f"file:{quote(str(self.path))}?mode={mode}"
        engine = create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=5.0), poolclass=NullPool
        )
        try:
            with engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise StateError(f"{self.path}: the audit log can't be read ({error.orig})") from error
        finally:
            engine.dispose()
