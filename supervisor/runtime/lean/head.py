"""The head of an HTTP/1.1 answer (RFC 9112): its status line, its fields, and how they say that the body ends.

Lenient where that is harmless, as clients are: a line may end without its carriage return, and a field may be folded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from supervisor.runtime.lean.reading import Broken

MOST_HEAD = 64 * 1024
"""Bytes before the body, those of interim answers included."""
MOST_FIELDS = 128
LONGEST_LINE = 8190
SWITCHING = 101

BLANK = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r]*)\r?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_START = b"HTTP/1."


@dataclass(frozen=True, slots=True)
class Head:
    """Status and fields; `length` is the body's in bytes, None when it is `chunked` or ends with the connection."""

    status: int
    fields: dict[bytes, bytes]
    length: int | None
    chunked: bool
    closes: bool
    """Whether the other side closes after it."""

    @property
    def interim(self) -> bool:
        """Whether the answer proper is to come."""
        return is_interim(self.status)


def is_interim(status: int) -> bool:
    """Return whether an answer with this status is followed by the one that counts."""
    return status < 200 and status != SWITCHING


def status_of(seen: bytes | bytearray) -> int:
    """Return the status of an answer that begins so, 0 when that is still to come. Raises `Broken` when it can't come."""
    found = _STATUS.match(seen)
    if found is not None:
        return int(found[2])
    if b"\n" in seen or not seen.startswith(_START[: len(seen)]):
        raise Broken("not HTTP")
    if len(seen) > LONGEST_LINE:
        raise Broken("too long a line")
    return 0


def head_of(block: bytes) -> Head:
    """Read a head, without the line that ends it. Raises `Broken`."""
    first = _STATUS.match(block)
    if first is None:
        raise Broken("not HTTP")
    lines = block[first.end() : -1].split(b"\n") if len(block) > first.end() else []
    if len(lines) > MOST_FIELDS:
        raise Broken("too many fields")
    fields: dict[bytes, bytes] = {}
    lengths: set[bytes] = set()
    coding, closes = b"", first[1] == b"0"
    for line in _unfolded(lines):
        found = _FIELD.fullmatch(line)
        if found is None or len(line) > LONGEST_LINE:
            raise Broken("no field" if found is None else "too long a line")
        name, value = found[1], found[2].rstrip()
        fields.setdefault(name, value)
        match name.lower():
            case b"content-length":
                lengths.update(length.strip() for length in value.split(b","))
            case b"transfer-encoding":
                coding = value.lower()
            case b"connection":
                closes = closes or b"close" in value.lower()
    if coding:
        return Head(int(first[2]), fields, None, coding.endswith(b"chunked"), closes or bool(lengths))
    if not lengths:
        return Head(int(first[2]), fields, None, chunked=False, closes=True)
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise Broken("no length")
    return Head(int(first[2]), fields, int(length), chunked=False, closes=closes)


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Return the lines, with those that begin with a space put behind the one before."""
    if not any(line[:1] in (b" ", b"\t") for line in lines):
        return lines
    unfolded: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] = unfolded[-1].rstrip() + b" " + line.lstrip()
        else:
            unfolded.append(line)
    return unfolded
