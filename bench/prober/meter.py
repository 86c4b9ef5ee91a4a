"""CPU of groups of processes, as the kernel accounts for it: control groups, or /proc where there are none.

A control group counts every process that was ever in it, to the nanosecond; how that was shared between user and system
the kernel samples at its ticks. /proc counts in ticks of 10 ms, and loses processes whose parent did not wait for them.
"""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import proc

V1 = Path("/sys/fs/cgroup/cpuacct")
V2 = Path("/sys/fs/cgroup")
TICK = 1 / os.sysconf("SC_CLK_TCK")
GONE = (OSError, ValueError)  # what reading about a process raises once it has ended


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds. `total` is exact; the other two are samples, and tell only how it was shared."""

    total: float
    in_user: float
    in_system: float

    @property
    def user(self) -> float:
        """The share of the total that was spent outside the kernel."""
        return self.total * self.in_user / ((self.in_user + self.in_system) or 1)

    def __sub__(self, other: Cpu) -> Cpu:
        """Return what was used between two readings."""
        return Cpu(self.total - other.total, self.in_user - other.in_user, self.in_system - other.in_system)


class Group(ABC):
    """Processes that are accounted for together, with all that they start."""

    accounting: str
    """How, in words."""

    @abstractmethod
    def join(self, pid: int) -> None:
        """Take a process in. One that is not yet anything else may take itself in."""

    @abstractmethod
    def read(self) -> Cpu:
        """Return what was used since the group was made, part groups included."""

    @abstractmethod
    def part(self, name: str) -> Group:
        """Return a group within this one."""

    @abstractmethod
    def members(self) -> set[int]:
        """Return who is alive in it, parts included."""

    def close(self) -> None:
        """End whoever is left."""
        for _ in range(50):
            members = self.members()
            if not members:
                return
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


class ControlGroup(Group):
    """A control group, of either version."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self._folder = folder
        self._parts: list[ControlGroup] = []
        self._v1 = folder.is_relative_to(V1)
        self.accounting = f"control groups {'v1, cpuacct' if self._v1 else 'v2, cpu.stat'}"
        folder.mkdir()

    def join(self, pid: int) -> None:
        """Move a process."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def read(self) -> Cpu:
        """Read the kernel's account."""
        if not self._v1:
            lines = (self._folder / "cpu.stat").read_text().splitlines()
            figures = {name: int(value) / 1e6 for name, value in map(str.split, lines)}
            return Cpu(figures["usage_usec"], figures["user_usec"], figures["system_usec"])
        total, user, system = (
            int((self._folder / f"cpuacct.{name}").read_text()) / 1e9 for name in ("usage", "usage_user", "usage_sys")
        )
        return Cpu(total, user, system)

    def part(self, name: str) -> Group:
        """Make a group below."""
        made = ControlGroup(self._folder / name)
        self._parts.append(made)
        return made

    def members(self) -> set[int]:
        """Read who is in it."""
        own = {int(pid) for pid in (self._folder / "cgroup.procs").read_text().split()}
        return own.union(*(part.members() for part in self._parts))

    def close(self) -> None:
        """End whoever is left, and remove the group."""
        super().close()
        for part in self._parts:
            part.close()
        self._folder.rmdir()


class ProcessTree(Group):
    """Processes and their descendants, by /proc."""

    accounting = "/proc/PID/stat, in ticks of 10 ms"

    def __init__(self) -> None:
        """Begin with nobody."""
        self._roots: list[int] = []

    def join(self, pid: int) -> None:
        """Remember it."""
        self._roots.append(pid)

    def read(self) -> Cpu:
        """Sum up who lives and whoever was waited for."""
        user = system = 0.0
        for pid in self.members():
            with suppress(*GONE):
                fields = [int(field) for field in proc.fields(pid)[11:15]]
                user += (fields[0] + fields[2]) * TICK
                system += (fields[1] + fields[3]) * TICK
        return Cpu(user + system, user, system)

    def part(self, name: str) -> Group:
        """Make another: its processes are descendants of ours."""
        return ProcessTree()

    def members(self) -> set[int]:
        """Follow the children."""
        children: dict[int, list[int]] = defaultdict(list)
        for entry in Path("/proc").iterdir():
            with suppress(*GONE):
                children[int(proc.fields(int(entry.name))[1])].append(int(entry.name))
        found: set[int] = set()
        ahead = [pid for pid in self._roots if Path(f"/proc/{pid}").exists()]
        while ahead:
            pid = ahead.pop()
            found.add(pid)
            ahead += children[pid]
        return found


def group(name: str) -> Group:
    """Return a new group, the most exact that this machine allows."""
    if os.geteuid() == 0:
        for folder, account in ((V1, "cpuacct.usage"), (V2, "cpu.stat")):
            if (folder / account).exists():
                with suppress(OSError):
                    return ControlGroup(folder / f"sickbay-bench-{os.getpid()}-{name}")
    return ProcessTree()
