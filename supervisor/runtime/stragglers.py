"""Finds and kills what a program left behind, however it hid: in another group, another session, or by a double fork.

Two traces can't be shaken off by accident. A process inherits the *mark* in its environment; and, whose parent ends, it
is adopted by the nearest *subreaper* above it. A program that wipes its environment as well is found as a descendant
for as long as it has a parent of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

MARK = "SICKBAY_MARK"
"""The environment variable: `HOST` for a check host, `HOST.NUMBER` for one run of a program."""
ROUNDS = 200
PAUSE = 0.01
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt_orphans(*, adopt: bool) -> None:
    """Become the parent of every descendant that loses its own, or no longer."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "can't adopt orphans")


def children(parent: int | str = "self") -> list[int]:
    """Return the children of a process, adopted ones and zombies included."""
    found: list[int] = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in path.read_text().split()]
    return found


def descendants(parent: int) -> list[int]:
    """Return the children of a process, and theirs."""
    found = children(parent)
    for pid in found:  # grows while it is walked
        found += children(pid)
    return found


def mark_of(pid: int) -> str:
    """Return the mark of a process; "" for none, and for a zombie, which has no environment any more."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    name = f"{MARK}=".encode()
    return next(
        (v.removeprefix(name).decode(errors="replace") for v in environment.split(b"\0") if v.startswith(name)), ""
    )


def marked(host: str) -> list[int]:
    """Return every process on the machine that bears the mark of a host, or of a run of it."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [pid for pid in pids if mark_of(pid).partition(".")[0] == host]


def is_zombie_elsewhere(pid: int) -> bool:
    """Whether a process has ended, in a session that is not ours, and waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return state[0] == "Z" and int(state[3]) != os.getsid(0)


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to each; who is gone, or is not ours to kill, is passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Send SIGKILL to a process group. Only while its leader is not reaped yet: later the number may be another's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


async def kill_all(find: Callable[[], list[int]]) -> bool:
    """Kill what `find` returns until it returns nothing: who dies may have forked meanwhile. Return whether it did."""
    for _ in range(ROUNDS):
        found = find()
        if not found:
            return True
        kill(found)
        await asyncio.sleep(PAUSE)
    return False
