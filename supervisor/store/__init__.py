"""The journal on disk and in memory, behind the `Store` port."""

from supervisor.store.audit import AuditFile
from supervisor.store.history import HistoryFiles
from supervisor.store.memory import MemoryStore
from supervisor.store.sqlite import SqliteStore
from supervisor.store.writer import Writer

__all__ = ["AuditFile", "HistoryFiles", "MemoryStore", "SqliteStore", "Writer"]
