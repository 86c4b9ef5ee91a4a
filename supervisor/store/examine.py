"""Looks at what lies where a state file should be, before anything there is written.

A file that can't be used is left as it was found, byte for byte: what is in it may be all that is known. Called by the
store while it holds the lock; knows SQLite's files, nothing of the records in them.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from supervisor.core.model import Identity
from supervisor.errors import StateDamaged, StateError, StateNewer
from supervisor.store.schema import META, TABLES, VERSION
from supervisor.store.wal import why_unreadable

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph", "lustre"})
LEAST_FREE = 1 << 20  # bytes: less is a full disk, whatever fits into it
UNHARMED = "restore a backup, nothing was changed"


def examine_place(path: Path) -> None:
    """Refuse a place where no state file can live. Raises `StateError`."""
    if path.is_dir():
        raise StateError(f"{path} is a folder, a state file was expected; give `state` the path of a file")
    mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    kind = file_system(path.parent.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StateError(
            f"{path.parent} is on a network file system ({kind}), where locks can't be trusted; use a local disk"
        )


def examine_room(path: Path) -> None:
    """Refuse a disk on which no commit would fit, and a folder or file that can't be written. Raises `StateError`."""
    folder = path.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StateError(f"{folder} can't be written; the daemon needs its state folder writable")
    found = os.statvfs(folder)
    free = (found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize
    if found.f_blocks and free < LEAST_FREE:
        raise StateError(
            f"the disk of {folder} is full: {free >> 10} KiB are free, at least {LEAST_FREE >> 10} are expected; make room"
        )


def examine_file(path: Path) -> bool:
    """Return whether there is a state file that can be used; False when there is none yet.

    Raises `StateDamaged`, `StateNewer`, or `StateError` for what is no state file or can't be written.
    """
    log = path.with_name(path.name + "-wal")
    try:
        found = path.stat()
    except FileNotFoundError:
        if log.exists() and log.stat().st_size:
            raise StateDamaged(f"{path} is missing, but its log {log.name} is there; {UNHARMED}") from None
        return False
    if not stat.S_ISREG(found.st_mode):
        raise StateError(f"{path} is no regular file, a state file was expected; choose another `state`")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StateError(f"{path} can't be written; the daemon needs its state file writable")
    if found.st_size == 0:  # a new one is put in place complete, so this was one, or is not ours
        raise StateDamaged(f"{path} is empty; restore a backup, or take it away to begin anew")
    if log.exists() and (why := why_unreadable(log.read_bytes())):
        raise StateDamaged(f"{path} is damaged ({log.name}: {why}); {UNHARMED}")
    try:
        # Without a log there is nothing to share with other readers, and no file of SQLite's own is left behind.
        mode = "ro" if log.exists() and log.stat().st_size else "ro&immutable=1"
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=5.0)) as reading:
            _examine_content(path, reading)
    except sqlite3.Error as error:
        raise refusal(path, str(error)) from error
    except UnicodeError as error:  # what SQLite took for text is none
        raise StateDamaged(f"{path} is damaged (garbled text); {UNHARMED}") from error
    return True


def _examine_content(path: Path, reading: sqlite3.Connection) -> None:
    tables = {row[0] for row in reading.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {META.name, TABLES[Identity].name} <= tables:
        raise StateError(f"{path} is no Sickbay state file; choose another `state`")
    verdict = reading.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StateDamaged(f"{path} is damaged ({' '.join(str(verdict).split())}); {UNHARMED}")
    found = reading.execute(f"SELECT max(version) FROM {META.name}").fetchone()[0]  # noqa: S608  # our own name
    if not isinstance(found, int) or found < 1:
        raise StateError(f"{path} is no Sickbay state file; choose another `state`")
    if found > VERSION:
        raise StateNewer(
            f"{path} was written by a newer Sickbay (format {found}, this one reads {VERSION}); upgrade, nothing was changed"
        )


def refusal(path: Path, reason: str) -> StateError:
    """Turn what SQLite says into an error with a remedy."""
    if any(word in reason for word in ("malformed", "not a database", "decode")):
        return StateDamaged(f"{path} is damaged ({reason}); {UNHARMED}")
    if "readonly" in reason or "unable to open" in reason:
        return StateError(f"{path} can't be written ({reason}); the daemon needs its state file writable")
    if "full" in reason:
        return StateError(f"{path} can't be written ({reason}); make room on its disk")
    return StateError(f"{path} can't be used ({reason}); nothing was changed")


def file_system(folder: Path, mounts: str) -> str:
    """Return the type of the file system that holds a folder, going by the text of /proc/mounts."""
    best, kind = "", ""
    real = str(folder)
    for line in mounts.splitlines():
        mount, found = (re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), part) for part in line.split()[1:3])
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, found
    return kind
