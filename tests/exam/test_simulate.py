"""`sickbay simulate`: what it plays, what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from supervisor.cli import app
from supervisor.cli.simulate import chosen, listed
from supervisor.sim.exam.ablation import ABLATIONS
from supervisor.sim.exam.runner import play_all
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Play

CRASH = str(next((Path(__file__).parents[2] / "scenarios").glob("02-*.toml")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--policy", "magic"], "--policy magic: unknown, expected one of sickbay, naive", id="policy"),
        pytest.param(["--ablate", "luck"], "--ablate luck: unknown, expected one of challenge", id="ablation"),
        pytest.param(["--sizes", "six"], "--sizes six: expected numbers of machines", id="size"),
        pytest.param(["--sizes", "0"], "--sizes 0: expected numbers of machines", id="no machine"),
        pytest.param(["nowhere"], "nowhere: there is no such scenario", id="scenario"),
        pytest.param(["999"], "999: no scenario that came with Sickbay has this number", id="number"),
        pytest.param(["2", "--report", "/nowhere/at/all.html"], "its folder does not exist", id="report"),
        pytest.param(["2", "--config", "/nowhere.toml"], "/nowhere.toml", id="config"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments: list[str], sentence: str) -> None:
    """Exit code 2, nothing is played."""
    result = CliRunner().invoke(app, ["simulate", *arguments])

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_broken_scenario_is_refused_with_its_name(tmp_path: Path) -> None:
    """A file of one's own may be wrong."""
    file = tmp_path / "70-mine.toml"
    file.write_text("number = 70\ncolour = 'red'\n")
    result = CliRunner().invoke(app, ["simulate", str(file)])

    assert result.exit_code == 2
    assert str(file) in result.stderr


def test_each_seed_is_played_by_the_oracle_first() -> None:
    """What the oracle loses is the measure for all others."""
    plays = listed(chosen(["2"]), [SICKBAY, "naive"], ["challenge"], [6], 2)

    assert [(play.policy, play.without, play.seed) for play in plays] == [
        (ORACLE, "", 1), (SICKBAY, "", 1), ("naive", "", 1), (SICKBAY, "challenge", 1),
        (ORACLE, "", 2), (SICKBAY, "", 2), ("naive", "", 2), (SICKBAY, "challenge", 2),
    ]  # fmt: skip


def test_a_clean_crash_is_healed_and_told(tmp_path: Path) -> None:
    """Sickbay replaces one machine; the oracle is as fast or faster; the report is there."""
    out = tmp_path / "out.html"
    arguments = ["simulate", "2", "--sizes", "6", "--policy", "sickbay", "--json", "--report", str(out)]
    result = CliRunner().invoke(app, arguments)
    runs = {run["healer"]: run for run in json.loads(result.stdout)["runs"]}

    assert result.exit_code == 0
    assert (runs["sickbay"]["right"], runs["sickbay"]["launches"], runs["sickbay"]["over_kill"]) == (True, 1, 0)
    assert (runs["oracle"]["launches"], runs["oracle"]["over_kill"]) == (1, 0)
    assert runs["oracle"]["lost"] <= runs["sickbay"]["lost"]
    assert out.read_text().startswith("<!doctype html>")


def test_a_table_names_the_best_baseline_and_what_was_missed() -> None:
    """A policy that can't name a cause is not right, and the exit code says so."""
    arguments = ["simulate", CRASH, "--sizes", "6", "--policy", "naive", "--policy", "gcp-mig"]
    result = CliRunner(env={"COLUMNS": None}).invoke(app, arguments)  # no window

    assert result.exit_code == 1
    assert "gcp-mig" in result.stdout
    assert "naive: 0 of 1 right in all seeds" in result.stdout


@pytest.mark.parametrize("part", ABLATIONS)
def test_a_crash_is_healed_without_any_one_part(part: str) -> None:
    """No part is what a plain crash depends on; a challenge of nobody is passed."""
    (run,) = play_all([Play(CRASH, 6, 1, SICKBAY, part)], 1)

    assert (run.score.right, run.score.launches) == (True, 1)


def test_the_same_play_has_the_same_score() -> None:
    """Whoever plays it again finds the same, but for the time it took."""
    plays = [Play(CRASH, 6, 3, policy) for policy in (ORACLE, "aws-asg", SICKBAY)]
    first, second = ([repr(run.score).split(", cpu=")[0] for run in play_all(plays, 1)] for _ in range(2))

    assert first == second
