"""Virtual time: an event loop that jumps to its next timer instead of sleeping, and the clock that goes with it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from supervisor.core.terms import Now, Seconds

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.BaseSelector):
    """Waits for nothing: moves the loop's time instead."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self._real = selectors.DefaultSelector()

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:  # Any: selectors' own typing
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:  # Any: selectors' own typing
        return self._real.unregister(fileobj)

    def get_map(self) -> Any:  # Any: selectors' own typing
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is scheduled and nothing is ready: everyone waits for ever")
        if timeout > 0 and self.loop is not None:
            self.loop.skip(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time moves only when nobody has anything to do, and then at once."""

    def __init__(self) -> None:
        """Start at zero."""
        self._now = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now

    def skip(self, seconds: Seconds) -> None:
        """Let time pass."""
        self._now += seconds


class VirtualClock:
    """The clock of a virtual world: outlives the loops of several lives of a daemon."""

    def __init__(self, start: datetime = START) -> None:
        """Start at a wall time, with the boot clock at 1000 s."""
        self._base = 1000.0
        self._wall = start
        self._loop: VirtualLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:  # Any: coroutines' own typing
        """Run a coroutine on virtual time; time goes on where the last run stopped."""
        loop = VirtualLoop()
        self._loop = loop
        try:
            return loop.run_until_complete(coroutine)
        finally:
            try:
                pending = asyncio.all_tasks(loop)
                for task in pending:
                    task.cancel()
                if pending:
                    loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            finally:
                self._base += loop.time()
                self._loop = None
                loop.close()

    @property
    def boot(self) -> float:
        """The boot clock now."""
        return self._base + (self._loop.time() if self._loop else 0.0)

    def now(self) -> Now:
        """Return the present moment."""
        return Now(self.boot, self._wall + timedelta(seconds=self.boot - 1000.0))

    def jump_wall(self, seconds: Seconds) -> None:
        """Set the wall clock forward or back."""
        self._wall += timedelta(seconds=seconds)

    def suspend(self, seconds: Seconds) -> None:
        """Let time pass as if the machine had slept: nobody ran meanwhile."""
        self._base += seconds
