"""Runs of the exam in a file, a line of JSON each: what takes hours can be stopped, and goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supervisor.errors import SickbayError
from supervisor.sim.exam.runs import Play, Played, Truth
from supervisor.sim.exam.score import Score

Key = tuple[str, int, int, str, str, bool]


class Kept:
    """The runs of one file. They are those of the build that played them: take a new file for another one."""

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises `SickbayError` for a line that is no run; a last line that was cut is dropped."""
        self._path = path
        self._runs: dict[Key, Played] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                path.write_text("".join(lines[: number - 1]), encoding="utf-8")
                break
            try:
                played = _read(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise SickbayError(f"{path}, line {number}: expected a run of the exam, found {line[:40]!r}") from error
            self._runs[_key(played.play)] = played

    def add(self, runs: Iterable[Played]) -> None:
        """Write runs down."""
        with self._path.open("a", encoding="utf-8") as file:
            for played in runs:
                self._runs[_key(played.play)] = played
                file.write(json.dumps({**asdict(played), "trace": None}) + "\n")

    def missing(self, plays: Iterable[Play]) -> list[Play]:
        """Return those that were not played yet."""
        return [play for play in plays if _key(play) not in self._runs]

    def of(self, plays: Iterable[Play]) -> list[Played]:
        """Return the runs of these plays, as far as they are there."""
        return [self._runs[key] for play in plays if (key := _key(play)) in self._runs]


def _key(play: Play) -> Key:
    """Return what makes two plays the same, wherever the scenarios lie."""
    return Path(play.path).name, play.size, play.seed, play.policy, play.without, play.quick


def _read(found: dict[str, Any]) -> Played:  # Any: JSON
    score = found["score"]
    return Played(Play(**found["play"]), Truth(**found["truth"]), Score(**{**score, "vetoes": tuple(score["vetoes"])}))
