"""Files that survive a SIGKILL and a power cut: whole or not there, never half.

Also the file lock that serialises acts across threads and processes. Blocking: called from threads only.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READ_AT_MOST = 1 << 20  # bytes of a log that a tail looks at


def write_durably(path: Path, text: str) -> None:
    """Replace a file by `text`: after this returns the new text is on disk, before it the old one is."""
    # One fixed name per writer: a crash leaves at most one of them, and the next write takes it over.
    part = path.with_name(f".{path.name}.part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:  # Any: JSON
    """Return a file's JSON, or None where there is no such file. Raises `OSError`, or `ValueError` if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Hold a file lock; the kernel drops it when the process dies.

    `patience` is in seconds. Raises `TimeoutError` when somebody else keeps it longer.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another act on it still runs", str(path))
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock right now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Return the last lines of a text file of any size; empty where there is none."""
    if lines <= 0:
        return ()
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - READ_AT_MOST))
            text = file.read(READ_AT_MOST).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(text.splitlines()[-lines:])


def trim_log(path: Path, most: int) -> None:
    """Keep a log below `most` bytes: the old half goes to `NAME.1`, which is overwritten.

    Safe while a process writes, because it opened the file for appending; lines written in between may be lost.
    """
    try:
        if path.stat().st_size <= most:
            return
        with open(path, "rb") as log, open(path.with_name(f"{path.name}.1"), "wb") as old:
            log.seek(-most // 2, os.SEEK_END)
            old.write(log.read(most))
        os.truncate(path, 0)
    except FileNotFoundError:
        return
