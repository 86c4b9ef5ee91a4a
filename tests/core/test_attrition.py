"""Losses of a week by what machines share: when they stand out, and when they do not."""

from __future__ import annotations

from random import Random

import pytest

from supervisor.core.attrition import CHANCE, worst
from supervisor.core.population import Label

X, Y = Label("type", "x"), Label("type", "y")
HOSTS = [Label("host", f"h{number}") for number in range(30)]

TABLE: dict[str, tuple[int, int, int, str]] = {
    # of type x lost, of type y lost, type x of the 300 there are -> who is named
    "nothing was lost": (0, 0, 100, ""),
    "three of x, and x is a tenth: too few to tell": (3, 0, 30, ""),
    "six of x, none of y, x is a tenth": (6, 0, 30, "x"),
    "six of x, none of y, x is a third": (6, 0, 100, ""),
    "twelve of x, one of y, x is a third": (12, 1, 100, "x"),
    "as many as its share": (10, 20, 100, ""),
    "twice its share, over thirty losses": (20, 10, 100, ""),
    "twice its share, over ninety losses": (60, 30, 100, "x"),
    "everybody is of type x": (40, 0, 300, ""),
}


@pytest.mark.parametrize(("of_x", "of_y", "there", "named"), TABLE.values(), ids=TABLE)
def test_who_is_named(of_x: int, of_y: int, there: int, named: str) -> None:
    """The share counts, and how many losses there are to judge by."""
    lot = worst([(X,)] * of_x + [(Y,)] * of_y, {X: there, Y: 300 - there}, 300)
    assert named == (lot.label.value if lot is not None else "")


def test_what_is_said() -> None:
    """Label, losses, share and chance, and what follows."""
    lot = worst([(X,)] * 9 + [(Y,)] * 2, {X: 30, Y: 270}, 300)
    assert lot is not None
    assert (
        "type x: 9 of the 11 machines that were replaced within 7 days, though 13% of the fleet (by chance 1 in 10^6); "
        "new ones go elsewhere where that is possible"
    ) == lot.words


def test_losses_by_chance_name_nobody() -> None:
    """A thousand weeks in which thirty of three hundred are lost, whoever it hits: nobody in 32 groups is named."""
    dice = Random(7)
    fleet = [(X if number % 3 else Y, HOSTS[number % 30]) for number in range(300)]
    members = {label: sum(label in labels for labels in fleet) for label in (X, Y, *HOSTS)}
    named = sum(worst(dice.sample(fleet, 30), members, 300) is not None for _ in range(1000))
    assert named <= 1000 * CHANCE * 10
