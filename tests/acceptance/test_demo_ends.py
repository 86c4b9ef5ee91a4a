"""However the demo ends, nothing of it stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_with_its_machines(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, `kill` and a closed window: the machines end, and the folder is gone."""
    command = [sys.executable, "-m", "supervisor", "demo", "--every", "600s"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith(">>> breaking"):
            break
    demo.send_signal(number)
    demo.communicate(timeout=60)

    assert 0 == demo.returncode
    assert [] == list(tmp_path.glob("sickbay-demo-*"))
    assert [] == [entry for entry in Path("/proc").glob("[0-9]*/environ") if str(tmp_path) in _read(entry)]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param("slow", "was replaced by", id="a slow machine is replaced, alone"),
        pytest.param("zone", "zone b was named, and nobody was removed", id="a zone that is out is named, not healed"),
        pytest.param("blind", "it said that it could not see, touched nobody", id="who cannot see touches nobody"),
    ],
)
@pytest.mark.timeout(240)
def test_a_shared_or_slow_fault_is_answered_rightly(fault: str, told: str) -> None:
    """On real processes: the right cause is named, and no innocent is removed."""
    command = [sys.executable, "-m", "supervisor", "demo", "--once", "--fault", fault, "--json"]
    demo = subprocess.run(command, capture_output=True, text=True, timeout=230, check=False)
    outcome = json.loads(demo.stdout)

    assert told in outcome["reason"]
    assert "" == demo.stderr  # nothing for programs among the lines for people
    assert (True, 0) == (outcome["healed"], demo.returncode)
