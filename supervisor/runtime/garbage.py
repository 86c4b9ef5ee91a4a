"""Keeps the garbage collector's pauses short, however large the fleet.

A full collection walks everything that lives, a second of it at a hundred thousand machines; and while a fleet fills, there
is one after the other. What one has just walked at length is no garbage, and lives about as long as we do: it is
not walked again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

LONG = 0.03
"""Seconds of a full collection after which what it found is left alone."""


class _Watch:
    """Times each collection."""

    def __init__(self) -> None:
        """Wait for the first."""
        self._begun = 0.0

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        """Take the collector's word that it begins or has ended."""
        if phase == "start":
            self._begun = time.monotonic()
        elif info["generation"] == 2 and time.monotonic() - self._begun > LONG:
            gc.freeze()


def keep_short() -> None:
    """Leave alone what lives now, and whatever a long collection finds alive from now on."""
    gc.collect()
    gc.freeze()
    if not any(isinstance(callback, _Watch) for callback in gc.callbacks):
        gc.callbacks.append(_Watch())
