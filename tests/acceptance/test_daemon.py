"""The real program: real processes, real signals, SIGKILL at every step, and the command line as people use it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisor.providers.local import LocalCloud, LocalOptions, faults
from supervisor.providers.local.image import WEB

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

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
port = 18090
front_door = "127.0.0.1:{port}"
health_interval = "200ms"
health_timeout = "200ms"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = 18090
interval = "300ms"
timeout = "250ms"

[judgement]
speed = 30

[chat.terminal]
"""


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sickbay:
    """A daemon in a folder of its own, and its command line."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Write the configuration."""
        self.folder = folder
        self.port, self.listen = free_port(), free_port()
        self.config = folder / "config.toml"
        self.write(mode=mode)
        self.process: subprocess.Popen[str] | None = None

    def write(self, mode: str = "auto", **changes: str) -> None:
        """Write the configuration, with some words replaced."""
        text = CONFIG.format(state=self.folder, port=self.port, listen=self.listen, mode=mode)
        for old, new in changes.items():
            text = text.replace(old, new)
        self.config.write_text(text)

    def start(self) -> None:
        """Start the daemon."""
        with (self.folder / "out.log").open("a") as out, (self.folder / "err.log").open("a") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor", "run", "--config", str(self.config)],
                stdout=out,
                stderr=err,
                text=True,
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
            capture_output=True, text=True, timeout=60, check=False,
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
        return (self.folder / "out.log").read_text()[-3000:] + (self.folder / "err.log").read_text()[-3000:]

    def pids(self) -> set[int]:
        """Return the machines' processes that are alive, frozen ones included."""
        found = [json.loads(p.read_text())["pid"] for p in self.folder.glob("local/web/instances/*/process.json")]
        return {pid for pid in found if Path(f"/proc/{pid}").exists()}

    def serving(self) -> list[str]:
        """Return who serves."""
        found = self.rows("SELECT id FROM instance WHERE lifecycle IN ('probation', 'in_service') ORDER BY id")
        return [row[0] for row in found]

    def end(self) -> None:
        """End the daemon and its fleet."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        options = LocalOptions(image=WEB, port=18090, front_door=f"127.0.0.1:{self.port}")
        asyncio.run(LocalCloud.open("web", options, self.folder, "").destroy())


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon that is not started yet."""
    made = Sickbay(tmp_path)
    yield made
    made.end()


STEPS = ("withdraw", "capture", "launch", "warm", "register", "confirm", "isolate")


@pytest.mark.parametrize("step", STEPS)
def test_sigkill_at_a_step_ends_in_one_replacement(sickbay: Sickbay, step: str) -> None:
    """The same incident is finished, with one machine launched for it; the fleet lives on meanwhile."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    victim, pids = sickbay.serving()[0], sickbay.pids()
    faults.errors(sickbay.folder, "web", victim)
    at_step = f"SELECT 1 FROM step JOIN workflow ON workflow.id = step.workflow WHERE patient = '{victim}' AND name = '{step}'"
    sickbay.until(partial(sickbay.rows, at_step), 60, pause=0.001)
    sickbay.kill()
    assert pids <= sickbay.pids()  # killing the daemon changes nothing in the fleet
    sickbay.start()
    incident = f"SELECT state, resolution FROM incident WHERE instance = '{victim}'"
    sickbay.until(partial(sickbay.rows, incident + " AND state = 'closed'"))
    sickbay.until(sickbay.is_calm)

    assert [("closed", "replaced")] == sickbay.rows(incident)
    assert [(4,)] == sickbay.rows("SELECT count(*) FROM instance")
    assert [("quarantined",)] == sickbay.rows(f"SELECT lifecycle FROM instance WHERE id = '{victim}'")
    assert [] == sickbay.rows("SELECT 1 FROM step WHERE status = 'unclear'")
    assert pids <= sickbay.pids()  # the sick one is frozen, not dead


def test_the_command_line_tells_and_acts(sickbay: Sickbay) -> None:
    """Every verb, for people and as JSON, against a running daemon."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    sickbay.until(lambda: sickbay.run("status").returncode == 0)
    victim = sickbay.serving()[0]

    assert "web: OPTIMAL, 3 of 3 serve, image 1.0.0" in sickbay.run("status").stdout
    assert "optimal" == sickbay.json("status")["fleets"][0]["state"]
    assert 0 == sickbay.run("check", "web").returncode
    assert {"ok"} == {row["status"] for row in sickbay.json("check", "web")}
    assert (
        "nothing is touched meanwhile"
        in sickbay.run("pause", "--name", "ada", "--for", "10m", "--reason", "lunch").stdout
    )
    assert "ada" == sickbay.json("status")["paused"][0]["name"]
    faults.errors(sickbay.folder, "web", victim)
    sickbay.until(lambda: sickbay.json("incidents")[0]["held_by"])
    explained = sickbay.json("explain", victim)
    assert {"guard": "pause", "holds": True, "value": "ada (lunch)", "threshold": "no holder"} in explained["guards"][
        "remediate"
    ]
    assert "HOLDS" in sickbay.run("explain", victim).stdout
    assert 1 == sickbay.run("check", "web", "--instance", victim).returncode
    assert 1 == sickbay.run("resume", "--name", "eve").returncode
    assert "is held until" in sickbay.run("hold", victim, "--reason", "looking").stdout
    assert "resumed" in sickbay.run("resume", "--name", "ada").stdout
    assert "is no longer held" in sickbay.run("release", victim).stdout
    sickbay.until(lambda: sickbay.json("quarantine", "list"))
    sickbay.until(sickbay.is_calm)
    number = sickbay.json("incidents")[0]["id"]
    assert f"incident {number} (closed)" in sickbay.run("incidents", str(number)).stdout
    faults.heal(sickbay.folder, "web", victim)
    assert "is released" in sickbay.run("quarantine", "release", victim).stdout
    sickbay.until(lambda: victim in sickbay.serving())
    assert "i-nobody" in sickbay.run("explain", "i-nobody").stderr
    actors = {row[0] for row in sickbay.rows("SELECT actor FROM audit WHERE action LIKE 'operator.%'")}
    assert actors == {os.environ.get("USER") or "root"} or len(actors) == 1


def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(sickbay: Sickbay) -> None:
    """SIGHUP: a larger fleet is filled; a broken file changes nothing, and people are told."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    assert sickbay.process is not None
    sickbay.write(**{"desired = 3": "desired = 4"})
    sickbay.process.send_signal(signal.SIGHUP)
    sickbay.until(lambda: len(sickbay.serving()) == 4)
    sickbay.write(**{"desired = 3": "desired = many"})
    sickbay.process.send_signal(signal.SIGHUP)
    sickbay.until(
        lambda: "the new configuration is refused, the old one goes on" in (sickbay.folder / "out.log").read_text()
    )
    assert 4 == len(sickbay.serving())
    assert sickbay.process.poll() is None


def test_the_pause_file_stops_everything(sickbay: Sickbay) -> None:
    """No daemon, no socket, no command line is needed to stop it: `touch pause`."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    (sickbay.folder / "pause").touch()
    sickbay.until(lambda: sickbay.rows("SELECT 1 FROM holder"))
    faults.crash(sickbay.folder, "web", sickbay.serving()[0])
    sickbay.until(lambda: sickbay.rows("SELECT 1 FROM incident WHERE state = 'open' AND held LIKE '%pause%'"))
    assert not sickbay.rows("SELECT 1 FROM removal")
    (sickbay.folder / "pause").unlink()
    sickbay.until(lambda: sickbay.rows("SELECT 1 FROM incident WHERE resolution = 'replaced'"))


def test_bad_starts_are_one_sentence_and_an_exit_code(sickbay: Sickbay, tmp_path: Path) -> None:
    """No daemon: 69. A bad file, a second daemon: 78."""
    assert 69 == sickbay.run("status").returncode
    assert "no daemon listens on" in sickbay.run("status").stderr
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    second = sickbay.run("run")
    assert 78 == second.returncode
    assert f"in use by another daemon (pid {sickbay.process.pid if sickbay.process else 0})" in second.stderr
    assert 0 == sickbay.kill(signal.SIGTERM)
    sickbay.write(**{"desired = 3": "desired = -3"})
    for command in ("run", "validate"):
        bad = sickbay.run(command)
        assert 78 == bad.returncode
        assert 1 == len(bad.stderr.splitlines())
        assert "[fleet.web] desired = -3" in bad.stderr


@pytest.mark.parametrize("fault", ["crash", "hang", "errors"])
def test_the_demo_heals_within_a_minute(fault: str) -> None:
    """What the README promises, as a newcomer runs it; visitors are answered meanwhile."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "demo", "--once", "--fault", fault, "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["healed"]
    assert "closed" == told["incident"]["state"]
    assert time.monotonic() - begun < 60
