"""The journal in memory, for the simulator: the same contract, nothing survives the process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from supervisor.core.model import AuditEntry, Identity, Record, key_of
from supervisor.errors import CommitFailed


class MemoryStore:
    """Records by kind and key."""

    def __init__(self, uid: str = "memory") -> None:
        """Start empty, as a supervisor with this identity."""
        self._records: dict[tuple[type, tuple[str | int, ...]], Record] = {}
        self._uid = uid

    def load(self) -> Sequence[Record]:
        """Return every record; the first time, make the identity."""
        if not any(isinstance(r, Identity) for r in self._records.values()):
            self.commit([Identity(self._uid, 0, datetime(2026, 1, 1, tzinfo=UTC))], [])
        return list(self._records.values())

    def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Write all or nothing."""
        for record in changes:
            if isinstance(record, AuditEntry) and (AuditEntry, key_of(record)) in self._records:
                raise CommitFailed(f"audit entry {record.seq} is already written: the audit log is append-only")
        for record in deletes:
            self._records.pop((type(record), key_of(record)), None)
        for record in changes:
            self._records[(type(record), key_of(record))] = record

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
