"""Reads the end of a sick machine's log for its incident's dossier. Nothing waits for it; what takes too long is left out.

Secrets are masked here, before a line comes near the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from supervisor.core.masking import masked, masked_lines
from supervisor.core.signals import LogRead, ReadLog
from supervisor.core.terms import Seconds
from supervisor.core.text import clean
from supervisor.errors import ProviderError
from supervisor.ports import Cloud

log = structlog.get_logger()

LINES = 100
LONGEST = 500  # characters of a line that are looked at
LIMIT: Seconds = 10.0
AT_ONCE = 2  # the cloud's patience is for healing
WAITING = 50


class LogReader:
    """Answers each `ReadLog` with one `LogRead`, whatever happens."""

    def __init__(self, clouds: Mapping[str, Cloud], report: Callable[[LogRead], None]) -> None:
        """`report` takes each answer to the engine."""
        self._clouds = clouds
        self._report = report
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, clouds: Mapping[str, Cloud]) -> None:
        """Ask other clouds from now on."""
        self._clouds = clouds

    def read(self, command: ReadLog) -> None:
        """Begin to read; never blocks. While too many wait, say so instead."""
        if len(self._tasks) >= WAITING:
            self._answer(command, (), f"not read: {WAITING} others are being read")
            return
        task = asyncio.create_task(self._read(command), name=f"log of {command.instance}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way; the next start asks again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, command: ReadLog) -> None:
        lines: Sequence[str] = ()
        trouble = ""
        cloud = self._clouds.get(command.fleet)
        async with self._turn:
            try:
                async with asyncio.timeout(LIMIT):
                    if cloud is None:
                        trouble = "not read: its fleet is not configured any more"
                    else:
                        lines = await cloud.logs(command.instance, LINES)
            except TimeoutError:
                trouble = f"not read: no answer within {LIMIT:.0f}s"
            except ProviderError as error:
                trouble = f"not read: {masked(clean(str(error)))}"
            except Exception as error:  # noqa: BLE001  # a provider's bug costs one log, and no more
                log.warning("log.unread", instance=command.instance, error=f"{type(error).__name__}: {error}")
                trouble = f"not read: {type(error).__name__}"
        shown = (clean(line, LONGEST) for line in lines[-LINES:])
        self._answer(command, tuple(line for line in masked_lines(shown) if line.strip()), trouble)

    def _answer(self, command: ReadLog, lines: tuple[str, ...], trouble: str) -> None:
        self._report(LogRead(command.incident, command.moment, lines, trouble))
