"""The exam's hours can be interrupted: runs are kept in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.kept import Kept
from supervisor.errors import SickbayError
from supervisor.sim.exam import catalogue
from supervisor.sim.exam.runner import play_one
from supervisor.sim.exam.runs import Play

CRASH = Play(str(next(catalogue.shipped().glob("02-*.toml"))), 6, 1, "naive")
OTHER = Play(CRASH.path, 6, 2, "naive")


def test_a_run_that_is_kept_is_not_played_again(tmp_path: Path) -> None:
    """It comes back as it was, and what is missing is told, wherever the scenarios lie now."""
    played = play_one(CRASH)
    Kept(tmp_path / "runs").add([played])
    again = Kept(tmp_path / "runs")
    assert [played] == again.of([CRASH, OTHER])
    assert [OTHER] == again.missing([CRASH, OTHER])
    assert [] == again.missing([Play(f"/elsewhere/{Path(CRASH.path).name}", 6, 1, "naive")])


def test_a_line_that_was_cut_is_played_again(tmp_path: Path) -> None:
    """Whoever stopped it in the middle of a line loses that run and no other."""
    file = tmp_path / "runs"
    Kept(file).add([play_one(CRASH)])
    whole = file.read_text()
    file.write_text(whole + whole[:50])
    assert [OTHER] == Kept(file).missing([CRASH, OTHER])
    assert whole == file.read_text()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """And is left as it is."""
    (tmp_path / "notes").write_text("milk\nbread\n")
    with pytest.raises(SickbayError, match="line 1: expected a run of the exam, found 'milk"):
        Kept(tmp_path / "notes")
    assert "milk\nbread\n" == (tmp_path / "notes").read_text()
