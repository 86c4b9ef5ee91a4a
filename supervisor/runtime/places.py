"""One question of a coroutine, put to the places that a host stands for until one of them answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from supervisor.runtime.faults import OURS, meaning
from supervisor.runtime.lean.names import Place, place_of, places_of

T = TypeVar("T")


async def ask_in_turn(host: str, ask: Callable[[Place], Awaitable[T]]) -> T:
    """Return the first answer; what `ask` raises but `OSError` ends it.

    Raises `PermissionError` for an address that no machine has, `Refusal` or `NoAnswer` when the last place fails, and
    `OSError` for our own faults.
    """
    place = place_of(host)
    *others, last = [place] if place is not None else await places_of(host)
    for other in others:
        try:
            return await ask(other)
        except OSError as error:
            if error.errno in OURS:
                raise
    try:
        return await ask(last)
    except OSError as error:
        raise meaning(error) from None
