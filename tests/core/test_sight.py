"""The rate of results: a schedule that is kept is never blindness, and one that is not kept is seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.settings import Guards
from supervisor.core.sight import Sight
from supervisor.core.terms import Now

TIMEOUT = 3.0
INTERVALS = st.sampled_from([5.0, 10.0, 30.0, 60.0, 300.0])
PHASES = st.lists(st.floats(0, 0.999), min_size=1, max_size=40)


def blind_at(interval: float, results: Iterable[float], expected: int, until: float) -> list[float]:
    """Let results come at these times, with a look each second; return when it was blind."""
    sight = Sight(Now(0.0, datetime(2026, 1, 1, tzinfo=UTC)))
    sight.schedule(interval + TIMEOUT)
    found = []
    looks = [(float(second), 0) for second in range(int(until))]
    for now, count in sorted([*looks, *((at, 1) for at in results if at < until)]):
        sight.count(count)
        sight.expect(expected / interval, now, Guards())
        if sight.blind:
            found.append(now)
    return found


@given(INTERVALS, PHASES, st.lists(st.sampled_from([0.0, TIMEOUT]), min_size=8, max_size=8))
def test_a_schedule_that_is_kept_is_not_blindness(interval: float, phases: list[float], late: list[float]) -> None:
    """However the phases bunch, and however many rounds run into their timeout."""
    results = [(number + phase) * interval + late[number] for number in range(8) for phase in phases]

    assert [] == blind_at(interval, results, len(phases), 8 * interval)


@given(INTERVALS, st.lists(st.floats(0, 0.999), min_size=5, max_size=40))
def test_results_that_stay_away_are_blindness_within_two_windows(interval: float, phases: list[float]) -> None:
    """A check host that says nothing any more is not a fleet that is well."""
    results = [(number + phase) * interval for number in range(4) for phase in phases]
    window = max(10.0, 2 * (interval + TIMEOUT))
    blind = blind_at(interval, results, len(phases), 5 * interval + 2 * window + 2)

    assert blind
    assert blind[-1] > 5 * interval + 2 * window
