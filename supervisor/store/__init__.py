"""The journal on disk and in memory, behind the `Store` port."""

from supervisor.store.memory import MemoryStore
from supervisor.store.sqlite import SqliteStore
from supervisor.store.writer import Writer

__all__ = ["MemoryStore", "SqliteStore", "Writer"]
