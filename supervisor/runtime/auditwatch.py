"""Watches over the audit log: verifies its end at a start, and writes its head down where it can be compared later.

The head stands beside the state file and in the log, which is best kept on another host: from a chain alone nobody can
see that its end was cut off. Whatever is found, healing goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from supervisor.core.chain import Head
from supervisor.errors import StateError
from supervisor.ports import AuditLog

log = structlog.get_logger()

EVERY = 60.0  # seconds between two heads that are written down


class AuditWatch:
    """Watches one log. `broken` is what was wrong with it at the start, a sentence each."""

    def __init__(self, audit: AuditLog) -> None:
        """Take the log."""
        self.audit = audit
        self.broken: tuple[str, ...] = ()
        self._kept: Head | None = None

    async def run(self, notice: Callable[[str, str], None]) -> None:
        """Look at the end once, then write the head down for ever, and when we stop. `notice` has people told."""
        await self._look(notice)
        try:
            while True:
                await asyncio.to_thread(self._keep)
                await asyncio.sleep(EVERY)
        finally:
            self._keep()

    async def _look(self, notice: Callable[[str, str], None]) -> None:
        try:
            found = await asyncio.to_thread(self.audit.verify, tail=True)
        except StateError as error:
            log.error("audit.unread", error=str(error))
            return
        self.broken = tuple(f"the audit log does not fit: {fault}" for fault in found["broken"])
        for fault in self.broken:
            log.error("audit.broken", fault=fault)
        if self.broken:
            more = f" (and {len(self.broken) - 1} more)" if len(self.broken) > 1 else ""
            notice("audit.broken", f"{self.broken[0]}{more}; `sickbay audit --verify` looks at all of it")

    def _keep(self) -> None:
        """Write the head down if it has moved. A log that does not fit is not blessed by it: the old head stays."""
        if self.broken:
            return
        try:
            head = self.audit.head()
            if head is not None and head != self._kept:
                self.audit.keep(head)
                self._kept = head
                log.info("audit.head", head=str(head))
        except (StateError, OSError) as error:
            log.error("audit.unread", error=str(error))
