"""The plugin host's flight recorder: which check had the processor, and where, when the host stood still or died.

The host writes into memory that it shares with the supervisor, so that what it wrote outlives it. Around each step of a
check's coroutine stands the check's label. And when the event loop has not turned for some seconds, a watchdog in C,
which needs no lock of Python's, writes down every stack and ends the process. The supervisor then reads who it was.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import mmap
import os
import re
import sysconfig
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from supervisor.runtime.scale import Scale

T = TypeVar("T")
Awaited: TypeAlias = Coroutine[Any, Any, T] | Generator[Any, None, T]  # Any: asyncio's own business

BLOCKED_AFTER = 5.0
"""Seconds without a turn of the event loop after which the host ends itself."""
SLOW = 0.25
"""Seconds of one step that are worth a word: all other checks of the host waited for it."""
LABEL = 8192
LONGEST_TRACE = 256 * 1024
OFFENCE = b"!"

_HERE = Path(__file__).resolve().parents[1]
_label: ContextVar[bytes] = ContextVar("label", default=b"")
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$')


@dataclass(frozen=True, slots=True)
class Culprit:
    """Who did it, and what: "has blocked … at mine.py:7"."""

    kind: str
    what: str


class Recorder:
    """The host's side: `hold` runs coroutines under a label."""

    def __init__(self, descriptor: int, scale: Scale) -> None:
        """Take the shared memory from the supervisor; the `scale` says who fills the host's memory."""
        self._descriptor = descriptor
        self._scale = scale
        os.ftruncate(descriptor, LABEL)
        os.lseek(descriptor, LABEL, os.SEEK_SET)
        self._memory: mmap.mmap | bytearray = mmap.mmap(descriptor, LABEL)
        self._home = os.getpid()
        self.slow: dict[str, float] = {}

    def alive(self) -> None:
        """Say that the loop turns: the watchdog counts anew."""
        faulthandler.dump_traceback_later(BLOCKED_AFTER, exit=True, file=self._descriptor)

    async def hold(self, kind: str, file: str, coroutine: Coroutine[Any, Any, T]) -> T:  # Any: asyncio's own business
        """Run a check, with what it starts, under the label of its kind."""
        label = _labelled(kind, file)
        _label.set(label)
        return await self._steps(label, coroutine)

    def call(self, kind: str, file: str, function: Callable[[], T]) -> T:
        """Call something of a check's under the label of its kind."""
        label = _labelled(kind, file)
        token = _label.set(label)
        try:
            return self._step(label, function)
        finally:
            _label.reset(token)

    def task_factory(
        self, loop: asyncio.AbstractEventLoop, coroutine: Awaited[T], **options: Any
    ) -> asyncio.Task[T]:  # Any: as for hold
        """Make tasks that inherit the label of the check that starts them."""
        return asyncio.Task(self._inherited(coroutine), loop=loop, **options)

    async def _inherited(self, coroutine: Awaited[T]) -> T:
        label = _label.get()
        return await self._steps(label, coroutine) if label else await _plain(coroutine)

    @types.coroutine
    def _steps(self, label: bytes, coroutine: Awaited[T]) -> Generator[Any, Any, T]:  # Any: as for hold
        """Drive a coroutine, each step under its label."""
        step = partial(coroutine.send, None)
        while True:
            try:
                awaited = self._step(label, step)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a coroutine's value is its StopIteration's
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001  # whatever is thrown in goes to the coroutine
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, None)

    def _step(self, label: bytes, step: Callable[[], T]) -> T:
        """Give a check the processor once, with its label in the shared memory meanwhile and only then."""
        self._memory[: len(label)] = label
        begun = time.monotonic()
        try:
            return step()
        finally:
            if os.getpid() != self._home:  # a fork has come back: the event loop is not its own
                os._exit(0)
            self._memory[0] = 0
            if (full := self._scale.weigh(label)) is not None:
                self.blame(*full)
            if (took := time.monotonic() - begun) > SLOW:
                kind = json.loads(label)[0]
                self.slow[kind] = max(took, self.slow.get(kind, 0.0))

    def blame(self, label: bytes, what: str) -> None:
        """End the host at once, with a reason: the supervisor cleans up after it and starts another."""
        self._memory[: len(label)] = label
        os.write(self._descriptor, OFFENCE + what.encode())
        os._exit(1)

    def forget(self) -> None:
        """Write for nobody any more: in a fork, which must not speak for its parent."""
        self._memory = bytearray(LABEL)


def _labelled(kind: str, file: str) -> bytes:
    return json.dumps([kind, file]).encode()[: LABEL - 1] + b"\n"


@types.coroutine
def _plain(coroutine: Awaited[T]) -> Generator[Any, Any, T]:  # Any: as for hold
    return (yield from coroutine)  # type: ignore[misc,no-any-return]  # it may delegate to either, see types.coroutine


def current_label() -> bytes:
    """Return the label of the check that runs, b"" for none."""
    return _label.get()


def new_memory() -> int:
    """Return the descriptor of a fresh shared memory, for one host."""
    return os.memfd_create("sickbay-flight", os.MFD_CLOEXEC)


def read(descriptor: int, ended: str) -> Culprit | None:
    """Return who had the processor when a host ended, if anybody; `ended` says how it did."""
    raw = os.pread(descriptor, LABEL + LONGEST_TRACE, 0)
    try:
        kind, file = json.loads(raw[:LABEL].partition(b"\n")[0])
    except ValueError:  # nobody had it: the first byte is 0
        return None
    trace = raw[LABEL:]
    if trace.startswith(OFFENCE):
        return Culprit(kind, trace[1:].decode(errors="replace"))
    if trace:
        place = _place(trace.decode(errors="replace"), file)
        return Culprit(kind, f"blocked the plugin host for {BLOCKED_AFTER:.0f}s{place and ' at '}{place}")
    return Culprit(kind, f"brought the plugin host down: it {ended}")


def _place(trace: str, file: str) -> str:
    """Return the innermost "file:line" of the main thread in the plugin's file; else of what is not Python's own."""
    main = trace.rpartition("most recent call first")[2]
    frames = [found.groups() for line in main.splitlines() if (found := _FRAME.match(line))]
    own = [f"{name}:{line}" for name, line, _ in frames if name == file]
    library = sysconfig.get_path("stdlib")
    foreign = [f"{name}:{line}" for name, line, _ in frames if not name.startswith((library, str(_HERE), "<"))]
    return next(iter(own or foreign), "")
