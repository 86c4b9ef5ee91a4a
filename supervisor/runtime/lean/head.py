"""The head of an HTTP/1.1 answer (RFC 9112): its status line, its fields, and how they say that the body ends.

Lenient where that is harmless, as clients are: a line may end without its carriage return, and a field may be folded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from supervisor.runtime.lean.reading import broken

MOST_HEAD = 64 * 1024
"""Bytes before the body, those of interim answers included."""
MOST_FIELDS = 128
LONGEST_LINE = 8190
SWITCHING = 101
BODILESS = frozenset({SWITCHING, 204, 304})

BLANK = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r\n]*)\r?\n", re.MULTILINE)
_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_FRAMING = (b"connection", b"transfer-encoding", b"content-length")
_START = b"HTTP/1."


@dataclass(frozen=True, slots=True)
class Head:
    """Status and fields, and how the body ends."""

    status: int
    fields: Sequence[tuple[bytes, bytes]] = ()
    length: int | None = None
    """The body's bytes; None when it is `chunked`, or ends with the connection."""
    chunked: bool = False
    closes: bool = False
    """Whether the other side closes after it."""


def is_interim(status: int) -> bool:
    """Return whether an answer with this status is followed by the one that counts."""
    return status < 200 and status != SWITCHING


def status_of(seen: bytes) -> int:
    """Return the status of an answer that begins so, 0 when that is still to come. Raises `Refusal` when it can't come."""
    whole = b"\n" in seen
    if whole and (found := _STATUS.match(seen)) is not None:
        return int(found[2])
    if whole or not seen.startswith(_START[: len(seen)]):
        raise broken("not HTTP")
    if len(seen) > LONGEST_LINE:
        raise broken("too long a line")
    return 0


@lru_cache(maxsize=32)  # the machines of a fleet say the same, but for the second
def head_of(block: bytes) -> Head:
    """Read a head, without the empty line that ends it. Raises `Refusal`."""
    first = _STATUS.match(block)
    if first is None:
        raise broken("not HTTP")
    if len(block) > LONGEST_LINE and max(map(len, block.split(b"\n"))) > LONGEST_LINE:
        raise broken("too long a line")
    status, fields = int(first[2]), _fields(block, first.end())
    said = {wanted: [value for name, value in fields if name.lower() == wanted] for wanted in _FRAMING}
    closes = first[1] == b"0" or any(b"close" in value.lower() for value in said[b"connection"])
    codings, lengths = said[b"transfer-encoding"], said[b"content-length"]
    if codings:
        chunked = codings[-1].strip().lower().endswith(b"chunked")
        # Who tells a length, too, may have been tricked, or tricks.
        return Head(status, fields, chunked=chunked, closes=closes or not chunked or bool(lengths))
    if not lengths:
        return Head(status, fields, closes=closes or status not in BODILESS)
    length, *others = {length.strip() for value in lengths for length in value.split(b",")}
    if others or not _LENGTH.fullmatch(length):
        raise broken("no length")
    return Head(status, fields, int(length), closes=closes)


def _fields(block: bytes, start: int) -> list[tuple[bytes, bytes]]:
    fields = _FIELD.findall(block, start)
    if len(fields) != block.count(b"\n", start):  # a line that is none, or goes on with the one before
        unfolded = _FOLD.sub(b" ", block[start:])
        fields = _FIELD.findall(unfolded)
        if len(fields) != unfolded.count(b"\n") or block[start : start + 1] in b" \t":
            raise broken("no field")
    if len(fields) > MOST_FIELDS:
        raise broken("too many fields")
    return fields
