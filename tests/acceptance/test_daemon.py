"""The real program: real processes, real signals, SIGKILL at every step, and the command line as people use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from supervisor.providers.local import faults
from tests.program import Sickbay

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


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
    passive = '[[fleet.web.check]]\nkind = "cloud_status"\nrole = "advisory"\n'
    sickbay.config.write_text(f"{sickbay.config.read_text()}\n{passive}")
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    sickbay.until(lambda: sickbay.run("status").returncode == 0)
    victim = sickbay.serving()[0]

    assert "web: OPTIMAL, 3 of 3 serve, image 1.0.0" in sickbay.run("status").stdout
    assert "optimal" == sickbay.json("status")["fleets"][0]["state"]
    assert {("alive", "ok")} == {(row["check"], row["status"]) for row in sickbay.json("check", "web")}
    assert "it asks nobody" in sickbay.run("check", "web", "--check", "cloud_status").stdout
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
