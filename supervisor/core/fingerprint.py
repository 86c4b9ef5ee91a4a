"""What kind of trouble an incident is, so that others of its kind are found: how its checks fail, what ran, what it said last.

Pure: the same facts make the same fingerprint. What differs from case to case (times, addresses, ids, numbers) is left
out of it; two that differ in anything else are two kinds.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from supervisor.core.signature import Pattern, Symptom

FORMAT = "1"
"""Rises when the same facts make another fingerprint: old kinds and new ones are then told apart."""
LENGTH = 12
SHAPE_LIMIT = 160


class Failing(NamedTuple):
    """One check that fails, with its last answer."""

    name: str
    text: str
    silent: bool


_DAY = (
    r"\d{4}-\d\d-\d\d|\d{4}/\d\d/\d\d|\d\d/[A-Z][a-z]{2}/\d{4}|(?:[A-Z][a-z]{2},? +)?[A-Z][a-z]{2} +\d{1,2}(?= +\d\d:)"
)
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?[AP]M\b)?(?: ?[+-]\d\d:?\d\d\b|Z\b)?"
_VARIES = re.compile(
    rf"(?P<time>(?:{_DAY})(?:[T: ]{{1,2}}{_CLOCK})?|(?<!\d){_CLOCK})"
    r"|(?P<id>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b[a-z]{1,6}-(?=[0-9a-f]*\d)[0-9a-f]{8,17}\b"
    r"|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b)"
    r"|(?P<address>\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?"
    r"|\[?(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])\]?(?::\d{1,5}\b)?"
    r"|\bip-\d{1,3}(?:-\d{1,3}){3}\b)"
    r"|(?P<n>\d+(?:[.,]\d+)*)"
)
_HAS_DIGIT = re.compile(r"\d")


def shape(text: str) -> str:
    """Return the text with what varies named instead of told: `<time>`, `<address>`, `<id>`, `<n>`. Twice changes nothing."""
    flat = " ".join(text.split())
    while True:  # each round takes digits away and adds none: it ends
        named = _VARIES.sub(_named, flat)
        if named == flat:
            return flat
        flat = named


def _named(found: re.Match[str]) -> str:
    whole = found[0]
    return f"<{found.lastgroup}>" if _HAS_DIGIT.search(whole) else whole


_WEIGHTS = (
    (re.compile(r"panic|segfault|segmentation fault|out of memory|oom-kill|core dumped|stack overflow|assert\w* fail", re.IGNORECASE), 4),
    (re.compile(r"\b(?:fatal|critical|crit|emerg|alert|abort(?:ed|ing)?|unhandled|uncaught|corrupt\w*)\b", re.IGNORECASE), 3),
    (re.compile(r"^\s*(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Failure|Interrupt)\b|\bCaused by: "), 3),
    (re.compile(r"\b(?:error|err|severe|exception|fail(?:ed|ure|s)?|cannot|can't|unable|denied|refused|killed)\b", re.IGNORECASE), 2),
    (re.compile(r"\b(?:warn(?:ing)?|timed? ?out|timeout|traceback|exit(?:ed|ing)?|terminat\w+|restart\w*)\b", re.IGNORECASE), 1),
)  # fmt: skip


def telling(lines: Sequence[str]) -> str:
    """Return the line of a log that says most of what went wrong; '' when none says anything of the kind.

    The gravest words count; among equals, what is said most often, and of that the last.
    """
    best, counted = 0, list[str]()
    for line in lines:
        weight = _weight(line)
        if weight > best:
            best, counted = weight, []
        if weight and weight == best:
            counted.append(line)
    if not counted:
        return ""
    shapes = [shape(line) for line in counted]
    often = Counter(shapes)
    most = max(often.values())
    return next(line for line, shaped in zip(reversed(counted), reversed(shapes), strict=True) if often[shaped] == most)


def _weight(line: str) -> int:
    return max((weight for words, weight in _WEIGHTS if words.search(line)), default=0)


_HTTP = re.compile(r"\bHTTP (\d)\d\d\b")
_REFUSED = re.compile(r"\bconnection refused\b|\brefused\b", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"\breset\b|\bbroken? off\b|\bbroken pipe\b", re.IGNORECASE)


def manner(text: str, *, silent: bool) -> str:
    """Return how a check fails: silent, refused, broken off, the class of its HTTP status, or its answer's shape."""
    if silent:
        return "silent"
    status = _HTTP.search(text)
    if status is not None:
        return f"HTTP {status[1]}xx"
    if _REFUSED.search(text):
        return "refused"
    if _BROKEN_OFF.search(text):
        return "broken off"
    return shape(text)[:SHAPE_LIMIT] or "failed"


def signature(symptom: Symptom, failing: Iterable[Failing], cloud: str = "") -> str:
    """Return in words how a machine fails. `cloud` is what the cloud says is wrong with it.

    Where nothing answers, which check was asked first is chance: they are not named.
    """
    manners = {one.name: manner(one.text, silent=one.silent) for one in failing}
    match symptom.pattern:
        case Pattern.UNREACHABLE:
            return "unreachable, refused" if symptom.refuses else "unreachable, silent"
        case Pattern.IMPAIRED:
            return f"the cloud says: {shape(cloud)[:SHAPE_LIMIT]}"
        case Pattern.ONE_DEPENDENCY:
            return f"dependency {symptom.dependency} fails"
        case Pattern.SLOW:
            return "slow"
        case _:
            return "; ".join(f"{name}: {how}" for name, how in sorted(manners.items())) or str(symptom.pattern)


def fingerprint(*parts: str) -> str:
    """Return the short name of a kind of trouble: of fleet, image version, signature, and the shape of its telling line."""
    text = "\x1f".join([FORMAT, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
