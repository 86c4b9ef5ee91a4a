"""What the plugin host does about the foreign code within it: limits, a watchdog, and forks that can't speak for it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec, TypeVar

from supervisor.runtime import stragglers
from supervisor.runtime.flight import Recorder, current_label
from supervisor.runtime.scale import Scale

P = ParamSpec("P")
T = TypeVar("T")

MOST_MEMORY = 768 * 1024**2
"""Bytes of memory that the host may write to: a greedy check gets a MemoryError, one that keeps what it takes is named
(see scale.py), and the machine stays usable. Not its address space, of which some libraries reserve a great deal that
they never use."""
MOST_LEFT = 64
"""Processes that checks may have left behind, all together."""


class Custody:
    """The plugin host's eye on its checks. Only one in a process, and for as long as it lives."""

    def __init__(self, link: int, flight: int) -> None:
        """Take the descriptors of the socket to the parent, and of the flight recorder."""
        memory = _limit(resource.RLIMIT_DATA, MOST_MEMORY)
        _limit(resource.RLIMIT_CORE, 0)
        self._link = link
        self._recorder = Recorder(flight, Scale(memory))
        self._births: Counter[bytes] = Counter()
        asyncio.get_running_loop().set_task_factory(self._recorder.task_factory)
        os.register_at_fork(before=self._born, after_in_child=self._disown)
        sys.addaudithook(self._heard)
        self._recorder.alive()

    async def hold(self, kind: str, file: str, coroutine: Coroutine[Any, Any, T]) -> T:  # Any: asyncio's own business
        """Run a check under the name of its kind."""
        return await self._recorder.hold(kind, file, coroutine)

    def call(self, kind: str, file: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something of a check's, under the name of its kind."""
        return self._recorder.call(kind, file, partial(function, *args, **kwargs))

    def look(self) -> dict[str, float]:
        """Look after the host once a second: return who blocked it since, by kind, and for how many seconds at worst."""
        self._recorder.alive()
        left = self._left()
        if left > MOST_LEFT:
            worst = self._births.most_common(1)
            label = worst[0][0] if worst else b"\0"
            self._recorder.blame(
                label, f"left processes behind: {left} of them, expected at most {MOST_LEFT} of all checks"
            )
        slow, self._recorder.slow = self._recorder.slow, {}
        return slow

    def _left(self) -> int:
        """Count our children but for those of programs, which are the programs' own business."""
        children = stragglers.children()
        if len(children) <= MOST_LEFT:
            return len(children)
        own = os.environ.get(stragglers.MARK, "")
        return sum(stragglers.mark_of(pid) in (own, "") and not stragglers.is_zombie_elsewhere(pid) for pid in children)

    def _born(self) -> None:
        if label := current_label():
            self._births[label] += 1

    def _heard(self, event: str, details: tuple[Any, ...]) -> None:  # Any: Python's own audit events
        """Count what subprocess starts: it forks in C, where the other hook is not called."""
        if event == "subprocess.Popen" and "." not in (details[3] or {}).get(stragglers.MARK, ""):
            self._born()

    def _disown(self) -> None:
        """Cut a fork off: it has our socket and our recorder, and must not speak with our voice.

        What it was forked for it may do; should it come back to the event loop, the recorder ends it.
        """
        self._recorder.forget()
        broken, other = socket.socketpair()
        other.close()
        os.dup2(broken.fileno(), self._link)
        broken.close()


def _limit(what: int, most: int) -> int:
    hard = resource.getrlimit(what)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (least, least))
    return least
