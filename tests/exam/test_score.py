"""What a run is worth: the same for the same seed, and nothing wicked goes unseen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from supervisor.core.requests import Deregister, Launch, Register
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.cloud import SiteCloud
from supervisor.sim.exam.player import Run, play
from supervisor.sim.exam.scenario import Scenario
from supervisor.sim.exam.score import Score
from supervisor.sim.exam.sickbay import Sickbay
from supervisor.sim.exam.site import Dice, Site
from tests.exam.healers import Idle, Murderer


def scenario(*faults: dict[str, Any], **given: Any) -> Scenario:
    """Return a short scenario of six machines."""
    told = {"number": 1, "title": "t", "about": "t", "sizes": [6, 30], "lasts": "30m", "noise": False, **given}
    return Scenario.model_validate({**told, "fault": faults})


ONE_DIES = {"kind": "stop_process", "at": "5m", "who": {"count": 1}}
ZONE_LOST = {"kind": "cut_zone", "at": "5m", "zone": "a"}


def test_the_same_seed_is_the_same_score_to_the_last_digit_and_another_seed_is_not_the_same_run() -> None:
    """One stream of chance for each concern, no wall clock, no hash."""
    told = scenario(ONE_DIES, noise=True)
    first, second = play(told, 30, 3, Sickbay()), play(told, 30, 3, Sickbay())
    assert repr(first) == repr(second)
    struck = {tuple(sorted(_played(told, seed).site.victims)) for seed in range(6)}
    assert len(struck) > 1


def _played(told: Scenario, seed: int) -> Run:
    run = Run(told, 30, seed, Idle())
    run.play()
    return run


@pytest.mark.parametrize(
    ("faults", "given", "expected"),
    [
        pytest.param((ZONE_LOST,), {"truth": {"shared": True}}, "not at fault", id="a zone's machines killed"),
        pytest.param(
            ({"kind": "bad_check", "at": "5m", "check": "tcp"},), {}, "the floor is", id="serving machines ended"
        ),
        pytest.param(
            ({"kind": "pause", "at": "1m", "lasts": "20m"}, ONE_DIES), {}, "while paused", id="acts while paused"
        ),
        pytest.param(
            ({"kind": "lose_sight", "at": "4m", "share": 0.5},), {}, "while blind", id="acts while half blind"
        ),
        pytest.param(
            (
                {"kind": "hold", "at": "1m", "lasts": "20m", "who": {"count": 1}},
                {**ONE_DIES, "who": {"count": 1, "victims": True}},
            ),
            {},
            "while held",
            id="ends a machine that is held",
        ),
    ],
)
def test_a_veto_is_found_when_a_healer_earns_it(faults: tuple[dict[str, Any], ...], given: Any, expected: str) -> None:
    """A healer that kills whoever fails once earns every one of them."""
    score = play(scenario(*faults, **given), 30, 0, Murderer())
    assert any(expected in veto for veto in score.vetoes), score.vetoes
    assert not score.right
    assert score.why == score.vetoes[0]


def test_more_than_three_launches_in_vain_for_one_trouble_are_a_veto() -> None:
    """A lineage that does not end."""
    score = play(scenario(ONE_DIES), 30, 0, Murderer(launches=4))
    assert any("at most 3 may in a day" in veto for veto in score.vetoes)
    assert score.launches == 4
    assert score.needless_launches == 3
    assert score.orphans == 0  # those not yet forgotten for long


def test_what_was_launched_and_forgotten_is_an_orphan() -> None:
    """A machine that runs, serves nobody, and is not set aside."""
    assert play(scenario(ONE_DIES, lasts="60m"), 30, 0, Murderer(launches=2)).orphans == 2


def test_killing_the_guilty_is_no_over_kill() -> None:
    """Who is at fault itself may go."""
    score = play(scenario(ONE_DIES), 30, 0, Murderer())
    assert (score.over_kill, score.false_quarantines, score.vetoes) == (0, 0, ())


def test_letting_go_what_was_added_is_tidying_up_when_all_is_well_and_over_kill_before() -> None:
    """A machine too many may go when as many serve as are wanted; one of those that were there, or in trouble, may not."""
    site = Site(Clockwork(), Dice("a test"), 6, noise=False, demand=0.7)
    cloud = SiteCloud(site, site.clock)
    added = [f"added-{number}" for number in range(3)]
    for token in added:
        cloud.perform(Launch("web", "img", "1.0.0", "b", token, ()), lambda _: None)
    site.clock.run(900.0)
    extra = [box.id for box in site.boxes.values() if box.launched >= 0]
    for name in extra:
        cloud.perform(Register("web", name, name), lambda _: None)
    site.clock.run(960.0)
    for moment, name in ((1000.0, extra[0]), (1010.0, "i-00000"), (1100.0, extra[1])):
        site.clock.at(moment, partial(cloud.perform, Deregister("web", name, f"{name} goes"), lambda _: None))
    site.clock.at(1050.0, lambda: site.strike(site.boxes["i-00001"], own=True))
    site.clock.run(1200.0)
    assert [(extra[0], True), ("i-00000", False), (extra[1], False)] == [
        (act.instance, act.guilty) for act in site.ledger.acts
    ]


def test_doing_nothing_about_a_dead_machine_is_not_right() -> None:
    """Idleness is only right where nothing is to be done."""
    told = scenario(ONE_DIES, truth={"cause": "instance"}, expect={"replaced": True})
    score = play(told, 30, 0, Idle())
    assert not score.right
    assert "still serve" in score.why
    assert score.held_needlessly == 1
    assert play(scenario(), 30, 0, Idle()).right


SCORE = Score("s", 30, 0, "h", 10.0, 20.0, 30.0, 0, 0, 5.0, 1, 0, 1, True, 0, 0.0, 0, (), True, "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, 3.0, id="what the oracle lost too is free"),
        pytest.param({"over_kill": 2}, 23.0, id="ten for each over-kill"),
        pytest.param({"false_quarantines": 2}, 9.0, id="three for each false quarantine"),
        pytest.param({"needless_launches": 4}, 5.0, id="half for each needless launch"),
        pytest.param({"named": 301.0}, 23.0, id="twenty for a cause that is named too late"),
        pytest.param({"cause_right": False}, 23.0, id="twenty for the wrong cause"),
        pytest.param({"pages": 4}, 6.0, id="one for each page beyond the first"),
        pytest.param({"lost": 1.0}, 0.0, id="better than the oracle is no credit"),
    ],
)
def test_the_cost_is_what_the_design_says(change: dict[str, Any], expected: float) -> None:
    """Each part of the formula."""
    assert replace(SCORE, **change).cost(2.0) == pytest.approx(expected)
