"""How many serve, in words."""

from __future__ import annotations

import pytest

from supervisor.core.capacity import words

ROWS = {
    "some are missing": (5, 6, 0, "5 of 6 serve"),
    "everybody serves": (6, 6, 0, "6 of 6 serve"),
    "the rescue machines serve as well": (14, 12, 0, "all 12 serve, 2 more than wanted"),
    "the last ones of a fleet that nobody wants any more": (2, 0, 0, "2 of 0 serve"),
    "a zone may be out": (8, 12, 4, "8 of 12 serve for certain, 4 may"),
}


@pytest.mark.parametrize("name", ROWS)
def test_who_serves_is_told_against_who_is_wanted(name: str) -> None:
    """Never more of fewer."""
    serving, desired, doubtful, told = ROWS[name]
    assert told == words(serving, desired, doubtful)
