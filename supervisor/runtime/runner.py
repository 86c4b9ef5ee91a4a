"""Runs one check once: the time limit, and what each way of failing means. The same code for child and command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from supervisor.api import (
    AskingCheck,
    Check,
    CheckResult,
    Instance,
    NoAnswer,
    PassiveCheck,
    Probe,
    Refusal,
    Report,
    Unrunnable,
)
from supervisor.core.duration import words
from supervisor.core.terms import Status
from supervisor.core.text import LIMIT, clean
from supervisor.runtime.asking import Outcome, TimedOut
from supervisor.runtime.lean.names import refuse_forbidden
from supervisor.runtime.program import time_limit

SHORT = 128
"""Characters up to which a text is likely to come again: it is cleaned once, and kept once."""
MOST_METRICS = 64
LONGEST_LABEL = 128


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its result, and when it was sent and done, on CLOCK_BOOTTIME in seconds; `error` is what ended it, if any."""

    result: CheckResult
    sent: float
    done: float
    error: BaseException | None = None


_clean_short = lru_cache(1024)(clean)


def boottime() -> float:
    """Return the seconds on CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run_check(check: Check, instance: Instance, probe: Probe, timeout: float) -> Ran:
    """Run a check once. Never raises, but for its own cancellation: a failure of the check itself is UNKNOWN."""
    sent = boottime()
    failed: BaseException | None = None
    try:
        result = _tidy(await _answer(check, instance, probe, timeout))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        failed, result = error, _broken(error)
    except BaseException as error:  # noqa: BLE001  # a plugin may raise anything, SystemExit included
        failed, result = error, _failed(error, timeout, check)
    return Ran(result, sent, boottime(), failed)


class Judge:
    """Says what came of a check's question, as `run_check` would. The same answer as the last means the same again."""

    __slots__ = ("_answer", "_check", "_result")

    def __init__(self, check: AskingCheck) -> None:
        """Judge for a check."""
        self._check = check
        self._answer: Outcome | None = None
        self._result = CheckResult.unknown("")

    def judge(self, outcome: Outcome, timeout: float) -> CheckResult:
        """Return it; the time limit is only told of. Never raises."""
        if outcome is self._answer:
            return self._result
        if isinstance(outcome, Exception):
            return _failed(outcome, timeout, self._check)
        try:
            self._result = _tidy(self._check.judge(outcome))
        except BaseException as error:  # noqa: BLE001  # as above
            return _broken(error)
        self._answer = outcome
        return self._result


def judged_passively(check: PassiveCheck, instance: Instance, report: Report) -> CheckResult:
    """Return what a report means. Never raises."""
    try:
        return _tidy(check.judge(instance, report))
    except Exception as error:  # noqa: BLE001  # whatever it is, it says nothing about the instance
        return _broken(error)


async def _answer(check: Check, instance: Instance, probe: Probe, timeout: float) -> object:
    refuse_forbidden(instance.address)
    time_limit.set(timeout)
    async with asyncio.timeout(timeout):
        return await check.run(instance, probe)


def _failed(error: BaseException, timeout: float, check: Check) -> CheckResult:
    """Return what it means that a run ended with an exception; even its text may fail."""
    try:
        found = _tidy(_meaning(error, timeout))
        # Whoever is asked about the instance is not the instance: its trouble says nothing of that.
        return CheckResult.unknown(found.text) if check.elsewhere else found
    except BaseException as worse:  # noqa: BLE001  # a plugin's __str__ may raise anything
        return _broken(worse)


def _meaning(error: BaseException, timeout: float) -> CheckResult:
    match error:
        case TimeoutError() | TimedOut():
            return CheckResult.no_answer(f"no answer within {words(timeout)}")
        case NoAnswer():
            return CheckResult.no_answer(f"no answer: {error}")
        case Refusal():
            return CheckResult.critical(str(error))
        case Unrunnable():
            return CheckResult.unknown(str(error))
        case _:
            return _broken(error)


def _broken(error: BaseException) -> CheckResult:
    """Return that the check itself is at fault."""
    if isinstance(error, asyncio.CancelledError):
        return CheckResult.unknown("the check itself failed: it cancelled itself")
    return CheckResult.unknown(clean(f"the check itself failed: {type(error).__name__}: {_said(error)}"))


def _tidy(result: object) -> CheckResult:
    """Return what a check returned, made harmless: types, lengths and numbers may be anything."""
    if not isinstance(result, CheckResult):
        return CheckResult.unknown(f"the check returned {type(result).__name__}, expected a CheckResult")
    status: object = result.status
    text: object = result.text
    if not isinstance(status, Status) or not isinstance(text, str):
        return CheckResult.unknown("the check returned a result whose status or text is of the wrong type")
    if status is not Status.CRITICAL and result.silent:
        return CheckResult.unknown("the check called an answer silent")
    text = _clean_short(text) if len(text) <= SHORT else clean(text)
    return CheckResult(status, text, _number(result.seconds), bool(result.silent), _metrics(result.metrics))


def _metrics(metrics: object) -> dict[str, float]:
    kept: dict[str, float] = {}
    for label, value in metrics.items() if isinstance(metrics, Mapping) else ():
        number = _number(value)
        if isinstance(label, str) and number is not None:
            kept[clean(label, LONGEST_LABEL)] = number
        if len(kept) == MOST_METRICS:
            break
    return kept


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _said(error: BaseException) -> str:
    """Return an exception's text; even that may fail, or be of any length."""
    try:
        return clean(str(error), LIMIT // 2)
    except Exception as worse:  # noqa: BLE001  # a plugin's __str__ may raise anything
        return f"(its text can't be had: {type(worse).__name__})"
