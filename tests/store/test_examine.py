"""Looking before touching: what is found where a state file should be, and whether its log still holds every commit."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.core.model import Holder
from supervisor.errors import StateDamaged
from supervisor.store import SqliteStore
from supervisor.store.examine import NETWORK_FILE_SYSTEMS, file_system
from supervisor.store.wal import FRAME, HEADER, why_unreadable

MOUNTS = """\
sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
filer:/export /srv/nfs nfs4 rw 0 0
/dev/sdb1 /srv/nfs/local xfs rw 0 0
//nas/share /srv/with\\040space cifs rw 0 0
"""

PLACES = {
    "the root": ("/", "ext4"),
    "a folder of the root": ("/var/lib/sickbay", "ext4"),
    "a network file system": ("/srv/nfs", "nfs4"),
    "a folder on it": ("/srv/nfs/sickbay", "nfs4"),
    "a local disk mounted below it": ("/srv/nfs/local/sickbay", "xfs"),
    "a neighbour whose name begins alike": ("/srv/nfs2", "ext4"),
    "a mount with a space in its name": ("/srv/with space/sickbay", "cifs"),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_file_system_of_a_folder_is_that_of_its_nearest_mount(name: str) -> None:
    """Going by the text of /proc/mounts; locks can't be trusted over a network."""
    folder, kind = PLACES[name]

    assert kind == file_system(Path(folder), MOUNTS)
    assert (kind in NETWORK_FILE_SYSTEMS) == (kind in ("nfs4", "cifs"))


def killed(folder: Path, commits: int) -> Path:
    """Return a state file as a SIGKILL leaves it: its commits are in the log only."""
    living = folder / "living" / "state.db"
    store = SqliteStore(living)
    store.load()
    for number in range(commits):
        store.commit([Holder(f"holder {number}", "x" * 9000, "", datetime(2026, 1, 1, tzinfo=UTC))], [])
    (folder / "killed").mkdir()
    for name in ("state.db", "state.db-wal"):
        shutil.copyfile(living.with_name(name), folder / "killed" / name)
    store.close()
    return folder / "killed" / "state.db"


def holders(path: Path) -> int:
    """Return how many holders a state file holds."""
    store = SqliteStore(path)
    found = sum(isinstance(record, Holder) for record in store.load())
    store.close()
    return found


def log_of(path: Path) -> Path:
    """Return the file's write-ahead log."""
    return path.with_name(path.name + "-wal")


def frames(log: bytes) -> list[int]:
    """Return where each frame of a log begins."""
    page = int.from_bytes(log[8:12], "big")
    return list(range(HEADER, len(log) - FRAME - page + 1, FRAME + page))


def test_what_a_sigkill_leaves_is_whole(tmp_path: Path) -> None:
    """A log full of commits is the normal case."""
    path = killed(tmp_path, 5)

    assert "" == why_unreadable(log_of(path).read_bytes())
    assert 5 == holders(path)


def test_a_torn_last_commit_was_never_acknowledged(tmp_path: Path) -> None:
    """What a power cut leaves behind is taken up to the last whole commit, as SQLite promises."""
    path = killed(tmp_path, 5)
    log = log_of(path).read_bytes()
    log_of(path).write_bytes(log[: frames(log)[-1] + 100])

    assert 4 == holders(path)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a wrong header": (lambda log: b"garbage!" * 4 + log[HEADER:], "its header is damaged"),
    "a header with one wrong bit": (lambda log: log[:17] + bytes([log[17] ^ 1]) + log[18:], "its header is damaged"),
    "garbage in an early commit": (
        lambda log: log[: frames(log)[1] + 99] + b"garbage" + log[frames(log)[1] + 106 :],
        "a commit in its middle is damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_log_that_lost_acknowledged_commits_is_named(name: str, tmp_path: Path) -> None:
    """SQLite alone would go on without them, and without a word; a lost intent is a machine launched twice."""
    damage, sentence = DAMAGE[name]
    path = killed(tmp_path, 5)
    log_of(path).write_bytes(damage(log_of(path).read_bytes()))
    before = path.read_bytes(), log_of(path).read_bytes()
    with pytest.raises(StateDamaged, match=sentence):
        SqliteStore(path)

    assert before == (path.read_bytes(), log_of(path).read_bytes())


def test_a_log_whose_file_is_missing_is_not_thrown_away(tmp_path: Path) -> None:
    """A new file in its place would swallow it."""
    path = killed(tmp_path, 2)
    path.unlink()
    with pytest.raises(StateDamaged, match="is missing, but its log state.db-wal is there"):
        SqliteStore(path)

    assert not path.exists()
    assert log_of(path).stat().st_size


def test_an_emptied_file_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """SQLite would begin afresh, and every incident would be forgotten."""
    (tmp_path / "state.db").touch()
    with pytest.raises(StateDamaged, match="is empty; restore a backup, or take it away to begin anew"):
        SqliteStore(tmp_path / "state.db")

    assert 0 == (tmp_path / "state.db").stat().st_size


def test_a_row_that_is_no_record_is_damage(tmp_path: Path) -> None:
    """The file is whole, what is in it is not ours."""
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO holder (name, reason, actor, since) VALUES ('ada', '', '', 'yesterday')")
    connection.close()
    store = SqliteStore(path)
    with pytest.raises(StateDamaged, match="a row can't be read"):
        store.load()
    store.close()


def test_any_damage_is_a_sentence_or_harmless(tmp_path: Path) -> None:
    """Bytes flipped anywhere, in file and log: the file is refused, or everything in it is there. Never an exception."""
    dice = random.Random(7)
    whole = killed(tmp_path, 5)
    for number in range(60):
        path = tmp_path / str(number) / "state.db"
        path.parent.mkdir()
        for source, target in ((whole, path), (log_of(whole), log_of(path))):
            target.write_bytes(source.read_bytes())
        hurt = dice.choice((path, log_of(path)))
        content = bytearray(hurt.read_bytes())
        at = dice.randrange(len(content))
        content[at : at + 16] = dice.randbytes(min(16, len(content) - at))
        hurt.write_bytes(content)
        try:
            found = holders(path)
        except StateDamaged:
            assert content == hurt.read_bytes()
        else:
            assert found >= 4  # the last commit alone may look like one that a power cut tore
