"""The rate of results: a schedule that is kept is never blindness, and one that is not kept is seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.settings import Guards
from supervisor.core.sight import Sight
from supervisor.core.signals import SelfReported, Sense, SentinelReported
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


CLEAN = SelfReported(lag=0.01, start_delay=0.1)
LAGS = SelfReported(lag=0.4, start_delay=0.1)
LATE = SelfReported(lag=0.4, start_delay=0.8)
LOST = SelfReported(lag=0.4, start_delay=0.8, names_resolve=False)
BROKEN = "3 of 4 checks fail themselves"

SCORES = {
    "all is well": ([CLEAN] * 3, "", 0, False),
    "one trouble adds one": ([LAGS], "", 1, False),
    "two ticks of one trouble": ([LAGS, LAGS], "", 2, False),
    "two troubles at once, twice": ([LATE, LATE], "", 4, True),
    "names that don't resolve make three": ([LOST], "", 3, True),
    "most checks break themselves": ([CLEAN] * 3, BROKEN, 3, True),
    "a clean tick takes one away": ([LOST, CLEAN], "", 2, False),
    "eight is the most": ([LOST] * 9, "", 8, True),
    "and it takes six clean ticks to see again": ([LOST] * 9 + [CLEAN] * 6, "", 2, False),
}


def scored(reports: list[SelfReported], broken: str) -> Sight:
    """Let so many ticks pass, each with a report."""
    sight = Sight(Now(0.0, datetime(2026, 1, 1, tzinfo=UTC)))
    for number, report in enumerate(reports):
        sight.feel(report)
        sight.tick(5.0 * (number + 1), broken)
    return sight


@pytest.mark.parametrize("name", SCORES)
def test_the_supervisor_scores_itself(name: str) -> None:
    """From three on it does nothing, and says why."""
    reports, broken, score, blind = SCORES[name]
    sight = scored(reports, broken)

    assert (score, blind) == (sight.score, bool(sight.blind))


def test_a_slow_supervisor_says_what_is_slow() -> None:
    """With the score, and what it comes of."""
    words = scored([LOST], "").blind

    assert (
        "the supervisor itself is slow: score 3 of 8 "
        "(its loops lag by 0.4s, checks start 80% of their interval late, names don't resolve)"
    ) == words


def sentinel(name: str, *, ok: bool, sense: Sense = Sense.SIGHT) -> SentinelReported:
    """Return what one says."""
    return SentinelReported(name, ok, "no answer", sense, name)


SENTINELS = {
    "one of sight fails: blind": ([sentinel("prober", ok=False)], True),
    "one of a zone fails: the zone's own matter": (
        [sentinel("a", ok=False, sense=Sense.ZONE), sentinel("b", ok=True, sense=Sense.ZONE)],
        False,
    ),
    "those of all zones fail: blind": (
        [sentinel("a", ok=False, sense=Sense.ZONE), sentinel("b", ok=False, sense=Sense.ZONE)],
        True,
    ),
    "the only zone's fails: that proves nothing": ([sentinel("a", ok=False, sense=Sense.ZONE)], False),
    "those of dependencies fail: not our eyes": (
        [sentinel("db", ok=False, sense=Sense.DEPENDENCY), sentinel("dns", ok=False, sense=Sense.DEPENDENCY)],
        False,
    ),
}


@pytest.mark.parametrize("name", SENTINELS)
def test_a_sentinel_blinds_by_what_it_stands_for(name: str) -> None:
    """What fails for others stays readable."""
    signals, blind = SENTINELS[name]
    sight = Sight(Now(0.0, datetime(2026, 1, 1, tzinfo=UTC)))
    for signal in signals:
        sight.hear(signal)
    for tick in range(1, 9):
        sight.tick(5.0 * tick, "")

    assert blind is bool(sight.blind)
    assert (2 if blind else 0) == sight.score  # it returns with its sentinels
    for sense in Sense:
        assert {s.of for s in signals if s.sense is sense and not s.ok} == set(sight.failing(sense))


def watched(lost: Iterable[float], until: float) -> list[float]:
    """Let the prober be lost in these seconds; return when sight was lost and when it was believed again, in turn."""
    sight = Sight(Now(0.0, datetime(2026, 1, 1, tzinfo=UTC)))
    moments, found, blind = set(lost), list[float](), False
    for second in range(int(until)):
        now = float(second)
        sight.hear(sentinel("prober", ok=now not in moments))
        sight.watch(now, Guards(sight_quiet=60.0))
        if bool(sight.blind) is not blind:
            blind = not blind
            found.append(now)
    return found


FLICKERS: dict[str, tuple[list[float], list[float]]] = {
    "a minute must be clear": ([10, 11], [10, 71]),
    "what is lost again within it was never back": ([10, 40, 90], [10, 150]),
    "what flickers must stay clear for twice as long": ([10, 100], [10, 70, 100, 220]),
    "and then four times": ([10, 100, 300], [10, 70, 100, 220, 300, 540]),
    "but no longer": ([10, 100, 300, 600], [10, 70, 100, 220, 300, 540, 600, 840]),
    "what is lost half an hour later is another trouble": ([10, 1900], [10, 70, 1900, 1960]),
}


@pytest.mark.parametrize("name", FLICKERS)
def test_sight_is_believed_again_when_it_has_been_clear_for_a_while(name: str) -> None:
    """One trouble, told once: not each time that the eyes open for a moment."""
    lost, expected = FLICKERS[name]

    assert expected == watched(lost, 2000.0)
