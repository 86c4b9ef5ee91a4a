"""Somebody who keeps asking the front door: what the demo shows is what people of the service see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiohttp


@dataclass(slots=True)
class Visitor:
    """Somebody who keeps asking the front door, and counts."""

    url: str
    answered: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How often."""
        return self.answered + self.failed

    @property
    def failures(self) -> str:
        """What went wrong, and how often."""
        return ", ".join(f"{n}x {kind}" for kind, n in sorted(self.kinds.items())) or "none failed"

    def forget(self) -> None:
        """Count afresh."""
        self.answered = self.failed = 0
        self.kinds.clear()

    async def run(self) -> None:
        """Ask ten times a second, for ever."""
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._ask(session)
                await asyncio.sleep(0.1)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self.url) as answer:
                kind = "" if answer.status < 500 else f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            kind = type(error).__name__
        if kind:
            self.failed += 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        else:
            self.answered += 1
