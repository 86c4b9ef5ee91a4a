"""How many stumbles are too many for chance, and what a fleet learns of them."""

from __future__ import annotations

import pytest

from supervisor.core.burst import tail
from supervisor.core.stumbles import DAY, LEAST, MOST, PRIOR_DAYS, Stumbles, needed

WINDOW = 1800.0
ALARMS = 0.1


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.1, (2, 3, 3, 3, 4)),
        (1.0, (3, 4, 4, 5, 5)),
        (4.0, (5, 5, 6, 6, 7)),
        (12.0, (6, 7, 7, 8, 9)),
    ],
)
def test_the_number_needed_follows_from_the_fleet_and_from_its_rate(rate: float, expected: tuple[int, ...]) -> None:
    """For fleets of 10, 100, 1,000, 10,000 and 100,000, by stumbles of one machine in a day."""
    found = tuple(needed(n, rate * WINDOW / DAY, WINDOW, ALARMS) for n in (10, 100, 1_000, 10_000, 100_000))

    assert expected == found


def test_no_fleet_raises_more_false_alarms_than_it_may() -> None:
    """The number is the smallest that keeps the promise."""
    for machines in (3, 30, 300, 3000):
        expected = WINDOW / DAY
        count = needed(machines, expected, WINDOW, ALARMS)
        stumbles = machines * 30.0

        assert stumbles * tail(count - 1, expected) <= ALARMS < stumbles * tail(count - 2, expected)


@pytest.mark.parametrize(
    ("count", "expected", "probability"),
    [(0, 0.5, 1.0), (1, 0.5, 0.39346934), (2, 0.5, 0.09020401), (4, 1 / 48, 7.7195e-9), (3, 0.0, 0.0), (2, 50.0, 1.0)],
)
def test_chance_is_counted_precisely(count: int, expected: float, probability: float) -> None:
    """Where it is tiny as well, and where nothing is expected at all."""
    assert pytest.approx(probability, rel=1e-4) == tail(count, expected)


def quiet(fleet: Stumbles, days: float, *, machines: int = 100, frozen: bool = False, start: float = 0.0) -> float:
    """Let time go by; return when it has."""
    fleet.study(machines, start, frozen=frozen)
    for step in range(1, int(days * 24) + 1):
        fleet.study(machines, start + step * 3600.0, frozen=frozen)
    return start + int(days * 24) * 3600.0


def test_a_quiet_fleet_comes_to_expect_fewer() -> None:
    """Down to a floor; it begins with one a day. Of a day, a little has faded at its end."""
    fleet = Stumbles()
    assert 1.0 == fleet.rate
    quiet(fleet, 1)
    assert pytest.approx(PRIOR_DAYS / (100 + PRIOR_DAYS), rel=0.1) == fleet.rate
    quiet(fleet, 30, start=DAY)
    assert LEAST == fleet.rate


def test_a_restless_fleet_comes_to_expect_more_up_to_a_cap() -> None:
    """Each machine once in a window."""
    fleet = Stumbles()
    fleet.study(100, 0.0, frozen=False)
    for step in range(1, 100):
        for name in range(100):
            fleet.note(f"i-{name}", step * 1801.0, WINDOW)
        fleet.study(100, step * 1801.0 + 1.0, frozen=False)
    assert MOST == fleet.rate


def test_a_machine_that_flaps_does_not_make_it_usual() -> None:
    """Only its first stumble teaches, while the next one comes within the window."""
    fleet = Stumbles()
    fleet.study(100, 0.0, frozen=False)
    for step in range(1, 720):
        fleet.note("i-1", step * 120.0, WINDOW)
        fleet.study(100, step * 120.0, frozen=False)
    assert fleet.count < 1.01
    assert fleet.rate < 1.0


def test_what_comes_with_a_trouble_is_not_believed() -> None:
    """Neither what is counted while it lasts, nor what came in the last minute before it."""
    fleet = Stumbles()
    fleet.study(10, 0.0, frozen=False)
    fleet.note("i-1", 5.0, WINDOW)
    fleet.study(10, 10.0, frozen=False)
    fleet.note("i-2", 15.0, WINDOW)
    fleet.study(10, 20.0, frozen=True)
    quiet(fleet, 1, machines=10, start=30.0)
    assert 0.0 == fleet.count


def test_how_often_the_others_stumble_now_is_weighed() -> None:
    """In a storm of loss that nobody has named yet; its own stumbles do not excuse a machine."""
    fleet = Stumbles()
    usual = WINDOW / DAY
    for step in range(5):
        fleet.note("i-1", step * 100.0, WINDOW)
    assert pytest.approx(usual) == fleet.expected("i-1", 30, WINDOW)
    for name in range(2, 17):
        fleet.note(f"i-{name}", 500.0, WINDOW)
    assert fleet.expected("i-1", 30, WINDOW) > 0.4
    fleet.note("i-1", 500.0 + WINDOW + 1.0, WINDOW)
    assert pytest.approx(usual) == fleet.expected("i-1", 30, WINDOW)
