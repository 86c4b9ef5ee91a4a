"""Real check hosts for one test, and every result that comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from supervisor.core.signals import Observe, Result
from supervisor.runtime.checkhost import CheckHosts, CheckSpec


class Watching:
    """Both hosts, every result that came, and every sentence that people would be told."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.told: list[str] = []
        self.hosts = CheckHosts(self.told.append)
        self.results: list[Result] = []

    async def collect(self) -> None:
        """Collect for ever."""
        async for batch in self.hosts.results():
            self.results.extend(batch)

    def of(self, instance: str, check: str = "") -> list[Result]:
        """Return the results of one instance."""
        return [r for r in self.results if r.instance == instance and check in ("", r.check)]

    async def until(self, done: Callable[[], object], limit: float = 40.0) -> None:
        """Wait for real processes."""
        async with asyncio.timeout(limit):
            while not done():
                await asyncio.sleep(0.02)

    async def first(self, check: str, text: str) -> Result:
        """Wait for a result of a check that says something, and return it."""
        await self.until(lambda: any(text in r.text for r in self.results if r.check == check))
        return next(r for r in self.results if r.check == check and text in r.text)


@asynccontextmanager
async def watching_hosts() -> AsyncIterator[Watching]:
    """Run the hosts."""
    made = Watching()
    tasks = [asyncio.create_task(made.hosts.run()), asyncio.create_task(made.collect())]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def observe(name: str, address: str = "127.0.0.1", *, fast: bool = False) -> Observe:
    """Watch one instance."""
    return Observe(name, "web", address, "a", "img", "1.0.0", fast)


def spec(
    kind: str, *, name: str = "c", interval: float = 0.2, timeout: float = 0.15, builtin: bool = True, **options: object
) -> CheckSpec:
    """Return one check."""
    return CheckSpec(name, kind, options, interval, timeout, builtin)


def plugin_folder(folder: Path, source: str) -> Path:
    """Put a plugin into a folder that may be trusted; return the file."""
    folder.chmod(0o755)
    file = folder / "mine.py"
    file.write_text(source)
    file.chmod(0o644)
    return file
