"""The audit log's hash chain: each entry's hash covers the one before it, so a changed or missing entry shows."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection, insert, select

from supervisor.core.model import AuditEntry
from supervisor.store.codec import Row, to_row
from supervisor.store.schema import TABLES

GENESIS = "0" * 64
_TABLE = TABLES[AuditEntry]


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
        row["hash"] = previous = _hash(previous, to_row(entry))
        rows.append(row)
    connection.execute(insert(_TABLE), rows)


def first_broken(connection: Connection) -> int | None:
    """Return the sequence number of the first entry that does not fit the chain; None when all do."""
    previous = GENESIS
    for found in connection.execute(select(_TABLE).order_by(_TABLE.c.seq)).mappings():
        row = dict(found)
        prev_hash, own = row.pop("prev_hash"), row.pop("hash")
        if prev_hash != previous or own != _hash(previous, row):
            return int(row["seq"])
        previous = own
    return None


def _hash(previous: str, row: Row) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((previous + text).encode()).hexdigest()
