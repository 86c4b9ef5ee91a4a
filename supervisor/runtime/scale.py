"""Weighs what each check of the plugin host keeps in memory, so that the one who fills it is known before it is full.

A limit alone would hit whoever asks next. So after each step of a check its growth is booked to its label; one read of
`/proc/self/statm`, about a microsecond.
"""

from __future__ import annotations

import os
from collections import Counter

PAGE = os.sysconf("SC_PAGE_SIZE")
FULL = 0.75
"""The share of the limit from which on the host is full: the rest is for what one step may need and give back."""
SPARE = 8 * 1024**2
"""Bytes that are kept back, so that the one who took all the others can be named."""
_DATA = 5  # of statm's fields: what RLIMIT_DATA counts, in pages
_MEGA = 1024**2


class Scale:
    """Books growth by label, in bytes; only one in a process."""

    def __init__(self, most: int) -> None:
        """Begin with nothing kept; `most` is the process's RLIMIT_DATA in bytes."""
        self._most = most
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._kept: Counter[bytes] = Counter()
        self._spare: bytearray | None = bytearray(SPARE)
        self._seen = self._used()

    def weigh(self, label: bytes) -> tuple[bytes, str] | None:
        """Book what was taken or given back since the last time; return the worst label and a sentence once it is full."""
        try:
            return self._weigh(label)
        except MemoryError:
            self._spare = None
            return self._weigh(label)

    def _weigh(self, label: bytes) -> tuple[bytes, str] | None:
        used = self._used()
        if used == self._seen:
            return None
        self._kept[label] += used - self._seen
        self._seen = used
        if used < self._most * FULL:
            return None
        self._spare = None
        worst, kept = self._kept.most_common(1)[0]
        return worst, f"keeps {kept // _MEGA} MB of memory, of {self._most // _MEGA} MB for all plugin checks together"

    def _used(self) -> int:
        return int(os.pread(self._statm, 256, 0).split()[_DATA]) * PAGE
