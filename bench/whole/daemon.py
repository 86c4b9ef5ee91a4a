"""The daemon under measurement: its configuration, its journal with a fleet that has served for a day, its figures."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import proc
from bench.whole.provider import listed
from bench.whole.target import PORT
from supervisor.core.model import Instance, Record, Slot
from supervisor.core.terms import Lifecycle
from supervisor.store import SqliteStore

LISTEN = 8750
CONFIG = """
[supervisor]
mode = "{mode}"
state = "sqlite:///{folder}/state.db"
listen = "127.0.0.1:{listen}"
inventory = "30s"

[plugins]
paths = ["{provider}"]

[fleet.web]
provider = "listed"
desired = {machines}
version = "1.0.0"

[fleet.web.listed]
machines = {machines}

[[fleet.web.check]]
name = "alive"
kind = "http"
port = {port}
path = "/"
interval = "10s"
timeout = "3s"
connection = "{connection}"
"""


def seed(path: Path, machines: int) -> None:
    """Write a journal in which everybody is in service."""
    store = SqliteStore(path)
    store.load()
    then = datetime.now(UTC) - timedelta(days=1)
    offer = listed.OFFER
    records: list[Record] = []
    for number in range(machines):
        name, zone = listed.name_of(number), listed.ZONES[number % len(listed.ZONES)]
        address = listed.address_of(number)
        records.append(Slot("web", number, name))
        records.append(
            Instance(
                name, "web", Lifecycle.IN_SERVICE, number, offer.image, offer.version, zone, address, then, then, True
            )
        )
    store.commit(records, [])
    store.close()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU seconds, and resident bytes now."""

    cpu: float
    resident: int


class Daemon:
    """One running daemon, over a journal that stays when it ends."""

    def __init__(self, folder: Path, machines: int, mode: str, connection: str, nice: int) -> None:
        """Write what it reads."""
        self._folder = folder
        self._nice = nice
        provider = Path(listed.__file__).parent
        self._config = folder / "config.toml"
        self._config.write_text(
            CONFIG.format(
                mode=mode,
                folder=folder,
                listen=LISTEN,
                provider=provider,
                machines=machines,
                port=PORT,
                connection=connection,
            )
        )
        if not (folder / "state.db").exists():
            seed(folder / "state.db", machines)
        self._process: subprocess.Popen[bytes] | None = None
        self.prober = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "supervisor", "run", "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError):
                self.get("/metrics")
                self.prober = _prober_of(self._process.pid)
                hurry(self.prober, self._nice)
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        raise SystemExit(f"the daemon does not start: {(self._folder / 'log').read_text()[-2000:]}")

    def usage(self) -> tuple[Usage, Usage]:
        """Return the supervisor's and the prober's."""
        if self._process is None:
            raise RuntimeError("it does not run")
        return _usage(self._process.pid), _usage(self.prober)

    def get(self, path: str) -> tuple[bytes, float]:
        """Read a page; return it and how long it took."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", LISTEN, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read(), time.monotonic() - begun
        finally:
            connection.close()

    def reload(self) -> None:
        """Have it read its configuration again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> float:
        """End it as systemd would; return how long it took."""
        if self._process is None:
            return 0.0
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        return time.monotonic() - begun


def hurry(pid: int, nice: int) -> None:
    """Set a process's niceness, and that of its session: the kernel shares the processors among sessions first."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _usage(pid: int) -> Usage:
    return Usage(proc.cpu(pid), proc.resident(pid))


def _prober_of(pid: int) -> int:
    for child in proc.children(pid):
        if b"--name\0prober" in proc.command(child):
            return child
    raise OSError("no prober yet")
