"""Durations as people write them: "500ms", "30s", "5m", "1h30m", "14d"."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

MOST = timedelta(days=3650)
"""Dates far beyond it can't be counted with."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
PATTERN = r"^ *(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d) *)+$"
"""What `parse` accepts, for a JSON Schema; spaces may stand between the parts."""
_WHOLE = re.compile(PATTERN)


def parse(text: str) -> timedelta:
    """Return the duration. Raises `ValueError` with what was expected."""
    if not _WHOLE.fullmatch(text):
        raise ValueError('expected a duration such as "500ms", "30s", "5m", "1h30m" or "14d"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not seconds <= MOST.total_seconds():
        raise ValueError("expected at most ten years (3650d)")
    return timedelta(seconds=seconds)


def words(seconds: float) -> str:
    """Write a duration the way people do, rounded: "90s" as "1m30s"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    parts: list[str] = []
    left = round(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def exact(duration: timedelta) -> str:
    """Write a duration that is not negative so that `parse` returns the very same one, to the microsecond."""
    parts: list[str] = []
    left = duration
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, timedelta(seconds=size))
        if count:
            parts.append(f"{count}{unit}")
    if left:
        parts.append(f"{left / timedelta(milliseconds=1):.3f}".rstrip("0").rstrip(".") + "ms")
    return "".join(parts) or "0s"


def _validate(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    raise ValueError('expected a duration with its unit, in quotes, such as "30s" or "5m"')


Duration = Annotated[
    timedelta,
    BeforeValidator(_validate, json_schema_input_type=Annotated[str, Field(pattern=PATTERN)]),
    PlainSerializer(exact, return_type=str),
]
"""A duration in config.toml: text with a unit, never a bare number."""
