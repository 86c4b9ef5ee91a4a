"""Processes: who one is beyond doubt, which ones belong to an instance, and how they are frozen, thawed and ended.

A pid alone is nobody: it is used again, by another process or after a reboot. A process is its pid, its start time and
the boot it was started in. An instance's processes are its leader, the leader's group and session, and every process
that carries the instance's folder in its environment, so that a child which left the group is still found.
A process that did both, leave the session and wipe its environment, is not found: containers are the cure, not this.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.files import read_json

MARK = "SICKBAY_FOLDER"
"""Environment variable of every process that is started for a folder."""

DEAD = ("Z", "X", "x")  # a zombie has exited; only its parent has not noticed
FROZEN = ("T", "t")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, beyond doubt. `generation` counts the starts of its instance, from 1."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat
    boot: str
    generation: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs (frozen counts, a zombie does not)."""
        return self.boot == boot_id() and self.state not in ("", *DEAD)

    @property
    def state(self) -> str:
        """Return its state letter as the kernel has it; '' when it is gone or its pid belongs to another."""
        stat = _stat(self.pid)
        return stat.state if stat is not None and stat.started == self.started else ""

    def send(self, number: signal.Signals) -> None:
        """Signal this very process; nothing happens if it is gone."""
        # The descriptor pins the process first, then we look who it is: no window in which the pid is used again.
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.state != "":
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Stat:
    name: str
    state: str
    group: int
    session: int
    started: int


def boot_id() -> str:
    """Return what names this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold spaces and brackets itself.
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    return _Stat(head.partition("(")[2], fields[0], int(fields[2]), int(fields[3]), int(fields[19]))


def read_process(path: Path) -> Process | None:
    """Return who a `process.json` names, or None where there is none. Raises `OSError` or `ValueError`."""
    found = read_json(path)
    if found is None:
        return None
    try:
        return Process(int(found["pid"]), int(found["started"]), str(found["boot"]), int(found["generation"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged") from error


def members(folder: Path) -> tuple[Process, ...]:
    """Return every living process of a folder, its launcher included."""
    leader = read_process(folder / "process.json")
    # A dead leader's number may have become somebody else's group: then only the mark counts.
    group = leader.pid if leader is not None and leader.is_alive else None
    mark = f"{MARK}={folder}".encode()
    boot = boot_id()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or (stat := _stat(int(entry))) is None or stat.state in DEAD:
            continue
        if (group is not None and group in (stat.group, stat.session)) or _is_marked(entry, mark):
            found.append(Process(int(entry), stat.started, boot))
    return tuple(found)


def _is_marked(pid: str, mark: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return mark in environment.split(b"\0")


def freeze(folder: Path, patience: float) -> bool:
    """Stop all processes of a folder where they stand, memory kept. True once every one of them is seen stopped."""

    def settled(processes: Sequence[Process]) -> bool:
        running = [process for process in processes if process.state not in ("", *FROZEN, *DEAD)]
        for process in running:
            process.send(signal.SIGSTOP)
        return not running

    # Twice in a row: a child may have been born while the list was read.
    return _until(folder, settled, patience) and _until(folder, settled, patience)


def thaw(folder: Path) -> None:
    """Let frozen processes go on."""
    for process in members(folder):
        process.send(signal.SIGCONT)


def end(folder: Path, grace: float, patience: float) -> bool:
    """End all processes of a folder: politely, and after `grace` seconds for good. True once none is left.

    With `grace` 0 a frozen process ends without having run again.
    """
    if grace > 0:
        for process in members(folder):
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # a stopped one takes the signal only when it goes on
        if _until(folder, lambda processes: not processes, grace):
            return True

    def killed(processes: Sequence[Process]) -> bool:
        for process in processes:
            process.send(signal.SIGKILL)
        return not processes

    return _until(folder, killed, patience)


def _until(folder: Path, settled: Callable[[Sequence[Process]], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    pause = 0.01
    while not settled(members(folder)):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    return True
