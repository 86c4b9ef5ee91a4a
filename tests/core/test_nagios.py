"""What Nagios plugins print is read as their guidelines say, and rubbish hurts nobody."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.nagios import read_nagios

ROWS: dict[str, tuple[str, str, dict[str, float]]] = {
    "text alone": ("PING OK\n", "PING OK", {}),
    "nothing at all": ("", "", {}),
    "perfdata alone": ("|a=1", "", {"a": 1.0}),
    "a plain number": ("OK | jobs=12", "OK", {"jobs": 12.0}),
    "thresholds and bounds are passed over": ("OK | load1=0.87;50.0;90.0;0; load5=0.74;;;0;8", "OK", {"load1": 0.87, "load5": 0.74}),
    "a range as a threshold": ("OK | t=5;@10:20;~:30", "OK", {"t": 5.0}),
    "seconds, milliseconds, microseconds": ("OK | a=2s b=30ms c=7us", "OK", {"a": 2.0, "b": 0.03, "c": 7e-06}),
    "percent becomes a ratio": ("OK | used=15%;80;90;0;100", "OK", {"used": 0.15}),
    "bytes count in steps of 1024": ("OK | a=1B b=1KB c=1MB d=1GB e=1TB f=1MiB", "OK", {"a": 1.0, "b": 2.0**10, "c": 2.0**20, "d": 2.0**30, "e": 2.0**40, "f": 2.0**20}),
    "a counter": ("OK | in=4711c", "OK", {"in": 4711.0}),
    "a unit that nobody knows stays": ("OK | fan=900rpm", "OK", {"fan": 900.0}),
    "an unknown value is left out": ("OK | a=U b=1", "OK", {"b": 1.0}),
    "a quoted label with a space": ("OK | 'free space'=1MB", "OK", {"free space": 2.0**20}),
    "a doubled quote is one": ("OK | 'it''s'=1 ''''=2", "OK", {"it's": 1.0, "'": 2.0}),
    "a path as a label": ("DISK OK | /=26712473600B;1;2;0;3", "DISK OK", {"/": 26712473600.0}),
    "a pipe in a later label": ("OK | a=1 'b|c'=2", "OK", {"a": 1.0, "b|c": 2.0}),
    "negative, signed, bare fractions, exponents": ("OK | a=-1 b=+2 c=.5 d=1e-3s e=3.", "OK", {"a": -1.0, "b": 2.0, "c": 0.5, "d": 0.001, "e": 3.0}),
    "a decimal comma of some locale": ("OK | time=0,012s;;;0,0", "OK", {"time": 0.012}),
    "long output, then more perfdata": ("OK | a=1\nline one\nline two | b=2\nc=3", "OK", {"a": 1.0, "b": 2.0, "c": 3.0}),
    "long output without perfdata": ("OK\nline = 1\nx=2", "OK", {}),
    "perfdata only after long output": ("OK\nmore | b=2", "OK", {"b": 2.0}),
    "Windows line ends": ("OK | a=1\r\nmore\r\n", "OK", {"a": 1.0}),
    "the same label twice": ("OK | a=1 a=2", "OK", {"a": 2.0}),
    "no number": ("OK | a=fast b= c=1.2.3 d=-- e=1", "OK", {"e": 1.0}),
    "no label": ("OK | =1 ''=2 ' '=3 e=1", "OK", {"e": 1.0}),
    "a quote that never ends": ("OK | 'a=1 b=2", "OK", {"b": 2.0}),
    "beyond any number": ("OK | a=1e999 b=1", "OK", {"b": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_the_output_is_read_as_the_guidelines_say(name: str) -> None:
    """Text, labels, and values in base units."""
    printed, text, metrics = ROWS[name]
    output = read_nagios(printed)

    assert text == output.text
    assert pytest.approx(metrics) == output.metrics


@given(st.text() | st.text("'=|;. \n10aU%-,e"))
def test_rubbish_is_read_without_a_sound(printed: str) -> None:
    """Whatever is printed, nothing is raised, and every number is one that can be plotted."""
    output = read_nagios(printed)

    assert "\n" not in output.text
    assert all(label.strip() and isfinite(value) for label, value in output.metrics.items())


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="=\n", exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        st.floats(-1e12, 1e12),
    )
)
def test_what_is_written_by_the_guidelines_is_read_back(metrics: dict[str, float]) -> None:
    """Any label survives its quotes."""
    expected = {label.strip(): value for label, value in metrics.items()}
    perfdata = " ".join("'{}'={!r};1;2".format(label.replace("'", "''"), value) for label, value in expected.items())

    assert expected == read_nagios(f"OK | {perfdata}").metrics
