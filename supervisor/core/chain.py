"""The chain of the audit log: each entry's hash covers the one before it, so that a changed or missing entry shows.

Pure: the store hands in rows and writes what comes out. What a chain can't show by itself is that its end was cut off,
or that everything from some entry on was written anew; for that an earlier head must be known from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from typing_extensions import TypedDict

GENESIS = "0" * 64
MOST_TOLD = 20  # faults: of a log with more of them, nobody reads the rest

Cells = Mapping[str, object]
"""A row of the log, without its two hashes."""


class AuditDoc(TypedDict):
    """One entry: who did or asked what, which way, why, and what it was before and after."""

    seq: int
    at: str
    actor: str
    via: str
    action: str
    target: str
    reason: str
    before: str
    after: str
    hash: str


class VerifiedDoc(TypedDict):
    """What the chain shows. `head` is SEQ:HASH of the last entry, to be kept elsewhere and compared later."""

    entries: int
    head: str
    anchors: list[str]
    broken: list[str]


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a log at some moment: whatever comes later, it must still be there, with this hash."""

    seq: int
    hash: str

    def __str__(self) -> str:
        """Return SEQ:HASH."""
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read SEQ:HASH. Raises `ValueError` in a sentence."""
        found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
        if not found:
            raise ValueError("expected SEQ:HASH as `sickbay audit --verify` prints it")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Link:
    """One row with its hashes as they are stored."""

    row: Cells
    prev_hash: str
    hash: str

    @property
    def seq(self) -> int:
        """Its number. Numbers rise, with gaps: other records are numbered from the same sequence."""
        return int(str(self.row["seq"]))


def digest(previous: str, row: Cells) -> str:
    """Return the hash of a row after another one. A column that a row is older than is NULL, and counts as not there."""
    text = json.dumps({k: v for k, v in row.items() if v is not None}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((previous + text).encode()).hexdigest()


def verify(links: Iterable[Link], anchors: Iterable[Head] = (), *, whole: bool = True) -> VerifiedDoc:
    """Return what a log shows, its entries in order; `whole` when they begin with the first one.

    `anchors` are heads that were known before: each must still be there. An anchor before the first entry is passed over
    where only a tail is looked at.
    """
    faults: list[str] = []
    wanted = {head.seq: head for head in anchors}
    found: dict[int, str] = {}
    last: Link | None = None
    first = count = 0
    for link in links:
        first = first or link.seq
        fault = _fault(last, link, whole=whole)
        if fault:
            faults.append(fault)
        if link.seq in wanted:
            found[link.seq] = link.hash
        last, count = link, count + 1
    end = last.seq if last else 0
    for seq, head in sorted(wanted.items()):
        if seq > end:
            faults.append(f"the log ends with entry {end}, but entry {seq} was written once: the end was cut off")
        elif seq not in found and (whole or seq > first):
            faults.append(f"entry {seq} was written once, and is missing")
        elif found.get(seq, head.hash) != head.hash:
            faults.append(f"entry {seq} is not the one that was written once: it and what follows may be written anew")
    more = len(faults) - MOST_TOLD
    told = [*faults[:MOST_TOLD], f"and {more} more"] if more > 0 else faults
    return {
        "entries": count,
        "head": str(Head(end, last.hash)) if last else "",
        "anchors": [str(head) for _, head in sorted(wanted.items())],
        "broken": told,
    }


def _fault(last: Link | None, link: Link, *, whole: bool) -> str:
    if digest(link.prev_hash, link.row) != link.hash:
        return f"entry {link.seq} was changed"
    if last is None:
        cut = whole and link.prev_hash != GENESIS
        return f"entry {link.seq} is not the first one: what stood before it is missing" if cut else ""
    if link.prev_hash != last.hash:
        return (
            f"entry {link.seq} does not follow entry {last.seq}: what stood between them is missing, "
            f"or entry {last.seq} was written anew"
        )
    return ""
