"""Takes the addresses on which the daemon listens, before it acts on anything.

A taken address stops the start in one sentence. Whoever has it is left alone: only a socket that nobody answers, left
behind by a daemon that was killed, is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ListenError

PATIENCE = 2.0  # seconds for whoever has the socket to be there
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Taken:
    """Sockets that listen; `close` gives them back and takes the unix socket's file away."""

    unix: socket.socket
    tcp: socket.socket | None
    path: Path
    inode: int

    def close(self) -> None:
        """Stop listening."""
        for taken in (self.unix, self.tcp):
            if taken is not None:
                taken.close()
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


def take(path: Path, address: tuple[str, int] | None, group: int | None = None) -> Taken:
    """Take the unix socket, given to a group if asked to, and the TCP address, if there is one.

    Raises `ListenError`, one line for each that fails.
    """
    refusals: list[str] = []

    def attempt(make: Callable[[], socket.socket]) -> socket.socket | None:
        try:
            return make()
        except ListenError as error:
            refusals.append(str(error))
            return None

    tcp = attempt(lambda: _tcp(*address)) if address is not None else None
    unix = attempt(lambda: _unix(path, group))
    if unix is None or refusals:
        if unix is not None:
            Taken(unix, tcp, path, path.lstat().st_ino).close()
        elif tcp is not None:
            tcp.close()
        raise ListenError("\n".join(refusals))
    return Taken(unix, tcp, path, path.lstat().st_ino)


def _tcp(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        where = f"can't listen on {host}:{port}"
        match error.errno:
            case errno.EADDRINUSE:
                raise ListenError(f"{where}: another process has it; stop that one, or set another `listen`") from error
            case errno.EACCES:
                raise ListenError(f"{where}: this user may not; set `listen` to a port above 1023") from error
            case _:
                raise ListenError(f"{where}: {error.strerror}; set another `listen`") from error
    return made


def _unix(path: Path, group: int | None) -> socket.socket:
    _clear(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(made.fileno(), 0o600)  # until it is what it should be, nobody else connects
        made.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(0o660)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        match error.errno:
            case errno.ENOENT:
                raise ListenError(f"{path.parent} does not exist; make it, or set another `socket`") from error
            case errno.EPERM if group is not None:
                path.unlink(missing_ok=True)
                name = grp.getgrgid(group).gr_name
                raise ListenError(
                    f"{path} can't be given to the group {name}; make the daemon's user a member of it"
                ) from error
            case errno.EACCES | errno.EROFS:
                raise ListenError(f"{path.parent} can't be written; allow it, or set another `socket`") from error
            case _:
                raise ListenError(f"can't listen on {path}: {error}; set another `socket`") from error
    return made


def _clear(path: Path) -> None:
    """Make place: a dead daemon's socket goes, everything else stays."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(f"{path} is there and is no socket; move it, or set another `socket`")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PATIENCE)
            probe.connect(str(path))
            pid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        raise ListenError(f"{path} is in use by another process (pid {pid}); stop that one, or set another `socket`")
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        pass  # nothing to clear; binding tells about the folder
    except OSError as error:
        raise ListenError(f"{path} can't be used ({error}); set another `socket`") from error
