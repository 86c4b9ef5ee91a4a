"""HTTP/1.1 without I/O: the bytes of a request, and the three ways in which an answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from supervisor.api import KEPT_BODY, HttpAnswer
from supervisor.core.terms import Seconds
from supervisor.runtime.lean.head import BLANK, BODILESS, LONGEST_LINE, MOST_HEAD, Head, head_of, is_interim, status_of
from supervisor.runtime.lean.reading import broken

MOST_FRAMING = 128 * 1024
"""Bytes of a chunked body that are none of its content: a chunk may be one byte, behind a line of thousands."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[!-~]+")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_NONE = Head(0)


def request_parts(
    method: str, target: str, port: str, headers: Mapping[str, str], *, keep: bool
) -> tuple[bytes, bytes]:
    """Return what comes before the host's name in a request, and what comes after it, which begins with `port`.

    A field `Host` among the headers takes the place of both; then the second is empty. Raises `ValueError` for what
    would not be one request.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError(f"'{method} {target}' is no request: it has spaces or control characters, or is empty")
    own = {name.lower() for name in headers}
    usual = {"User-Agent": "sickbay"} | ({} if keep else {"Connection": "close"})
    fields = {name: value for name, value in usual.items() if name.lower() not in own} | dict(headers)
    for name, value in fields.items():
        if not _TOKEN.fullmatch(name) or re.search(r"[\0\r\n]", value):
            raise ValueError(f"{name!r} is no header field with a value of one line")
    host = "".join(value for name, value in fields.items() if name.lower() == "host")
    rest = "".join(f"\r\n{name}: {value}" for name, value in fields.items() if name.lower() != "host") + "\r\n\r\n"
    before = f"{method} {target} HTTP/1.1\r\nHost: "
    return (f"{before}{host}{rest}".encode(), b"") if "host" in own else (before.encode(), f"{port}{rest}".encode())


def _status_alone(status: int, seconds: Seconds | None) -> HttpAnswer:
    return _timeless(status) if seconds is None else HttpAnswer(status, {}, b"", seconds)


@lru_cache(maxsize=900)
def _timeless(status: int) -> HttpAnswer:
    """Return the one answer of all that have this status."""
    return HttpAnswer(status, MappingProxyType({}), b"", 0.0)


class StatusReader:
    """Reads the status, and nothing that follows; interim answers are passed over."""

    __slots__ = ("_read", "_seen", "_status")
    reusable = False

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen = b""
        self._read = 0  # bytes of interim answers
        self._status = 0

    def take(self, data: bytes) -> bool:
        """Take what came; return whether the status is known."""
        seen = self._seen + data if self._seen else data
        self._status = status_of(seen)
        while is_interim(self._status) and (blank := BLANK.search(seen)):
            self._read += blank.end()
            seen = seen[blank.end() :]
            self._status = status_of(seen)
        if not is_interim(self._status):
            return True
        if self._read + len(seen) > MOST_HEAD:
            raise broken("too large a head")
        self._seen = seen
        return False

    def end(self) -> None:
        """There is no answer without its status."""
        raise broken("cut short" if self._seen else "closed without one")

    def answer(self, seconds: Seconds | None) -> HttpAnswer:
        """Return the status alone."""
        return _status_alone(self._status, seconds)


class KeptReader:
    """Reads the status, and what follows to its end, so that the connection can take another question."""

    __slots__ = ("_bodiless", "_rest", "_status", "reusable")

    def __init__(self, *, bodiless: bool) -> None:
        """Begin with nothing. An answer to HEAD is `bodiless`."""
        self._bodiless = bodiless
        self._rest: AnswerReader | None = None
        self._status = 0
        self.reusable = False

    def take(self, data: bytes) -> bool:
        """Take what came; return whether that is all of it. Most answers come in one piece."""
        if self._rest is None:
            self._status, self.reusable = _in_one_piece(data, bodiless=self._bodiless)
            if self._status:
                return True
            self._rest = AnswerReader(whole=False, bodiless=self._bodiless)
        complete = self._rest.take(data)
        self.reusable = self._rest.reusable
        return complete

    def end(self) -> None:
        """As for any answer."""
        if self._rest is None:
            raise broken("closed without one")
        self._rest.end()

    def answer(self, seconds: Seconds | None) -> HttpAnswer:
        """Return the status alone."""
        if self._rest is None:
            return _status_alone(self._status, seconds)
        return self._rest.answer(seconds)


@lru_cache(maxsize=32)  # the machines of a fleet say the same, but for the second
def _in_one_piece(data: bytes, *, bodiless: bool) -> tuple[int, bool]:
    """Return the status of a whole answer, and whether the connection can take another; 0 when more is to come."""
    reader = AnswerReader(whole=False, bodiless=bodiless)
    if not reader.take(data):
        return 0, False
    return reader.answer(None).status, reader.reusable


class AnswerReader:
    """Reads head and body, up to `most` bytes of it; `whole` says whether they are told, too. Its state is its next step."""

    __slots__ = (
        "_at",
        "_bodiless",
        "_body",
        "_framing",
        "_head",
        "_left",
        "_looked",
        "_most",
        "_seen",
        "_step",
        "_whole",
        "reusable",
    )

    def __init__(self, *, whole: bool, bodiless: bool, most: int = KEPT_BODY) -> None:
        """Begin with nothing. An answer to HEAD is `bodiless`."""
        self._most = most
        self._whole = whole
        self._bodiless = bodiless
        self._seen = b""  # what came
        self._at = 0  # how much of it is read
        self._looked = 0  # how much of what is not read was searched for the end of the head
        self._head = _NONE
        self._body = bytearray()
        self._left = 0  # bytes of the body, or of its chunk, that are to come
        self._framing = 0  # bytes that were read and are no body
        self._step: Callable[[AnswerReader], bool] | None = AnswerReader._read_head
        self.reusable = False

    def take(self, data: bytes) -> bool:
        """Take what came; return whether that is all that is wanted."""
        self._seen = self._seen[self._at :] + data
        self._at = 0
        while self._step is not None:
            if not self._step(self):
                return False
        return True

    def end(self) -> None:
        """A body may end with the connection; nothing else may."""
        if self._step is not AnswerReader._read_until_close:
            raise broken("cut short" if self._seen else "closed without one")

    def answer(self, seconds: Seconds | None) -> HttpAnswer:
        """Return it. Of a field that came twice the first counts."""
        if not self._whole:
            return _status_alone(self._head.status, seconds)
        fields: dict[str, str] = {}
        for name, value in self._head.fields:
            fields.setdefault(name.decode(), value.rstrip().decode(errors="replace"))
        return HttpAnswer(self._head.status, fields, bytes(self._body), seconds or 0.0)

    # -- steps: each returns whether it is done, and the next one is to be taken

    def _read_head(self) -> bool:
        blank = BLANK.search(self._seen, self._at + max(0, self._looked - 2))
        if blank is None:
            ahead = len(self._seen) - self._at
            if self._framing + ahead > MOST_HEAD:
                raise broken("too large a head")
            if self._looked or status_of(self._seen[self._at :]):
                self._looked = ahead
            return False
        self._looked = 0
        head = self._head = head_of(self._seen[self._at : blank.start() + 1])
        self._advance(blank.end(), MOST_HEAD)
        if is_interim(head.status):
            return True
        if self._bodiless or head.status in BODILESS:
            self._complete()
        elif head.chunked:
            self._step = AnswerReader._read_size
        elif head.length is None:
            self._step = AnswerReader._read_until_close
        else:
            self._left = head.length
            self._step = AnswerReader._read_sized
        return True

    def _read_sized(self) -> bool:
        if self._read_body():
            self._complete()
        return self._step is None

    def _read_until_close(self) -> bool:
        self._left = self._most
        self._read_body()
        return self._step is None

    def _read_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise broken("no size of a chunk")
        self._left = int(found[1], 16)
        self._step = AnswerReader._read_chunk if self._left else AnswerReader._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if self._read_body():
            self._step = AnswerReader._read_chunk_end
        return self._step is not AnswerReader._read_chunk

    def _read_chunk_end(self) -> bool:
        line = self._line()
        if line:
            raise broken("too long a chunk")
        if line is None:
            return False
        self._step = AnswerReader._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line == b"":
            self._complete()
        return line is not None

    # -- what they share

    def _read_body(self) -> bool:
        """Take what is there of what is to come, and return whether that is all of it; `most` bytes of a body are enough."""
        data = self._seen[self._at : self._at + self._left]
        self._at += len(data)
        self._left -= len(data)
        self._body += data[: self._most - len(self._body)]
        if len(self._body) == self._most:
            self._step = None
            return False
        return not self._left

    def _line(self) -> bytes | None:
        end = self._seen.find(b"\n", self._at)
        if (len(self._seen) if end < 0 else end) - self._at > LONGEST_LINE:
            raise broken("too long a line")
        if end < 0:
            return None
        line = self._seen[self._at : end].removesuffix(b"\r")
        self._advance(end + 1, MOST_HEAD + MOST_FRAMING)
        return line

    def _advance(self, to: int, most: int) -> None:
        self._framing += to - self._at
        self._at = to
        if self._framing > most:
            raise broken("too large a head" if most == MOST_HEAD else "more framing than body")

    def _complete(self) -> None:
        self._step = None
        self.reusable = not self._head.closes and self._at == len(self._seen)
