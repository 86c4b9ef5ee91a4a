"""The bench of the prober counts and accounts right: known checks, known costs, and a tiny run of the whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.prober.checker import Work
from bench.prober.goals import GOALS, ratio, verdict
from bench.prober.rounds import Figure, address
from bench.prober.sickbay import PROBER

ROOT = Path(__file__).parents[2]
SPREADING = {PROBER, "Sickbay, with reading", "haproxy", "bare C prober"}
"""Those who keep the pace to the tenth of a second. Monit asks in bursts, a scheduler in whole seconds."""


def may_make_networks() -> bool:
    """Return whether a network namespace can be made and used; not so in many containers, root or not."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return (
        subprocess.run(["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode
        == 0
    )


real = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not may_make_networks(), reason="no network namespace of our own can be made here"),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed; `make test` installs it"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module to its end."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )


@pytest.fixture(scope="module")
def told() -> Any:
    """Return what the bench made of what is known."""
    done = run("tests.bench.known")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(60)
class TestKnown:
    """What is done is known exactly."""

    pytestmark = real

    @pytest.mark.parametrize(
        ("deed", "requests", "connections"),
        [("anew", 37, 37), ("kept", 37, 1), ("sealed", 37, 37), ("connected", 0, 37), ("hung_up", 0, 37)],
    )
    def test_every_check_is_counted_once(self, told: Any, deed: str, requests: int, connections: int) -> None:
        assert told["counts"][deed] == {"http": requests, "tcp": connections}

    @pytest.mark.parametrize(("account", "tolerance"), [(0, 0.15), (1, 0.25)], ids=["control group", "proc"])
    def test_the_cost_is_what_was_spent(self, told: Any, account: int, tolerance: float) -> None:
        figure = told["figures"][account]
        assert figure["total"] == pytest.approx(20_000, rel=tolerance)
        assert figure["achieved"] == pytest.approx(figure["offered"], rel=0.15)
        assert figure["fresh"] == 1.0


@pytest.mark.timeout(180)
class TestWhole:
    """A run of a few seconds, with whichever checkers are installed."""

    pytestmark = real

    def test_what_is_offered_arrives(self, tmp_path: Path) -> None:
        file = tmp_path / "figures.json"
        tiny = ("--rounds", "1", "--targets", "40", "--seconds", "2", "--only", "http", "--only", "tcp")
        done = run("bench.prober", *tiny, "--json", str(file))
        assert done.returncode in {0, 1}, done.stderr
        figures = [Figure(**told) for told in json.loads(file.read_text())["figures"]]
        assert {(f.work, f.name) for f in figures} >= {(work, PROBER) for work in ("http", "tcp")}
        for figure in figures:
            assert 0 <= figure.user <= figure.total
            assert not figure.errors
            if figure.name in SPREADING:
                assert figure.achieved == pytest.approx(figure.offered, rel=0.15), figure
        assert "no figure of" not in done.stdout


def figure(number: int, name: str, total: float, work: Work = Work.HTTP) -> Figure:
    """Return what one checker cost."""
    return Figure(number, work, name, 100, 100, total, 0.0, 1.0, None)


def test_ratios_are_taken_within_a_round() -> None:
    slow_round = [figure(0, PROBER, 300.0), figure(0, "haproxy", 100.0)]
    quick_rounds = [figure(n, name, 50.0) for n in (1, 2) for name in (PROBER, "haproxy")]
    alone = [figure(3, PROBER, 999.0)]
    found = ratio([*slow_round, *quick_rounds, *alone], PROBER, Work.HTTP, "haproxy", Work.HTTP)
    assert found is not None
    assert (found.median, found.low, found.high) == (1.0, 1.0, 3.0)


def test_who_does_not_keep_up_is_not_compared() -> None:
    failing = Figure(0, Work.HTTP, PROBER, 100, 50, 10.0, 0.0, 1.0, 400)
    assert ratio([failing, figure(0, "haproxy", 100.0)], PROBER, Work.HTTP, "haproxy", Work.HTTP) is None


def test_a_goal_without_its_peer_is_not_measured() -> None:
    goal = GOALS[0]
    assert [
        verdict(goal, ratio([figure(0, PROBER, ours), *others], PROBER, Work.HTTP, "haproxy", Work.HTTP))
        for ours, others in (
            (120.0, [figure(0, "haproxy", 100.0)]),
            (121.0, [figure(0, "haproxy", 100.0)]),
            (1.0, []),
        )
    ] == ["met", "MISSED", "not measured"]


def test_addresses_are_machines() -> None:
    made = [address(n) for n in range(130_000)]
    assert len(set(made)) == len(made)
    assert all(0 < int(part) < 255 for part in (last.rpartition(".")[2] for last in made))
