"""How a finding is said to people: short, with its numbers. Values in, words out; '' where there is nothing to say.

Called by `health` and by nobody else, so that what is judged and how it reads are apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from supervisor.core.evidence import Evidence
from supervisor.core.flapping import Flapping
from supervisor.core.machine import Machine, MachineState
from supervisor.core.pace import Slow
from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Role, Seconds, Status


def slow(found: Slow | None, now: BootTime) -> str:
    """Say how slow a machine is, and for how long."""
    return "" if found is None else f"{found.words} for {now - found.since:.0f}s"


def too_long_slow(found: Slow | None, judgement: Judgement, now: BootTime) -> str:
    """Say that it has been slow for so long that it is sick; only a liveness check may find that."""
    if found is None or found.role is not Role.LIVENESS:
        return ""
    return slow(found, now) if now - found.since >= judgement.slow_after + judgement.slow_sick_after else ""


def mute(since: BootTime | None, judgement: Judgement, now: BootTime) -> str:
    """Say that a machine's own signs of life have stayed away for too long."""
    lasts: Seconds = 0.0 if since is None else now - since
    if not judgement.mute_after or lasts < judgement.mute_after:
        return ""
    return f"its own signs of life have stayed away for {lasts:.0f}s while its peers' come, though its checks pass"


def gray(e: Evidence) -> str:
    """Say that a check fails too often."""
    last = next((text for _, status, text in reversed(e.recent) if status is Status.CRITICAL), "a failure")
    return f"{e.check.name}: fails too often, last: {last} (score {e.gray:.1f} of {e.weights.gray_condemns_at:g})"


def grayest(asked: list[Evidence], now: BootTime) -> str:
    """Say it of the check that fails most."""
    found = [e for e in asked if e.is_gray and not e.is_stale(now)]
    return gray(max(found, key=lambda e: e.gray)) if found else ""


def flapping(found: Flapping | None, judgement: Judgement) -> str:
    """Say that a machine flaps, and when it may come back."""
    if found is None or found.since is None:
        return ""
    why = f" ({found.because})" if found.because else ""
    return f"flapping{why}, back once it has passed for {found.stable_for(judgement):.0f}s"


def nth(found: Flapping | None) -> str:
    """Say which spell of flapping it is."""
    spells = found.spells if found is not None else 0
    return {1: "first", 2: "second", 3: "third"}.get(spells, f"{spells}th")


def no_parole(told: str, returns: int) -> str:
    """Say why a machine that passes again stays out, after what was told of it."""
    said = f"; it passes again, but has recovered {returns} times within a day already"
    return told if told.endswith(said) else told + said


def condemned(e: Evidence, machine: Machine | None, now: BootTime) -> str:
    """Say how often a check has failed in a row."""
    since = 0.0 if e.failing_since is None else now - e.failing_since
    return f"{e.check.name}: {e.text} — {e.fails} failures in a row in {since:.0f}s{impaired(machine)}"


def impaired(machine: Machine | None) -> str:
    """Say what the cloud finds besides."""
    found = machine.impaired if machine is not None else ""
    return f", and the cloud's status check fails: {found}" if found else ""


def stopped(machine: Machine | None) -> str:
    """Say in which state the cloud shows a machine that has ended."""
    state = machine.state if machine is not None else MachineState.STOPPED
    reason = f" ({machine.reason})" if machine is not None and machine.reason else ""
    return f"the cloud says {state}{reason}"


def silenced(checks: Iterable[Evidence], asked: Collection[Evidence]) -> str:
    """Say that none of the checks that could speak may: they were found wrong, or are watched; '' while one may."""
    names = sorted(e.check.name for e in checks if e.check.role is not Role.ADVISORY)
    return "" if asked or not names else f"no check has a vote now ({', '.join(names)})"
