"""Bad state files: each is one clear sentence, and nothing is lost or touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.model import Holder, Incident, IncidentKind, IncidentState, Thread
from supervisor.errors import CommitFailed, StateBusy, StateDamaged, StateError, StateNewer
from supervisor.store import SqliteStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INCIDENT = Incident(1, "web", "i-1", IncidentKind.SICK, IncidentState.OPEN, "HTTP 500", NOW, NOW)

HOLD_OPEN = """
import sys, time
from pathlib import Path
from supervisor.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""

COMMIT_FOR_EVER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from supervisor.core.model import Holder
from supervisor.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.load()
number = 0
while True:
    number += 1
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    store.commit([Holder(f"{number}-{part}", "", "", moment) for part in "ab"], [])
    print(number, flush=True)
"""


def child(code: str, path: Path) -> subprocess.Popen[str]:
    """Start another process on the same state file."""
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_daemon_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    """The lock is the kernel's: it goes with its holder, however that one ends."""
    path = tmp_path / "state.db"
    other = child(HOLD_OPEN, path)
    assert "open" == line(other)
    with pytest.raises(StateBusy, match=rf"in use by another daemon \(pid {other.pid}\)"):
        SqliteStore(path)
    other.kill()
    other.communicate()

    SqliteStore(path).close()


def test_every_acknowledged_commit_survives_sigkill_whole(tmp_path: Path) -> None:
    """Killed in mid-stream: what was said to be written is there, both halves of each."""
    path = tmp_path / "state.db"
    writer = child(COMMIT_FOR_EVER, path)
    acknowledged = 0
    while acknowledged < 50:
        acknowledged = int(line(writer))
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate()
    acknowledged = max([acknowledged, *map(int, rest.split())])
    store = SqliteStore(path)
    names = {r.name for r in store.load() if isinstance(r, Holder)}
    store.close()

    assert {f"{n}-{part}" for n in range(1, acknowledged + 1) for part in "ab"} <= names
    assert all(f"{name[:-1]}{other}" in names for name in names for other in "ab")


def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    """Never recreated: what is in it may be all that is known."""
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all" * 400)
    before = path.read_bytes()
    with pytest.raises(StateDamaged, match="restore a backup, nothing was changed"):
        SqliteStore(path)

    assert before == path.read_bytes()


def test_a_newer_file_is_left_to_a_newer_sickbay(tmp_path: Path) -> None:
    """Both formats are named."""
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(StateNewer, match="format 99, this one reads 1"):
        SqliteStore(path)


def test_somebody_elses_database_is_not_used(tmp_path: Path) -> None:
    """A file with other tables is no state file."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StateError, match="is no Sickbay state file"):
        SqliteStore(path)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    """A folder was found, a file was expected."""
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateError, match="is a folder, a state file was expected"):
        SqliteStore(tmp_path / "state.db")


def test_a_full_disk_refuses_the_commit_and_keeps_the_rest(tmp_path: Path) -> None:
    """Refused whole, and known to be: the caller does nothing, and may try again."""
    store = SqliteStore(tmp_path / "state.db")
    store.load()
    with store._engine.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    big = Holder("big", "x" * 200_000, "", datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(CommitFailed, match="full") as caught:
        store.commit([big], [])
    assert not caught.value.ambiguous
    assert not any(isinstance(r, Holder) for r in store.load())
    store.close()


def test_a_file_of_an_earlier_version_grows_and_keeps_what_it_holds(tmp_path: Path) -> None:
    """Tables and columns that came later are added; old rows take the fields' defaults."""
    store = SqliteStore(tmp_path / "state.db")
    store.load()
    store.commit([INCIDENT], [])
    store.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("DROP TABLE thread")
        connection.execute("ALTER TABLE incident DROP COLUMN held_why")
        connection.commit()

    again = SqliteStore(tmp_path / "state.db")
    found = [r for r in again.load() if isinstance(r, Incident)]
    again.commit([Thread("slack", INCIDENT.id, "C1:2", NOW)], [])

    assert [INCIDENT] == found
    again.close()
