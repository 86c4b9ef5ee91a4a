"""State files that can't be used, with the real program: one sentence, exit code 78, and not a byte changed.

And a disk that fills up while the daemon runs: it goes on watching, does nothing, says so, and resumes by itself.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from supervisor.providers.local import faults
from supervisor.store import SqliteStore
from tests.program import Sickbay, start_badly

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

CONFIG = """\
[supervisor]
state = "sqlite:///{state}"
listen = ""

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"
front_door = ""

[[fleet.web.check]]
kind = "http"
"""


class Place:
    """A folder with a state file and a configuration for it. What a row mounts is unmounted after it."""

    def __init__(self, folder: Path) -> None:
        """Make both."""
        self.folder = folder
        self.humble = False
        self.open = ExitStack()
        self.use(folder / "state.db")

    def use(self, state: Path) -> None:
        """Make a state file there, and configure it."""
        self.state = state
        with closing(SqliteStore(state)) as store:
            store.load()
        (self.folder / "config.toml").write_text(CONFIG.format(state=state))

    def sql(self, *statements: str) -> None:
        """Change the state file as somebody else would."""
        with closing(sqlite3.connect(self.state)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def overwrite(self, at: int, data: bytes) -> None:
        """Put these bytes into the file."""
        content = bytearray(self.state.read_bytes())
        assert at + len(data) < len(content)
        content[at : at + len(data)] = data
        self.state.write_bytes(content)

    def give_away(self, mode: int, path: Path) -> None:
        """Run as somebody who is bound by a path's mode."""
        path.chmod(mode)
        self.humble = True

    def disk(self, size: str) -> Path:
        """Mount a small disk of its own, and put the state there."""
        made = mount(self.folder / "disk", size, self.open)
        self.use(made / "state.db")
        return made


def mount(folder: Path, size: str, undo: ExitStack) -> Path:
    """Mount a small disk. Skips the test where that is not allowed."""
    folder.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", folder], check=False).returncode
    ):
        pytest.skip("only root can mount a small disk")
    undo.callback(lambda: subprocess.run(["umount", "--lazy", folder], check=True))
    return folder


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte; return the file that does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 65536):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk is not full")


def read_only_disk(place: Place) -> None:
    """Mount the disk again, for reading only."""
    subprocess.run(["mount", "-o", "remount,ro", place.disk("4m")], check=True)


def instead(make: Callable[[Path], object]) -> Callable[[Place], object]:
    """Return what puts something else in the file's place."""

    def put(place: Place) -> None:
        place.state.unlink()
        make(place.state)

    return put


def foreign(path: Path) -> None:
    """Make somebody else's database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE audit (theirs)")


def log_without_file(place: Place) -> None:
    """Leave the log and take the file away."""
    place.state.rename(place.state.with_name("state.db-wal"))


ROWS: dict[str, tuple[Callable[[Place], object], str]] = {
    "garbage at its beginning": (lambda p: p.overwrite(0, b"garbage " * 12), "is damaged (file is not a database); restore a backup, nothing was changed"),
    "garbage in its middle": (lambda p: p.overwrite(4096 * 5, b"garbage " * 512), "is damaged ("),
    "cut in half": (lambda p: os.truncate(p.state, p.state.stat().st_size // 2), "is damaged ("),
    "emptied": (lambda p: os.truncate(p.state, 0), "is empty; restore a backup, or take it away to begin anew"),
    "a log of garbage": (lambda p: p.state.with_name("state.db-wal").write_bytes(b"garbage!" * 1000), "is damaged (state.db-wal: its header is damaged); restore a backup, nothing was changed"),
    "a log without its file": (log_without_file, "is missing, but its log state.db-wal is there; restore a backup, nothing was changed"),
    "a row that is no record": (lambda p: p.sql("INSERT INTO holder VALUES ('ada', '', '', 'yesterday', NULL)"), "is damaged (a row can't be read: "),
    "from a newer version": (lambda p: p.sql("UPDATE schema_version SET version = 99"), "was written by a newer Sickbay (format 99, this one reads 1); upgrade, nothing was changed"),
    "somebody else's database": (instead(foreign), "is no Sickbay state file; choose another `state`"),
    "a folder in its place": (instead(os.mkdir), "is a folder, a state file was expected; give `state` the path of a file"),
    "a pipe in its place": (instead(os.mkfifo), "is no regular file, a state file was expected; choose another `state`"),
    "a file that can't be written": (lambda p: p.give_away(0o444, p.state), "state.db can't be written; the daemon needs its state file writable"),
    "a folder that can't be written": (lambda p: p.give_away(0o555, p.folder), "the daemon needs its state folder writable"),
    "a disk that can't be written": (read_only_disk, "the daemon needs its state folder writable"),
    "a full disk": (lambda p: fill(p.disk("4m")), "is full: 0 KiB are free, at least 1024 are expected; make room"),
}  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may enter, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="bad-state-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_state_is_one_sentence_and_is_left_as_it_is(name: str, folder: Path) -> None:
    """What was found and what to do; every byte, every time stamp and every name in the folder stays."""
    prepare, sentence = ROWS[name]
    place = Place(folder)
    with place.open:
        prepare(place)
        refused = start_badly(folder, humble=place.humble)

    assert 1 == len(refused.lines), refused.lines
    assert refused.lines[0].startswith("sickbay: ")
    assert sentence in refused.lines[0]
    assert (78, ()) == (refused.code, refused.touched)


def test_a_disk_that_fills_up_stops_the_doing_and_not_the_watching(tmp_path: Path) -> None:
    """In the middle of a healing: nothing more is done, people see why, and with room again the healing is finished.

    What a step had answered meanwhile is not forgotten: no machine is launched twice.
    """
    with ExitStack() as undo:
        disk = mount(tmp_path / "disk", "16m", undo)
        sickbay = Sickbay(disk)
        undo.callback(sickbay.end)
        sickbay.logs = tmp_path
        sickbay.start()
        sickbay.until(sickbay.is_calm)
        assert sickbay.process is not None
        victim = sickbay.serving()[0]
        faults.errors(disk, "web", victim)
        sickbay.until(lambda: sickbay.rows("SELECT 1 FROM step WHERE name = 'warm'"), pause=0.001)
        ballast = fill(disk)
        sickbay.until(lambda: sickbay.json("status")["store"]["refuses"])
        pids, steps = sickbay.pids(), sickbay.rows("SELECT name, attempt, status FROM step")
        assert "the state file refuses commits, so nothing is done: " in sickbay.run("status").stdout
        assert "sick" == {i["id"]: i["health"] for i in sickbay.json("status")["fleets"][0]["instances"]}[victim]
        assert "store.refuses" in [line["event"] for line in sickbay.log()]
        assert sickbay.process.poll() is None
        assert (pids, steps) == (sickbay.pids(), sickbay.rows("SELECT name, attempt, status FROM step"))
        ballast.unlink()
        incident = f"SELECT state, resolution FROM incident WHERE instance = '{victim}'"
        sickbay.until(lambda: sickbay.rows(f"{incident} AND state = 'closed'"))
        sickbay.until(sickbay.is_calm)
        assert [("closed", "replaced")] == sickbay.rows(incident)
        assert [(4,)] == sickbay.rows("SELECT count(*) FROM instance")
        assert pids <= sickbay.pids()
        assert 4 == len(sickbay.pids())
        assert not sickbay.json("status")["store"]["refuses"]
        assert "store.back" in [line["event"] for line in sickbay.log()]
