"""The head of an HTTP/1.1 answer (RFC 9112): its status line, its fields, and how they say that the body ends.

Lenient where that is harmless, as clients are: a line may end without its carriage return, and a field may be folded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from supervisor.runtime.lean.reading import broken

MOST_HEAD = 64 * 1024
"""Bytes before the body, those of interim answers included."""
MOST_FIELDS = 128
LONGEST_LINE = 8190
SWITCHING = 101

BLANK = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r\n]*)\r?\n", re.MULTILINE)
_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_START = b"HTTP/1."


@dataclass(slots=True)
class Head:
    """Status and fields, and how the body ends."""

    status: int
    fields: list[tuple[bytes, bytes]]
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
    found = _STATUS.match(seen)
    if found is not None:
        return int(found[2])
    if b"\n" in seen or not seen.startswith(_START[: len(seen)]):
        raise broken("not HTTP")
    if len(seen) > LONGEST_LINE:
        raise broken("too long a line")
    return 0


def head_of(block: bytes) -> Head:
    """Read a head, without the empty line that ends it. Raises `Refusal`."""
    first = _STATUS.match(block)
    if first is None:
        raise broken("not HTTP")
    if len(block) > LONGEST_LINE and max(map(len, block.split(b"\n"))) > LONGEST_LINE:
        raise broken("too long a line")
    fields = _fields(block, first.end())
    head = Head(int(first[2]), fields, closes=first[1] == b"0")
    lengths: set[bytes] = set()
    coding = b""
    for name, value in fields:
        match name.lower():
            case b"content-length":
                lengths.update(length.strip() for length in value.split(b","))
            case b"transfer-encoding":
                coding = value.strip().lower()
            case b"connection":
                head.closes = head.closes or b"close" in value.lower()
            case _:
                pass
    if coding:
        head.chunked = coding.endswith(b"chunked")
        head.closes = head.closes or bool(lengths)  # who says both may have been tricked, or tricks
    elif lengths:
        length = lengths.pop()
        if lengths or not _LENGTH.fullmatch(length):
            raise broken("no length")
        head.length = int(length)
    return head


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
