"""Whether SQLite's write-ahead log still holds everything that was committed to it.

SQLite takes a log up to the first frame whose checksum is wrong, and silently forgets the rest: right after a power
cut, where the last commit was never acknowledged, and wrong for a damaged log, whose lost commits may be intents. A
commit is on disk before the next one begins; so two commits behind a wrong frame prove that an acknowledged one is lost.

The format: https://www.sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = (0x377F0682, 0x377F0683)  # the lowest bit says whether checksums read big-endian words
HEADER = 32
FRAME = 24


def why_unreadable(log: bytes) -> str:
    """Return what is wrong with a log, '' when all that was acknowledged can be read."""
    if len(log) < HEADER or not log[:HEADER].strip(b"\0"):
        return ""  # nothing was ever committed to it
    magic, _, page, _, salts, *sums = struct.unpack(">IIII8sII", log[:HEADER])
    if magic not in MAGIC or not 512 <= page <= 65536:
        return "its header is damaged"
    chain = Chain("<>"[magic & 1])
    if chain.after(log[:24]) != tuple(sums):
        return "its header is damaged"
    broken, commits_behind = False, 0
    for start in range(HEADER, len(log) - FRAME - page + 1, FRAME + page):
        head, content = log[start : start + FRAME], log[start + FRAME : start + FRAME + page]
        _, size, salt, *sums = struct.unpack(">II8sII", head)
        if not broken:
            broken = salt != salts or (chain.after(head[:8]), chain.after(content))[1] != tuple(sums)
        if broken and salt == salts and size:
            commits_behind += 1
    return "a commit in its middle is damaged" if commits_behind >= 2 else ""


@dataclass(slots=True)
class Chain:
    """SQLite's checksum, each being continued by the next."""

    order: str
    first: int = 0
    second: int = 0

    def after(self, data: bytes) -> tuple[int, int]:
        """Take more bytes in, and return the sums."""
        first, second = self.first, self.second
        for left, right in struct.iter_unpack(self.order + "II", data):
            first = (first + left + second) & 0xFFFFFFFF
            second = (second + right + first) & 0xFFFFFFFF
        self.first, self.second = first, second
        return first, second
