"""Makes many small named tuples at once, from their columns: a virtual day has ten million of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any, TypeVar, cast

R = TypeVar("R", bound=tuple[Any, ...])


def rows(kind: type[R], *columns: Iterable[object]) -> list[R]:
    """Return one of a kind for each row of the columns: all of its fields, in their order. The shortest column ends it.

    A named tuple's own constructor is a Python function; this goes around it, and thrice as fast.
    """
    made: Any = tuple.__new__
    return cast("list[R]", list(map(made, repeat(kind), zip(*columns, strict=False))))
