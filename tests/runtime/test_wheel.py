"""The timer wheel: nothing is lost, nothing is early, nothing is later than the first turn after its time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.runtime.wheel import Timed, Wheel, phase

SLOTS = 1024  # a turn of 5 s, so that the longest delay goes round it twice and more
LONGEST = 15.0
DELAYS = st.lists(st.floats(0, LONGEST), min_size=1, max_size=50)


@given(DELAYS, st.floats(0, 1e6), st.floats(0.001, 60))
def test_every_item_comes_once_and_in_time(delays: list[float], start: float, step: float) -> None:
    """Whatever the stride with which time goes on."""
    wheel: Wheel[Timed] = Wheel(start, slots=SLOTS)
    items = [Timed() for _ in delays]
    for item, delay in zip(items, delays, strict=True):
        wheel.add(item, start + delay)
    found: set[Timed] = set()
    now = start
    while now <= start + LONGEST + 1 + step:
        for item in wheel.advance(now):
            assert item not in found
            assert item.due <= now
            assert now - item.due <= step + 1e-9 * now
            assert not item.waits
            found.add(item)
        now += step

    assert set(items) == found


def test_an_item_that_is_moved_or_removed_comes_at_its_new_time_or_never() -> None:
    """The last word counts."""
    wheel: Wheel[Timed] = Wheel(100.0)
    moved, removed = Timed(), Timed()
    wheel.add(moved, 101.0)
    wheel.add(moved, 105.0)
    wheel.add(removed, 101.0)
    wheel.remove(removed)

    assert [] == wheel.advance(104.9)
    assert [moved] == wheel.advance(105.01)
    assert 105.0 == moved.due


def test_phases_are_spread_evenly_and_stay_the_same() -> None:
    """A thousand instances: each tenth of the interval gets about a tenth of them, at every start."""
    phases = [phase(f"i-{n}/alive", 10.0) for n in range(1000)]

    assert phases == [phase(f"i-{n}/alive", 10.0) for n in range(1000)]
    assert all(60 <= sum(1 for p in phases if int(p) == tenth) <= 140 for tenth in range(10))
