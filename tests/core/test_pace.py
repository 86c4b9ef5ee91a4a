"""Slow machines: who is, against whom, and when the comparison says nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from supervisor.core.pace import Pace, Slow
from supervisor.core.settings import Judgement
from supervisor.core.terms import Role

NUMBERS = Judgement()


@dataclass(frozen=True)
class Row:
    """Seconds that one machine takes at each comparison, and its peers; and whether it is found slow at the end."""

    own: list[float]
    slow: bool
    peers: int = 9
    theirs: float = 0.05
    later: float = 0.05  # the peers', from the second half on
    spread: float = 0.0


ROWS = {
    "five times as slow for five minutes": Row([0.25] * 32, slow=True),
    "for four minutes": Row([0.25] * 25, slow=False),
    "nine times in ten": Row(([0.25] * 9 + [0.05]) * 4, slow=True),
    "every second time": Row([0.25, 0.05] * 20, slow=False),
    "well again for two minutes": Row([0.25] * 40 + [0.05] * 12, slow=False),
    "not twice as slow": Row([0.095] * 40, slow=False),
    "slow among peers that differ widely": Row([0.25] * 40, slow=False, spread=0.9),
    "five peers are enough": Row([0.25] * 32, slow=True, peers=5),
    "four are not": Row([0.25] * 32, slow=False, peers=4),
    "when everybody is slower, nobody is slow": Row([0.5] * 60, slow=False, later=0.2),
    "below ten milliseconds nobody is slow": Row([0.009] * 40, slow=False, theirs=0.001, later=0.001),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_machine_is_slow_against_its_peers(name: str) -> None:
    """Compared every ten seconds, as the study of a fleet does."""
    row = ROWS[name]
    pace = Pace("alive", Role.LIVENESS)
    found: dict[str, Slow | None] = {}
    for tick, own in enumerate(row.own):
        now = tick * 10.0
        theirs = row.theirs if tick < len(row.own) / 2 else row.later
        others = [theirs * (1 + row.spread * (n / row.peers - 0.5) * 2) for n in range(row.peers)]
        pace.set_limit([*others, own], now)
        if own > pace.limit:
            pace.late.add("i-1")
        found |= dict(pace.compare(dict.fromkeys(pace.watched(), own), NUMBERS, now))

    slow = found.get("i-1")
    assert row.slow is (slow is not None), slow
    if slow is not None:
        assert "alive: 5 times as slow as its peers (250ms, median 50ms)" == slow.words


SAID = {
    "five times": (0.25, 0.05, "5 times as slow as its peers (250ms, median 50ms)"),
    "two and a half times": (0.5, 0.2, "2.5 times as slow as its peers (500ms, median 200ms)"),
    "no digits that nobody needs": (0.155, 0.00244, "64 times as slow as its peers (155ms, median 2.44ms)"),
    "seconds": (2.5, 0.0125, "200 times as slow as its peers (2.5s, median 12.5ms)"),
}


@pytest.mark.parametrize("name", SAID)
def test_how_slow_is_said_in_units_that_people_read(name: str) -> None:
    """Milliseconds below a second, and a factor without false digits."""
    latency, median, told = SAID[name]
    assert f"alive: {told}" == Slow("alive", Role.LIVENESS, 0.0, latency, median).words


def test_a_machine_that_gives_no_answer_is_not_compared() -> None:
    """Its trail stays as it was: silence is another matter."""
    pace = Pace("alive", Role.LIVENESS)
    for tick in range(32):
        pace.set_limit([0.05] * 9 + [0.25], tick * 10.0)
        pace.late.add("i-1")
        list(pace.compare(dict.fromkeys(pace.watched(), 0.25), NUMBERS, tick * 10.0))

    assert [] == list(pace.compare({"i-1": None}, NUMBERS, 400.0))
    assert {"i-1"} == pace.watched()


FEW: dict[str, tuple[list[float], list[float], bool]] = {
    "one of three is slow, and the fleet is not": ([0.25, 0.05, 0.05], [0.05] * 9, True),
    "the type is slow": ([0.25, 0.25, 0.25], [0.05] * 9, False),
    "two of a type tell nothing": ([0.25, 0.05], [0.05] * 9, False),
    "a fleet of few tells nothing": ([0.25, 0.05, 0.05], [0.05] * 2, False),
}


@pytest.mark.parametrize("name", FEW)
def test_a_few_of_a_type_are_compared_with_the_whole_fleet(name: str) -> None:
    """By the slower of both medians: a type may well be slower than others."""
    own, others, slow = FEW[name]
    pace = Pace("alive", Role.LIVENESS)
    pace.set_limit(own, 0.0, [*own, *others])

    assert slow is (own[0] > pace.limit)


PEERS: dict[str, tuple[list[float], bool]] = {
    "peers that hop between two and seven milliseconds": ([0.002, 0.007] * 20, True),
    "peers that were busy for a moment": ([0.05] * 20 + [0.2] * 4 + [0.05] * 16, True),
    "peers that were busy while they started": ([0.2] * 3 + [0.05] * 57, True),
    "peers that became as slow": ([0.05] * 35 + [0.2] * 10, False),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_moved_median_excuses_only_while_it_lasts(name: str) -> None:
    """Some milliseconds more are no move, a moment proves nothing, and what was before the beginning is forgotten."""
    theirs, slow = PEERS[name]
    pace = Pace("alive", Role.LIVENESS)
    found: dict[str, Slow | None] = {}
    for tick, other in enumerate(theirs):
        pace.set_limit([other] * 9 + [0.5], tick * 10.0)
        if pace.limit < 0.5:
            pace.late.add("i-1")
        found |= dict(pace.compare(dict.fromkeys(pace.watched(), 0.5), NUMBERS, tick * 10.0))

    assert slow is (found.get("i-1") is not None)
