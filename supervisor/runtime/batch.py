"""Batches of results: how a check host writes them, and how its parent reads what it is sent.

A row is [instance, check, sent, took, status, silent, text, metrics], times in whole microseconds on CLOCK_BOOTTIME. What
a pass with nothing new to say would repeat is left away: [instance, check, sent, took]. Nearly all rows are such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any, TypeAlias

from supervisor.api import CheckResult
from supervisor.core.signals import NO_METRICS, Observe, Result
from supervisor.core.terms import Status
from supervisor.runtime.schedule import Pair
from supervisor.runtime.wire import Message

Row: TypeAlias = list[Any]  # Any: JSON

MICRO = 1e6
SHORT, LONG = 4, 7
STATUS = {str(status): status for status in Status}


class Batch:
    """Results that wait to be sent."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows: list[Row] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._rows)

    def add(self, pair: Pair, result: CheckResult, sent: float, done: float) -> None:
        """Add a result, sent and done on CLOCK_BOOTTIME. A pass is told in words once, when it is new."""
        status, text, metrics = result.status, result.text, result.metrics
        row: Row = [pair.watched.instance.id, pair.spec.name, int(sent * MICRO), int((done - sent) * MICRO)]
        if status is Status.OK and text == pair.told:
            text = ""
            if not metrics:
                self._rows.append(row)
                return
        else:
            pair.told = intern(text) if status is Status.OK else None
        row += [str(status), int(result.silent), text]
        if metrics:
            row.append(dict(metrics))
        self._rows.append(row)

    def take(self) -> Message:
        """Return what waits as one message; it waits no more."""
        rows, self._rows = self._rows, []
        return {"type": "results", "results": rows}


def read(rows: Iterable[Row], instances: Mapping[str, Observe], checks: Mapping[str, str]) -> list[Result]:
    """Return the results about whom we watch, of checks that we know; nothing else that a host says is taken.

    Raises `ValueError`, `LookupError` or `TypeError` for what no host sends.
    """
    found: list[Result] = []
    passed, plain = Status.OK, NO_METRICS
    for row in rows:
        name, check, sent, took = row[:SHORT]
        known, watched = checks.get(check), instances.get(name)
        if known is None or watched is None:
            continue
        name = watched.instance  # each name is kept once, however many results speak of it
        begun = sent / MICRO
        done = begun + took / MICRO
        if len(row) == SHORT:
            found.append(Result(name, known, passed, False, begun, done, "", plain))
        else:
            status, silent, text = STATUS[row[4]], bool(row[5]), row[6]
            metrics = row[7] if len(row) > LONG else plain
            if not isinstance(text, str) or not isinstance(metrics, Mapping):
                raise TypeError(f"a result with {type(text).__name__} and {type(metrics).__name__}")
            if status is passed:
                text = intern(text)  # the words of all who pass alike
            found.append(Result(name, known, status, silent, begun, done, text, metrics))
    return found
