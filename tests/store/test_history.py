"""The history on disk: what is written is read again, a torn end costs only itself, and it stays within its bounds."""

from __future__ import annotations

import resource
import stat
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.history import (
    Asked,
    Began,
    Chapter,
    CheckKept,
    CloudBack,
    CloudLost,
    Felt,
    FleetKept,
    Line,
    Loaded,
    MachinesChanged,
    PauseFileSeen,
    RecordDropped,
    RecordKept,
    Run,
    Sensed,
)
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Holder, Instance
from supervisor.core.signals import SelfReported, Sense, SentinelReported
from supervisor.core.terms import Lifecycle, Mode, Role, Status
from supervisor.errors import StateError
from supervisor.store.history import FORMAT, HistoryFiles, read, read_segment, segments

DAY = 86400.0
T = 1_767_225_600.0
AT = datetime.fromtimestamp(T, UTC)
MACHINE = Machine(
    "i-1", "web", MachineState.RUNNING, "a", "img", "1.0.0", "10.0.0.1", True, TargetHealth.HEALTHY, tags=(("k", "v"),)
)
INSTANCE = Instance("i-1", "web", Lifecycle.IN_SERVICE, None, "img", "1.0.0", "a", "10.0.0.1", AT, AT)
LINES: tuple[Line, ...] = (
    Began(T),
    Loaded(T, "abc", Mode.AUTO, (FleetKept("web", 6, (CheckKept("alive", Role.LIVENESS, 10.0, 3.0),)),)),
    MachinesChanged(T, "web", (MACHINE,), ("i-0",)),
    CloudLost(T, "web", "503"),
    CloudBack(T, "web"),
    Sensed(T, SentinelReported("db", False, "refused", Sense.DEPENDENCY, "db")),
    Felt(T, SelfReported(0.3, 0.1, False)),
    RecordKept(T, INSTANCE),
    RecordDropped(T, Holder("ada", "", "ada", AT)),
    Asked(T, "Pause", (("name", "ada"), ("seconds", None)), "ada", "a drill"),
    PauseFileSeen(T, True),
)
RUNS = (
    Run("i-1", "alive", Status.OK, False, "", T + 1.25, T + 601.25, 61, 0.004, 0.02),
    Run("i-2", "alive", Status.CRITICAL, True, "no answer — “nothing”", T + 2.0, T + 2.0, 1, 3.0, 3.0),
)


def files(folder: Path, keep: float = 8 * DAY, most: int = 1_000_000) -> HistoryFiles:
    return HistoryFiles(folder, keep, most)


def write(folder: Path, *chapters: Chapter) -> Path:
    """Write one segment; return its file."""
    pen = files(folder)
    for chapter in chapters:
        pen.write(chapter)
    pen.close()
    return segments(folder)[-1]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Every kind of line, and runs to the millisecond."""
    first, second = Chapter(T, RUNS, LINES, True), Chapter(T + 30, (RUNS[0]._replace(text="again"),), ())
    write(tmp_path / "history", first, second)
    (segment,) = read(tmp_path / "history", T)
    assert (segment.chapters, segment.damage) == ((first, second), "")


def test_every_kind_of_line_is_tried() -> None:
    """A new kind of line must be added above."""
    from supervisor.core.history import LINES as KINDS

    assert {type(line) for line in LINES} == set(KINDS)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """What machines answer is nobody else's business."""
    path = write(tmp_path / "history", Chapter(T, opening=True))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_torn_end_costs_only_itself_wherever_it_is_torn(tmp_path: Path) -> None:
    """Whatever was whole is read; what was torn is told."""
    first, second = Chapter(T, RUNS, LINES, True), Chapter(T + 30, RUNS)
    path = write(tmp_path / "history", first, second)
    whole = path.read_bytes()
    start = len(FORMAT) + 8 + int.from_bytes(whole[len(FORMAT) : len(FORMAT) + 4])
    for length in range(start + 1, len(whole)):
        segment = read_segment(path, whole[:length])
        assert segment.chapters == (first,)
        assert "not whole" in segment.damage


@pytest.mark.parametrize("place", [60, -20], ids=["in its first frame", "in its last frame"])
def test_damage_is_found_and_told(place: int, tmp_path: Path) -> None:
    """A byte that was changed never becomes a result."""
    path = write(tmp_path / "history", Chapter(T, RUNS, LINES, True), Chapter(T + 30, RUNS))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    segment = read_segment(path, bytes(data))
    assert segment.damage
    assert len(segment.chapters) == (0 if place > 0 else 1)


def test_a_frame_that_is_no_chapter_is_damage(tmp_path: Path) -> None:
    """Whole, but not ours: it is told, never raised."""
    content = zlib.compress(b'{"at": 1}')
    data = FORMAT + len(content).to_bytes(4) + zlib.crc32(content).to_bytes(4) + content
    assert "can't be understood" in read_segment(tmp_path / "x", data).damage


def test_another_format_is_refused(tmp_path: Path) -> None:
    """By the name in its first line."""
    with pytest.raises(StateError, match="another version"):
        read_segment(tmp_path / "x", b"sickbay history 2\n....")


def test_no_history_is_one_sentence(tmp_path: Path) -> None:
    """With the key that says for how long it is kept."""
    with pytest.raises(StateError, match="no history is kept here"):
        list(read(tmp_path / "nowhere", 0.0))


def test_reading_begins_with_the_segment_that_knows_of_the_moment(tmp_path: Path) -> None:
    """The one that was open then, and all after it."""
    pen = files(tmp_path)
    for day in range(5):
        pen.write(Chapter(T + day * DAY, opening=True))
    assert [s.chapters[0].at for s in read(tmp_path, T + 2.5 * DAY)] == [T + 2 * DAY, T + 3 * DAY, T + 4 * DAY]
    assert len(list(read(tmp_path, T - DAY))) == 5


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """A segment goes once all of it is older than the limit."""
    pen = files(tmp_path, keep=2 * DAY)
    for day in range(6):
        pen.write(Chapter(T + day * DAY, opening=True))
    assert [s.chapters[0].at for s in read(tmp_path, 0.0)] == [T + day * DAY for day in (2, 3, 4, 5)]


def test_it_never_takes_more_room_than_it_may(tmp_path: Path) -> None:
    """The oldest segments go first, and the newest stays."""
    most = 60_000
    pen = files(tmp_path, most=most)
    opening = True
    for number in range(150):
        texts = [str(zlib.crc32(f"{number}/{i}".encode())) for i in range(200)]
        runs = tuple(RUNS[1]._replace(text=text) for text in texts)
        opening = not pen.write(Chapter(T + number, runs, (), opening))
        assert sum(path.stat().st_size for path in segments(tmp_path)) <= most
    assert len(segments(tmp_path)) > 10
    assert list(read(tmp_path, 0.0))[-1].chapters[-1].at == T + 149


def test_a_full_disk_raises_and_the_next_chapter_begins_afresh(tmp_path: Path) -> None:
    """Nothing is ever written behind half a frame."""
    pen = files(tmp_path)
    pen.write(Chapter(T, RUNS, LINES, True))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segments(tmp_path)[0].stat().st_size + 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            pen.write(Chapter(T + 30, RUNS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    pen.write(Chapter(T + 60, RUNS, LINES, True))
    torn, whole = read(tmp_path, T)
    assert [c.at for c in torn.chapters] == [T]
    assert torn.damage.startswith("20 bytes")
    assert [c.at for c in whole.chapters] == [T + 60]
