"""The exam itself, as far as CI has time for it: each scenario at its quick size, one seed, decided rightly by Sickbay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.sim.exam import catalogue
from supervisor.sim.exam.player import play
from supervisor.sim.exam.scenario import Scenario
from supervisor.sim.exam.sickbay import Sickbay

LONG = frozenset({28, 30, 43})
"""Half a minute and more of computing each; `make bench-judgement` plays them."""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


def rows() -> Iterator[Any]:
    """Return each scenario with its quick sizes; those without one are played by `make bench-judgement` only."""
    for scenario in catalogue.load(catalogue.shipped()):
        if scenario.number not in LONG:
            for size in scenario.quick:
                yield pytest.param(scenario.quickened(), size, id=f"{scenario.name}, {size} machines")


@pytest.mark.parametrize(("scenario", "size"), list(rows()))
def test_the_decision_is_right(scenario: Scenario, size: int) -> None:
    """Every expectation of the scenario is met, and nothing is done that may never be done."""
    score = play(scenario, size, 0, Sickbay())

    assert () == score.vetoes
    assert "" == score.why
    assert score.right
