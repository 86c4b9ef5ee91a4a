"""What a fleet teaches: its checks' blip rates, how long its machines boot and live, and how they beat."""

from __future__ import annotations

import pytest

from supervisor.core.blips import Blips
from supervisor.core.boots import Boots
from supervisor.core.evidence import weights
from supervisor.core.heartbeats import Heartbeat
from supervisor.core.lifespan import Lifespan
from supervisor.core.settings import CheckPolicy, Judgement
from supervisor.core.terms import Role, Status

NUMBERS = Judgement()
DAY = 86400


def learnt(fails: float, hours: float, *, frozen: bool = False, each: int = 60) -> float:
    """Let a hundred machines answer every ten seconds; return the rate that was learnt."""
    blips, tally = Blips(), dict.fromkeys(Status, 0)
    for second in range(0, int(hours * 3600), each):
        tally[Status.OK] += int(10 * each * (1 - fails))
        tally[Status.CRITICAL] += int(10 * each * fails)
        blips.study(tally, float(second), frozen=frozen)
    return blips.rate(NUMBERS.blip_rate)


RATES = {
    "nothing seen: the configured rate": (learnt(0.0, 0.0), 0.01),
    "a fleet that blips at half a percent": (learnt(0.005, 2), 0.005),
    "one that never blips has the least rate": (learnt(0.0, 6), 0.002),
    "one that fails a fifth has the most": (learnt(0.2, 6), 0.05),
    "frozen, nothing is learnt": (learnt(0.2, 6, frozen=True), 0.01),
}


@pytest.mark.parametrize("name", RATES)
def test_a_blip_rate_is_learnt(name: str) -> None:
    """Slowly, within limits, and from quiet times only."""
    found, expected = RATES[name]

    assert expected == pytest.approx(found, rel=0.05)


def test_the_failures_with_which_a_machine_turns_sick_are_no_blips() -> None:
    """They are taken back when the fleet turns out to be in trouble within a minute."""
    blips, tally = Blips(), dict.fromkeys(Status, 0)
    for second in range(0, 36_000, 10):
        tally[Status.OK] += 100
        blips.study(tally, float(second), frozen=False)
    before = blips.fails
    for second in range(36_000, 36_050, 10):
        tally[Status.CRITICAL] += 100
        blips.study(tally, float(second), frozen=False)
    blips.study(tally, 36_050.0, frozen=True)
    for second in range(36_060, 36_200, 10):
        blips.study(tally, float(second), frozen=False)

    assert blips.fails <= before


def test_a_noisier_check_needs_more_failures() -> None:
    """The table of the design: F for a hundred machines at 0.1, 1 and 5 percent."""
    check = CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0)
    found = [weights(check, 100, NUMBERS, rate) for rate in (0.001, 0.01, 0.05)]

    assert [3, 5, 7] == [int(-(-w.condemns_at // w.on_fail)) for w in found]


BOOTS = {
    "none known: the configured deadline": ([], 600.0),
    "nine are too few": ([90.0] * 9, 600.0),
    "ten decide: half as long again as the slowest": ([90.0] * 9 + [100.0], 150.0),
    "quick ones have two minutes all the same": ([5.0] * 10, 120.0),
    "slow ones half an hour at most": ([2000.0] * 10, 1800.0),
    "only the last fifty count": ([1000.0] * 10 + [100.0] * 50, 150.0),
}


@pytest.mark.parametrize("name", BOOTS)
def test_a_boot_deadline_is_learnt(name: str) -> None:
    """From the good boots of the fleet itself."""
    durations, deadline = BOOTS[name]

    assert deadline == Boots(durations).deadline(NUMBERS)


def test_a_fleet_has_a_failure_rate_of_its_own() -> None:
    """One and a half failures in an instance-year at first; then what was seen."""
    young, frail = Lifespan(), Lifespan()
    frail.failures = 50
    frail.serve(1000, 24 * 3600)

    assert pytest.approx(1.5) == young.rate * 365.25 * 24
    assert pytest.approx(52 / (11_688 + 24_000)) == frail.rate


def beating(every: float, count: int) -> Heartbeat:
    """Return a heartbeat that came so often, at a steady pace."""
    heart = Heartbeat()
    for number in range(count):
        heart.beat(number * every, NUMBERS)
    return heart


SILENCES = {
    "the next one is a little late": (10.0, 11.0, True),
    "a pause of thirty seconds surprises nobody": (10.0, 40.0, True),
    "forty-six seconds are more than chance": (10.0, 46.0, False),
    "a slow beat has more time": (60.0, 90.0, True),
}


@pytest.mark.parametrize("name", SILENCES)
def test_a_heartbeat_is_stale_when_the_silence_surprises(name: str) -> None:
    """φ of 8: once in a hundred million."""
    every, silence, fresh = SILENCES[name]
    heart = beating(every, 50)
    now = 49 * every + silence

    assert fresh is heart.is_fresh(now)
    assert fresh is (heart.phi(now) < NUMBERS.heartbeat_phi)


def test_a_heartbeat_that_wavers_has_more_time_and_an_old_one_says_nothing() -> None:
    """The machine's own deviation counts."""
    heart = Heartbeat()
    for number in range(100):
        heart.beat(number * 20.0 + (number % 2) * 8.0, NUMBERS)
    heart.beat(3.0, NUMBERS)

    assert 100 == heart.beats
    assert heart.is_fresh(heart.last + 80.0)
    assert not heart.is_fresh(heart.last + 120.0)


def test_beats_that_we_may_have_missed_are_excused() -> None:
    """After blindness or lost time, the wait begins afresh; it is no sign of life, though."""
    heart = beating(10.0, 20)
    assert heart.is_stale(1000.0)
    heart.excuse(1000.0, NUMBERS)

    assert [(False, False), (False, True)] == [(heart.is_fresh(now), heart.is_stale(now)) for now in (1030.0, 1060.0)]
    assert 190.0 == heart.last


def test_the_quickest_of_many_launched_together_are_no_measure_of_the_others() -> None:
    """What a newcomer is given was known when it began: those that overtook it say nothing about it."""
    boots = Boots()
    for _ in range(20):
        boots.note(60.0, now=1000.0)

    assert NUMBERS.boot_deadline == boots.deadline(NUMBERS, begun=900.0)
    assert NUMBERS.boot_least == boots.deadline(NUMBERS, begun=1001.0)
