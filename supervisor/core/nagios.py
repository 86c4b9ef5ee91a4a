"""Reads what a Nagios plugin prints: a line for people, and numbers. Pure, and never raises, whatever it is given.

The format is that of the Nagios Plugin Development Guidelines: the first line is `TEXT | PERFDATA`, more text may
follow, and after the next `|` everything is perfdata again. Perfdata is `'label'=value[unit];warn;crit;min;max`, with
spaces between; the label needs its quotes only when it has a space, and a quote within is doubled. What is no perfdata
is skipped; thresholds and bounds are not kept, since judging is not their business here. The exit code is the status.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from supervisor.core.terms import Status

# Seconds, bytes and ratios, as in CheckResult.metrics: a plot should not have to know who measured. Plugins count bytes
# in steps of 1024, whatever they call them. `c` is a running count; a unit that is not listed stays as it is.
_BASE = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "%": 1e-2,
    "B": 1.0,
    **{unit: 1024.0**power for power, pair in enumerate(("KB KiB", "MB MiB", "GB GiB", "TB TiB"), 1) for unit in pair.split()},
}  # fmt: skip
_LABELLED = re.compile(r"(?:'((?:[^']|'')*+)'|([^\s'=]+))=(\S*)")  # possessive: a missing quote costs one pass, not n²
_SKIPPED = re.compile(r"\S*\s*")
_NUMBER = re.compile(r"([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)([^\d\s;.,+-]*)(?:;|$)")
_STATUS = {0: Status.OK, 1: Status.WARNING, 2: Status.CRITICAL, 3: Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class NagiosOutput:
    """`text` is the first line before the `|`. `metrics` are by label: seconds, bytes, ratios (15 % is 0.15), counts."""

    text: str
    metrics: dict[str, float]


def read_nagios(printed: str) -> NagiosOutput:
    """Read the whole standard output of a plugin. A label that comes twice keeps its last value."""
    first, _, rest = printed.partition("\n")
    text, _, perfdata = first.partition("|")
    more = rest.partition("|")[2]
    return NagiosOutput(text.strip(), dict(_metrics(f"{perfdata}\n{more}")))


@dataclass(frozen=True, slots=True)
class NagiosEnd:
    """What the end of a plugin means: a line for people, and numbers as in `NagiosOutput`."""

    status: Status
    text: str
    metrics: dict[str, float]


def read_end(name: str, code: int, stdout: bytes, stderr: bytes) -> NagiosEnd:
    """Judge the end of a plugin called `name`: its exit code, negative for the signal that killed it, and its output.

    What is outside the conventions is UNKNOWN: it says nothing about the instance.
    """
    output = read_nagios(stdout.decode(errors="replace"))
    text = output.text or first_line(stderr)
    if code not in _STATUS:
        text = f"{name} {ending(code, 'expected 0 to 3')}{text and ': '}{text}"
    return NagiosEnd(_STATUS.get(code, Status.UNKNOWN), text or f"{name} said nothing", output.metrics)


def ending(code: int, expected: str) -> str:
    """Say how a program ended: by a signal, or with another exit code than the one expected."""
    return f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}, {expected}"


def first_line(printed: bytes) -> str:
    """Return the first line of what was printed."""
    return printed.decode(errors="replace").strip().partition("\n")[0]


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _metrics(perfdata: str) -> Iterator[tuple[str, float]]:
    at = 0
    while at < len(perfdata):
        found = _LABELLED.match(perfdata, at)
        if found is None:
            at = _end(_SKIPPED, perfdata, at)
            continue
        at = _end(_SKIPPED, perfdata, found.end())
        label = (found[1] or "").replace("''", "'") or found[2] or ""
        value = _value(found[3])
        if label.strip() and value is not None:
            yield label.strip(), value


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return max(found.end() if found else at, at + 1)


def _value(text: str) -> float | None:
    """Return a value in base units; None for `U`, which says that there is none, and for what is no number."""
    found = _NUMBER.match(text)
    if found is None:
        return None
    value = float(found[1].replace(",", ".")) * _BASE.get(found[2], 1.0)  # some locales write 0,012
    return value if isfinite(value) else None
