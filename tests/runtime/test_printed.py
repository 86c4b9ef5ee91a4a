"""What plugins print reaches the log in small doses, and memory not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.runtime.printed import CHUNK, LINES, Sampler

ROWS = {
    "a line": ([b"hello\n"], ["hello"], 0),
    "a line in two pieces": ([b"hel", b"lo\n"], ["hello"], 0),
    "empty lines are not worth telling": ([b"\n\na\n"], ["a"], 2),
    "colours and bad UTF-8": ([b"\x1b[31mred\x1b[0m \xff\x00\n"], ["red �"], 0),
    "more lines than will be told": ([b"x\n" * (LINES + 3)], ["x"] * LINES, 6),
    "and after those nothing is even read": ([b"x\n" * LINES, b"y" * 1000], ["x"] * LINES, 1000),
    "a line without an end": ([b"x" * CHUNK, b"x" * CHUNK], ["x" * 299 + "…"], 0),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_few_lines_are_told_and_the_rest_is_counted(name: str) -> None:
    """The pieces as they are read, what is told, and the bytes that are not."""
    pieces, told, dropped = ROWS[name]
    sampler = Sampler()

    assert told == [line for piece in pieces for line in sampler.take(piece, 0.0)]
    assert dropped == sampler.dropped


def test_the_next_minute_tells_again() -> None:
    """So a plugin that prints for ever is heard now and then."""
    sampler = Sampler()
    for second in range(180):
        sampler.take(b"noise\n" * 100, float(second))
    assert [] == sampler.take(b"noise\n", 179.5)

    assert ["noise"] == sampler.take(b"noise\n", 180.0)


@given(st.lists(st.binary(max_size=300)))
def test_any_bytes_are_taken(pieces: list[bytes]) -> None:
    """Nothing raises, and no line has a control character."""
    sampler = Sampler()
    told = [line for piece in pieces for line in sampler.take(piece, 0.0)]

    assert all(line.isprintable() or " " in line for line in told)
    assert len(told) <= LINES
