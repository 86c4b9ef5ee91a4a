"""What /proc says of processes and of connections: read by every bench in the same way."""

from __future__ import annotations

import os
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PARENT, USER, SYSTEM, THREADS, RESIDENT = 1, 11, 12, 17, 21
"""Places of `stat`, from the state on."""


def fields(pid: int) -> list[str]:
    """Return a process's fields from its state on, the third of `stat`. Raises `OSError` for one that is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    stat = fields(pid)
    return (int(stat[USER]) + int(stat[SYSTEM])) * TICK


def resident(pid: int) -> int:
    """Return the bytes that a process holds in memory now."""
    return int(fields(pid)[RESIDENT]) * PAGE


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return int(fields(pid)[THREADS])


def descriptors(pid: int) -> int:
    """Return how many files a process holds open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[int]:
    """Return the children of a process's main thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> bytes:
    """Return a process's command line, its words ended by zeros."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def tcp(counter: str) -> int:
    """Return a counter of TCP in this network namespace, such as `ActiveOpens`."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Tcp:")
    return int(values[names.index(counter)])
