"""Runs one check once: the time limit, and what each way of failing means. The same code for child and command line."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from supervisor.api import Check, CheckResult, Instance, NoAnswer, Probe, Refusal
from supervisor.core.duration import words
from supervisor.core.model import Status
from supervisor.core.text import clean


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its result, and when it was sent and done, on CLOCK_BOOTTIME in seconds."""

    result: CheckResult
    sent: float
    done: float


def boottime() -> float:
    """Return the seconds on CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def run_check(check: Check, instance: Instance, probe: Probe, timeout: float) -> Ran:
    """Run a check once. Never raises: a failure of the check itself is UNKNOWN."""
    sent = boottime()
    try:
        async with asyncio.timeout(timeout):
            result: object = await check.run(instance, probe)
    except TimeoutError:
        result = CheckResult.no_answer(f"no answer within {words(timeout)}")
    except NoAnswer as error:
        result = CheckResult.no_answer(f"no answer: {error}")
    except Refusal as error:
        result = CheckResult.critical(str(error))
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        result = CheckResult.unknown(f"the check itself failed: {type(error).__name__}: {error}")
    if not isinstance(result, CheckResult):
        result = CheckResult.unknown(f"the check returned {type(result).__name__}, expected a CheckResult")
    if result.status is not Status.CRITICAL and result.silent:
        result = CheckResult.unknown("the check called an answer silent")
    tidy = CheckResult(result.status, clean(result.text), result.seconds, result.silent, result.metrics)
    return Ran(tidy, sent, boottime())
