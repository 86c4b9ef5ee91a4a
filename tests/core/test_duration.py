"""Durations are written by people, and shown to them: what goes out comes in again, to the microsecond."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.duration import exact, parse, words

READ = {
    "milliseconds": ("500ms", 0.5),
    "a fraction": ("1.5s", 1.5),
    "parts": ("1h30m", 5400.0),
    "spaces between the parts": (" 1h 30m ", 5400.0),
    "days": ("14d", 14 * 86400.0),
}


@pytest.mark.parametrize("row", READ)
def test_people_write_durations_in_several_ways(row: str) -> None:
    """Each is the number of seconds that a person would say."""
    text, seconds = READ[row]

    assert seconds == parse(text).total_seconds()


REFUSED = {
    "no unit": "30",
    "a unit that is none": "30 sec",
    "a space within a number": "3 0s",
    "a sign": "-5s",
    "nothing": "",
    "digits of another script": "٣s",
    "more than a clock can hold": "9999999999999999d",
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_duration_is_refused_with_an_example(row: str) -> None:
    """The sentence says what was expected."""
    with pytest.raises(ValueError, match="^expected (a duration such as|at most ten years)"):
        parse(REFUSED[row])


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3649)))
def test_exact_comes_back_as_it_was(duration: timedelta) -> None:
    """A check host is told of a check's options as text: nothing may be lost on the way."""
    assert abs(parse(exact(duration)) - duration) <= timedelta(microseconds=1)


def test_exact_keeps_what_words_rounds() -> None:
    """`words` is for sentences, `exact` for values."""
    assert ("2s", "1s500ms") == (words(1.5), exact(timedelta(seconds=1.5)))
    assert ("1h1m", "1h1m1s") == (words(3661), exact(timedelta(seconds=3661)))
    assert "0s" == exact(timedelta(0))
