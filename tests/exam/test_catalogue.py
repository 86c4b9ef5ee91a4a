"""The scenarios that are shipped, and what a scenario's file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import ConfigError
from supervisor.sim.exam.catalogue import load, shipped
from supervisor.sim.exam.player import play
from supervisor.sim.exam.scenario import read
from supervisor.sim.exam.sickbay import Sickbay

ALL = load(shipped())
LEFT_OUT = {12, 17, 27, 42, 46, 59, 61, 64, *range(33, 40), 54, 55}


def test_every_scenario_of_the_design_that_needs_no_rollout_and_no_lease_is_there() -> None:
    """Numbered as in the design."""
    assert set(range(1, 66)) - LEFT_OUT == {scenario.number for scenario in ALL}


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_a_scenario_says_what_happens_and_what_is_right(scenario: object) -> None:
    """A sentence for people, sizes, and something that is looked at."""
    found = next(one for one in ALL if one is scenario)
    assert found.about.endswith(".")
    assert found.sizes
    assert found.expect.model_fields_set


GOOD = """
number = 1
title = "t"
about = "t."
sizes = [6]
lasts = "10m"
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("nubmer = 1", "nubmer: Extra inputs are not permitted", id="a key that is misspelt"),
        pytest.param('[[fault]]\nkind = "fire"\nat = "1m"', "fault.0.kind: Input should be", id="an unknown fault"),
        pytest.param('[[fault]]\nkind = "cut_zone"\nat = "1m"', "cut_zone needs zone", id="what a fault needs"),
        pytest.param(
            '[[fault]]\nkind = "no_names"\nat = "1m"\nzone = "a"', "no_names does not take zone", id="what it ignores"
        ),
        pytest.param('[[fault]]\nkind = "no_names"\nat = "1h"', "begins at 3600s, after the end", id="too late"),
        pytest.param('[[fault]]\nkind = "no_names"\nat = "soon"', "expected a duration", id="a bad duration"),
        pytest.param("quick = [7]", "quick names sizes that are not in sizes", id="a quick size that is none"),
        pytest.param("= 3", "is no TOML", id="no TOML at all"),
    ],
)
def test_a_mistake_in_a_scenario_is_told_in_one_sentence_that_names_the_file(
    tmp_path: Path, text: str, expected: str
) -> None:
    """People write these by hand."""
    file = tmp_path / "01-mine.toml"
    file.write_text(GOOD + text + "\n")
    with pytest.raises(ConfigError) as caught:
        read(file)
    assert "01-mine.toml" in str(caught.value)
    assert expected in str(caught.value)


def test_two_scenarios_with_one_number_are_refused(tmp_path: Path) -> None:
    """Numbers are how people speak of them."""
    for name in ("01-a.toml", "01-b.toml"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(ConfigError, match="number 1 is taken by 01-a.toml"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="no scenario"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [3, 4, 5, 23, 63])
def test_sickbay_is_right_in_these_scenarios(number: int) -> None:
    """The smallest size of each, with the first seed."""
    scenario = next(one for one in ALL if one.number == number)
    score = play(scenario, scenario.sizes[0], 0, Sickbay())
    assert score.right, score.why
