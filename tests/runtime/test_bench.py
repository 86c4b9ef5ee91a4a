"""A kind that stops the plugin host sits on the bench: 5 minutes, then longer, and never for good."""

from __future__ import annotations

import pytest

from supervisor.runtime.bench import Bench

MINUTE = 60.0

STORIES = {
    "the first time": ([0], 0, 5),
    "again, soon after": ([0, 6], 6, 10),
    "and again": ([0, 6, 20], 20, 20),
    "an hour is the most": ([0, 6, 20, 45, 90, 155], 155, 60),
    "after an hour of peace it starts afresh": ([0, 66], 66, 5),
    "a little less than an hour is no peace": ([0, 64], 64, 10),
}


@pytest.mark.parametrize("name", STORIES)
def test_each_offence_costs_more_than_the_last(name: str) -> None:
    """Times in minutes: the offences, the last one, and how long it sits from then on."""
    offences, last, length = STORIES[name]
    bench = Bench()
    for at in offences:
        bench.send("bad", "blocked the plugin host", at * MINUTE)

    assert ["bad"] == list(bench.sitting((last + length) * MINUTE - 0.1))
    assert {} == bench.sitting((last + length) * MINUTE)


def test_one_sentence_names_the_culprit_the_place_and_the_remedy() -> None:
    """It can be read aloud."""
    bench = Bench()

    assert (
        "the check kind 'bad' blocked the plugin host for 5s at /p/mine.py:7; it is not run for 5m, "
        "the other plugin checks go on; mend it and reload the daemon, or take it out"
    ) == bench.send("bad", "blocked the plugin host for 5s at /p/mine.py:7", 0.0)
    assert {"bad": "not run, for 5m: the kind 'bad' blocked the plugin host for 5s at /p/mine.py:7"} == bench.sitting(
        1.0
    )


def test_a_reload_lets_everybody_play() -> None:
    """Whoever mends a plugin need not wait."""
    bench = Bench()
    bench.send("bad", "blocked", 0.0)
    bench.clear()

    assert {} == bench.sitting(1.0)
