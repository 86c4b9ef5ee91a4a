"""The real program as people run it: a daemon in a folder of its own, with a local fleet, and its command line."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.cli import main
from supervisor.providers.local import LocalCloud, LocalOptions
from supervisor.providers.local.image import WEB

CONFIG = """
[supervisor]
mode = "{mode}"
state = "sqlite:///{state}/state.db"
listen = "127.0.0.1:{listen}"
inventory = "300ms"

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"
port = {machines}
front_door = "127.0.0.1:{port}"
health_interval = "200ms"
health_timeout = "200ms"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = {machines}
interval = "300ms"
timeout = "250ms"

[judgement]
speed = 30

[chat.terminal]
"""


def _plain_environment() -> dict[str, str]:
    """Return ours without the width of a window: the program's tables are read here as `grep` reads them."""
    return {name: value for name, value in os.environ.items() if name != "COLUMNS"}


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sickbay:
    """A daemon in a folder of its own, and its command line."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Write the configuration."""
        self.folder = self.logs = folder
        self.port, self.listen, self.machines = free_port(), free_port(), free_port()
        self.config = folder / "config.toml"
        self.environment: dict[str, str] = {}
        self.write(mode=mode)
        self.process: subprocess.Popen[str] | None = None

    def write(self, mode: str = "auto", **changes: str) -> None:
        """Write the configuration, with some words replaced."""
        text = CONFIG.format(state=self.folder, port=self.port, listen=self.listen, machines=self.machines, mode=mode)
        for old, new in changes.items():
            text = text.replace(old, new)
        self.config.write_text(text)

    def start(self) -> None:
        """Start the daemon."""
        with (self.logs / "out.log").open("a") as out, (self.logs / "err.log").open("a") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor", "run", "--config", str(self.config)],
                stdout=out,
                stderr=err,
                text=True,
                env={**_plain_environment(), **self.environment},
            )

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, and wait for the end; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments, "--config", str(self.config)],
            capture_output=True, text=True, timeout=60, check=False, env={**_plain_environment(), **self.environment},
        )  # fmt: skip

    def json(self, *arguments: str) -> Any:
        """Run the command line with --json; return what it prints."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the journal, as somebody who looks on."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/state.db?mode=ro", uri=True, timeout=5)) as journal:
                return journal.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def until(self, done: Callable[[], object], limit: float = 60.0, pause: float = 0.05) -> None:
        """Wait for something that real processes do."""
        deadline = time.monotonic() + limit
        while not done():
            assert time.monotonic() < deadline, self.story()
            time.sleep(pause)

    def is_calm(self) -> bool:
        """Return whether three machines serve and nothing is under way."""
        serving = self.rows("SELECT count(*) FROM instance WHERE lifecycle IN ('probation', 'in_service')") or [(0,)]
        busy = self.rows("SELECT count(*) FROM workflow WHERE state = 'running'") or [(1,)]
        open_ones = self.rows("SELECT count(*) FROM incident WHERE state <> 'closed'") or [(1,)]
        return bool(serving[0][0] >= 3 and busy[0][0] == 0 and open_ones[0][0] == 0)

    def story(self) -> str:
        """Return what happened, for a failing test."""
        return (self.logs / "out.log").read_text()[-3000:] + (self.logs / "err.log").read_text()[-3000:]

    def pids(self) -> set[int]:
        """Return the machines' processes that are alive, frozen ones included."""
        found = [json.loads(p.read_text())["pid"] for p in self.folder.glob("local/web/instances/*/process.json")]
        return {pid for pid in found if Path(f"/proc/{pid}").exists()}

    def serving(self) -> list[str]:
        """Return who serves."""
        found = self.rows("SELECT id FROM instance WHERE lifecycle IN ('probation', 'in_service') ORDER BY id")
        return [row[0] for row in found]

    def chat(self) -> str:
        """Return what people were told."""
        return (self.logs / "out.log").read_text()

    def log(self) -> list[dict[str, Any]]:
        """Return what the daemon logged."""
        return [json.loads(line) for line in (self.logs / "err.log").read_text().splitlines() if line.startswith("{")]

    def end(self) -> None:
        """End the daemon and its fleet."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        options = LocalOptions(image=WEB, port=self.machines, front_door=f"127.0.0.1:{self.port}")
        asyncio.run(LocalCloud.open("web", options, "", self.folder, "").destroy())


# ---------------------------------------------------------------------------------------------- starts that fail


@dataclass(frozen=True, slots=True)
class Refused:
    """How a start ended: its exit code, what it said on standard error, and which files are not as they were."""

    code: int | None
    lines: tuple[str, ...]
    touched: tuple[str, ...]


def start_badly(folder: Path, *arguments: str, humble: bool = False) -> Refused:
    """Run a command that should be refused, bound by mode bits even as root if asked to; see what it touches.

    It runs in a process of its own, forked from one that has the program loaded: a table of starts costs one import.
    """
    before = look(folder)
    with tempfile.NamedTemporaryFile("r+") as said:
        argv = arguments or ("run", "--config", str(folder / "config.toml"))
        process = LOADED.Process(target=_become, args=(said.name, folder, argv, humble))
        process.start()
        process.join(60)
        if process.exitcode is None:
            process.kill()
        lines = tuple(said.read().splitlines())
    after = look(folder)
    touched = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Refused(process.exitcode, lines, tuple(touched))


LOADED = multiprocessing.get_context("forkserver")
LOADED.set_forkserver_preload(["tests.program", "supervisor.cli", "supervisor.providers.local"])


def _become(stderr: str, folder: Path, argv: Sequence[str], humble: bool) -> None:
    """Turn this process into the program."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)
    os.chdir(folder)
    if humble:
        _obey_mode_bits()
    sys.argv = ["sickbay", *argv]
    main()


def _obey_mode_bits() -> None:
    """Give up what lets root read and write everything: capabilities 1 and 2, CAP_DAC_OVERRIDE and _READ_SEARCH."""
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
    data = ctypes.create_string_buffer(24)  # effective, permitted, inheritable; twice
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (libc.capget, libc.capset):
        if call(header, data) != 0:
            raise OSError(ctypes.get_errno(), "capabilities can't be changed")
        sets = struct.unpack("6I", data.raw)
        data.raw = struct.pack("6I", *(low & ~0b110 for low in sets[:3]), *sets[3:])


def look(folder: Path) -> dict[str, str]:
    """Return what lies in a folder: each name with its kind, and for a file its bytes and the time of its last change."""
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        if path.suffix == ".lock":
            continue  # says who held the state last
        name, status = str(path.relative_to(folder)), path.lstat()
        found[name] = f"{status.st_mode:o}"
        if path.is_file():
            found[name] += f" {status.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found
