"""Golden images: a folder with an executable `start`, named by its content and kept so that it stays launchable.

The id covers the relative paths, the executable bits and the bytes: nothing else of a folder reaches a machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ProviderError
from supervisor.files import locked, sync_folder

MOST_BYTES = 256 << 20
WEB = Path(__file__).parent / "images" / "web"
"""The golden image that ships with Sickbay: a small web server."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str  # relative, with slashes
    path: Path
    kind: str  # "folder", "file", "program"


def image_id(folder: Path) -> str:
    """Name an image by its content. Raises `ProviderError` in one sentence when it can't be an image."""
    try:
        entries = _entries(folder)
        if not any(entry.kind != "folder" for entry in entries):
            raise ProviderError(f"golden image {folder} is empty: expected an executable `start` in it")
        start = next((entry for entry in entries if entry.name == "start"), None)
        if start is None or start.kind == "folder":
            raise ProviderError(f"golden image {folder} has no `start`: expected an executable of that name in it")
        if start.kind != "program":
            raise ProviderError(f"golden image {folder}: `start` is not executable; run chmod +x on it")
        return _digest(entries)
    except OSError as error:
        raise ProviderError(f"golden image {folder} can't be read: {error.strerror} ({error.filename})") from error


def _entries(folder: Path) -> list[_Entry]:
    """List what an image holds, sorted."""
    if not folder.exists():
        raise ProviderError(f"golden image {folder} does not exist: expected a folder with an executable `start`")
    if not folder.is_dir():
        raise ProviderError(f"golden image {folder} is a file: expected a folder with an executable `start`")
    found: list[_Entry] = []
    total = 0
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as listing:
            items = list(listing)
        for item in items:
            path = Path(item.path)
            name = path.relative_to(folder).as_posix()
            status = item.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                # It could point at anything on this host, now or later: then the id would promise nothing.
                raise ProviderError(f"golden image {folder}: {name} is a symbolic link; put the file itself there")
            if stat.S_ISDIR(status.st_mode):
                found.append(_Entry(name, path, "folder"))
                todo.append(path)
            elif stat.S_ISREG(status.st_mode):
                total += status.st_size
                found.append(_Entry(name, path, "program" if status.st_mode & 0o100 else "file"))
            else:
                raise ProviderError(f"golden image {folder}: {name} is neither a file nor a folder")
            if total > MOST_BYTES:
                raise ProviderError(f"golden image {folder} is larger than {MOST_BYTES >> 20} MiB")
    return sorted(found, key=lambda entry: entry.name)


def _digest(entries: list[_Entry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        # Each part is framed by its length, so that no two different folders write the same stream.
        name = os.fsencode(entry.name)
        digest.update(f"{entry.kind} {len(name)} ".encode() + name)
        if entry.kind != "folder":
            with open(entry.path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"img-{digest.hexdigest()[:16]}"


def copy_image(source: Path, target: Path, *, durably: bool = False) -> str:
    """Copy an image to a folder that does not exist yet, and return the id of what arrived there."""
    entries = _entries(source)
    target.mkdir(mode=0o700)
    for entry in entries:
        copy = target / entry.name
        if entry.kind == "folder":
            copy.mkdir(mode=0o755)
            continue
        with open(entry.path, "rb") as read, open(copy, "xb") as write:
            shutil.copyfileobj(read, write)
            os.fchmod(write.fileno(), 0o755 if entry.kind == "program" else 0o644)
            if durably:
                write.flush()
                os.fsync(write.fileno())
    return image_id(target)


@dataclass(frozen=True, slots=True)
class ImageStore:
    """Images by content. What lies under an id is that image, or is found out before it is used."""

    folder: Path

    def keep(self, source: Path) -> str:
        """Keep an image, so that it stays launchable when its folder changes. Raises `ProviderError`."""
        id = image_id(source)
        try:
            with locked(self.folder / ".lock", patience=60.0):
                if not self._holds(id):
                    self._put(source, id)
        except OSError as error:
            raise ProviderError(f"golden image {source} can't be kept in {self.folder}: {error.strerror}") from error
        return id

    def _holds(self, id: str) -> bool:
        """Whether a kept image is whole; a damaged one is thrown away."""
        try:
            if image_id(self.folder / id) == id:
                return True
        except ProviderError:
            pass
        shutil.rmtree(self.folder / id, ignore_errors=True)
        return False

    def _put(self, source: Path, id: str) -> None:
        part = self.folder / ".new"  # under the lock: at most one, a crash's leftover included
        shutil.rmtree(part, ignore_errors=True)
        if copy_image(source, part, durably=True) != id:
            raise ProviderError(f"golden image {source} changed while it was read: try again when it is complete")
        os.rename(part, self.folder / id)
        sync_folder(self.folder)

    def has(self, id: str) -> bool:
        """Whether an image of that id is kept."""
        return id.startswith("img-") and id.isascii() and "/" not in id and (self.folder / id).is_dir()

    def unpack(self, id: str, target: Path) -> None:
        """Give a machine its own copy, verified. Raises `ProviderError` if it is gone or damaged, `OSError`."""
        part = target.with_name(f".{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        if not self.has(id) or copy_image(self.folder / id, part) != id:
            shutil.rmtree(part, ignore_errors=True)
            raise ProviderError(f"image {id} is damaged or gone from {self.folder}: restore its folder and restart")
        os.rename(part, target)
