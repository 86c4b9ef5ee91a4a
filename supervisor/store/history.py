"""The history on disk: a folder of segments, each whole in itself, written by appending, bounded by age and by size.

A segment is a line that names the format, then frames: length and CRC-32 of what follows, then compressed JSON. A frame
that was torn by a crash ends its segment; a new segment is begun at each start, so nothing is ever written behind one.
`runtime/recorder.py` hands chapters in, on a thread; `sim/replay.py` reads. Nothing here is needed to heal: a power cut
may cost the last minute.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from supervisor.core.history import KEPT, LINES, Chapter, Line, Moment, RecordDropped, RecordKept, Run
from supervisor.core.model import Record
from supervisor.core.terms import Seconds, Status
from supervisor.errors import StateError
from supervisor.store.codec import from_row, to_row

FORMAT = b"sickbay history 1\n"
SUFFIX = ".history"
FRAME = struct.Struct(">II")
LONGEST_FRAME = 256 << 20  # bytes: what is longer is damage
SEGMENTS = 16  # of which the size bound is made: the oldest is deleted whole
STATUSES = tuple(Status)

Json = Any  # Any: JSON
_KINDS: dict[str, type[Line]] = {kind.__name__: kind for kind in LINES}
_RECORDS: dict[str, type[Record]] = {kind.__name__: kind for kind in KEPT}


class HistoryFiles:
    """Writes chapters. Blocking: called from one thread only. Raises `OSError`; the next opening chapter starts afresh."""

    def __init__(self, folder: Path, keep: Seconds, most: int) -> None:
        """Keep segments for so many seconds, and at most so many bytes."""
        self.folder = folder
        self.keep = keep
        self.most = most
        self.written = 0  # bytes, since the start
        self._file: int | None = None
        self._size = 0
        self._names: dict[str, int] = {}

    def write(self, chapter: Chapter) -> bool:
        """Append a chapter; return whether the segment has room for more."""
        if chapter.opening or self._file is None:
            self._begin(chapter.at)
        self._append(_framed(_encode(chapter, self._names)))
        return self._size < self.most // SEGMENTS

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self, at: Moment) -> None:
        self.close()
        self._names, self._size = {}, 0
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._trim(at)
        name = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%fZ") + SUFFIX
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self.folder / name, flags, 0o600)
        self._append(FORMAT)

    def _append(self, data: bytes) -> None:
        file = self._file
        if file is None:
            raise OSError("the segment is closed")
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            self.close()  # half a frame may be there: nothing may be written behind it
            raise
        self._size += len(data)
        self.written += len(data)

    def _trim(self, at: Moment) -> None:
        """Delete the oldest segments: those that ended too long ago, and as many as the size bound asks for."""
        found = segments(self.folder)
        sizes = {path: path.stat().st_size for path in found}
        room = self.most - self.most // SEGMENTS
        for path, ended in zip(found, [*map(began_at, found[1:]), at], strict=False):
            if ended >= at - self.keep and sum(sizes.values()) <= room:
                return
            path.unlink(missing_ok=True)
            del sizes[path]


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a history, read whole. `damage` says what could not be read at its end, '' when all could."""

    path: Path
    chapters: tuple[Chapter, ...]
    damage: str = ""


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def began_at(segment: Path) -> Moment:
    """Return when a segment was begun, from its name; 0 for a name that is not one."""
    try:
        return datetime.strptime(segment.name.removesuffix(SUFFIX), "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def read(folder: Path, since: Moment) -> Iterator[Segment]:
    """Yield the segments that speak of a moment or of later ones, oldest first. Works while another process writes.

    Raises `StateError` when there is no history, or one that can't be read.
    """
    try:
        found = segments(folder)
        if not found:
            raise StateError(f"{folder}: no history is kept here; `[supervisor] history` says for how long it is")
        first = max((i for i, path in enumerate(found) if began_at(path) <= since), default=0)
        for path in found[first:]:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # the daemon has just deleted it: it was the oldest
            yield read_segment(path, data)
    except OSError as error:
        raise StateError(f"{folder}: the history can't be read: {error.strerror or error}") from None


def read_segment(path: Path, data: bytes) -> Segment:
    """Return what a segment holds, up to the first frame that is not whole. Raises `StateError` for another format."""
    if not data.startswith(FORMAT):
        if FORMAT.startswith(data):
            return Segment(path, (), "it was never begun")
        found = data[:32].splitlines()[0] if data else b""
        raise StateError(f"{path}: found {found!r}, expected {FORMAT!r}: it was written by another version of Sickbay")
    chapters: list[Chapter] = []
    names: list[str] = []
    place = len(FORMAT)
    while place < len(data):
        frame = data[place + FRAME.size : place + FRAME.size + _length(data, place)]
        if len(frame) != _length(data, place) or zlib.crc32(frame) != _sum(data, place):
            return Segment(path, tuple(chapters), f"{len(data) - place} bytes from byte {place} on are not whole")
        try:
            chapters.append(_decode(frame, names))
        except (ValueError, KeyError, IndexError, TypeError, ValidationError, zlib.error) as error:
            why = f"what begins at byte {place} can't be understood: {type(error).__name__}"
            return Segment(path, tuple(chapters), why)
        place += FRAME.size + len(frame)
    return Segment(path, tuple(chapters))


def _length(data: bytes, place: int) -> int:
    if place + FRAME.size > len(data):
        return LONGEST_FRAME
    return cast(int, FRAME.unpack_from(data, place)[0])


def _sum(data: bytes, place: int) -> int:
    return cast(int, FRAME.unpack_from(data, place)[1])


def _framed(content: bytes) -> bytes:
    """Return content as a frame."""
    return FRAME.pack(len(content), zlib.crc32(content)) + content


# -- chapters as JSON: runs by column, because what is alike then lies together and compresses well


def _encode(chapter: Chapter, names: dict[str, int]) -> bytes:
    known = len(names)

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    start = round(chapter.at * 1000)
    rows = [
        (
            number(run.instance),
            number(run.check),
            STATUSES.index(run.status),
            int(run.silent),
            number(run.text),
            round(run.first * 1000) - start,
            round((run.last - run.first) * 1000),
            run.results,
            round(run.mean * 1000),
            round(run.slowest * 1000),
        )
        for run in sorted(chapter.runs, key=lambda run: (run.check, run.instance, run.first))
    ]
    columns = list(zip(*rows, strict=True))
    if columns:
        columns[0] = tuple(b - a for a, b in zip((0, *columns[0]), columns[0], strict=False))
    document = {
        "at": start,
        "opening": chapter.opening,
        "runs": columns,
        "lines": [_line(line) for line in chapter.lines],
        "names": list(names)[known:],
    }
    return zlib.compress(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(), 6)


def _decode(content: bytes, names: list[str]) -> Chapter:
    document: Json = json.loads(zlib.decompress(content))
    names.extend(document["names"])
    start: int = document["at"]
    columns: list[list[int]] = document["runs"]
    runs: list[Run] = []
    place = 0
    for step, check, status, silent, text, first, span, count, mean, slowest in zip(*columns, strict=True):
        place += step
        begun = (start + first) / 1000
        runs.append(
            Run(
                names[place],
                names[check],
                STATUSES[status],
                bool(silent),
                names[text],
                begun,
                begun + span / 1000,
                count,
                mean / 1000,
                slowest / 1000,
            )
        )
    lines = [line for found in document["lines"] if (line := _line_of(found)) is not None]
    return Chapter(start / 1000, tuple(runs), tuple(lines), document["opening"])


def _line(line: Line) -> Json:
    if isinstance(line, RecordKept | RecordDropped):
        return [type(line).__name__, line.at, type(line.record).__name__, to_row(line.record)]
    return [type(line).__name__, _adapter(type(line)).dump_python(line, mode="json", exclude_defaults=True)]


def _line_of(found: Sequence[Json]) -> Line | None:
    """Return a line; None for one that a newer Sickbay has added."""
    kind = _KINDS.get(found[0])
    if kind is RecordKept or kind is RecordDropped:
        record = _RECORDS.get(found[2])
        return None if record is None else kind(found[1], from_row(record, found[3]))
    return None if kind is None else _adapter(kind).validate_python(found[1])


def _adapter(kind: type[Line]) -> TypeAdapter[Line]:
    return _made(kind.__name__)


@cache
def _made(kind: str) -> TypeAdapter[Line]:
    return TypeAdapter(_KINDS[kind])
