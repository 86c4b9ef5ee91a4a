"""Every checker once in each round, one after the other, in turning order; what each cost, and what arrived."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.prober import meter
from bench.prober.checker import Checker, Offer, Unusable, Work
from bench.prober.target import PATH, PORT, TLS_PORT, Target

BEGINS_WITHIN = 30.0  # seconds, until it has asked as much as in a second of its pace
SETTLING = 1.0  # seconds after that, until it is measured
ENDS_WITHIN = 5.0  # seconds
MOST = {Work.TLS: 250.0}
"""Checks a second, at which two cores are enough for the target and any checker."""
KEEPING_UP = 0.6
"""The share of what was offered; who asks in bursts has a burst more or less in a few seconds."""
WAITING = 'read -r go; exec "$@" </dev/null'  # nothing of it runs before it is accounted for


@dataclass(frozen=True, slots=True)
class Figure:
    """What one checker cost in one round. Rates are checks a second, costs are CPU microseconds for each check."""

    round: int
    work: Work
    name: str
    offered: float
    achieved: float
    """By the target's count."""
    total: float
    user: float
    fresh: float
    """New connections for each check, by the target's count."""
    errors: int | None
    """Checks that failed by the checker's own word, since it was started; None when it can't be asked."""

    @property
    def kept_up(self) -> bool:
        """Whether it did about what it was offered. If not, its figure is one of failing, not of checking."""
        return self.achieved >= KEEPING_UP * self.offered


def address(number: int) -> str:
    """Return an address of 127/8, another for each number below 14 million."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


@dataclass(frozen=True, slots=True)
class Bench:
    """The target, and how much is asked of it."""

    target: Target
    targets: int
    seconds: float
    folder: Path
    tell: Callable[[str], None]
    account: Callable[[str], meter.Group] = meter.group

    def play(self, rounds: int, works: Sequence[Work], checkers: Sequence[Checker]) -> Iterator[Figure]:
        """Measure; who fails in a round is named, and has no figure of it."""
        for number in range(rounds):
            for work in works:
                turned = number % len(checkers)
                for checker in (*checkers[turned:], *checkers[:turned]):
                    if checker.missing(work):
                        continue
                    try:
                        yield from self._measure(number, work, checker)
                    except Unusable as error:
                        self.tell(f"round {number + 1}  {work:5}no figure of {checker.name}: {error}")

    def _measure(self, number: int, work: Work, checker: Checker) -> Iterator[Figure]:
        count = int(min(self.targets, checker.most, MOST.get(work, math.inf)))
        folder = self.folder / f"{number}-{work}-{type(checker).__name__.lower()}"
        folder.mkdir()
        port = TLS_PORT if work is Work.TLS else PORT
        offer = Offer(work, [address(n) for n in range(count)], port, PATH, folder)
        group = self.account(folder.name)
        try:
            idle = self.target.count()
            with _running(checker.command(offer), folder, group) as process:
                accounts = checker.accounts(process, group)
                driver = checker.beside(offer)
                with _running(driver, folder) if driver else nullcontext():
                    self._wait(process, idle.checks(work) + count, work, folder)
                    begun, before = time.monotonic(), self.target.count()
                    used = {name: account.read() for name, account in accounts.items()}
                    time.sleep(self.seconds)
                    spent = {name: account.read() - used[name] for name, account in accounts.items()}
                    arrived, took = self.target.count() - before, time.monotonic() - begun
                    errors = checker.errors(offer) if process.poll() is None else None
                if process.poll() is not None:
                    raise Unusable(_ended(process, folder))
        finally:
            group.close()
        shutil.rmtree(folder)
        checks = arrived.checks(work)
        if checks == 0:
            raise Unusable("it stopped asking")
        for name, cpu in spent.items():
            total, user = cpu.total / checks * 1e6, cpu.user / checks * 1e6
            fresh = arrived.checks(Work.TCP) / checks
            yield Figure(number, work, name, count, checks / took, total, user, fresh, errors)

    def _wait(self, process: subprocess.Popen[bytes], wanted: int, work: Work, folder: Path) -> None:
        until = time.monotonic() + BEGINS_WITHIN
        while (seen := self.target.count().checks(work)) < wanted:
            if process.poll() is not None:
                raise Unusable(_ended(process, folder))
            if time.monotonic() > until:
                raise Unusable(f"{wanted - seen} checks of its first second did not arrive within {BEGINS_WITHIN:.0f}s")
            time.sleep(0.1)
        time.sleep(SETTLING)


@contextmanager
def _running(
    command: Sequence[str], folder: Path, group: meter.Group | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, in an account if one is given; end it, and whoever it started."""
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            ["sh", "-c", WAITING, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    assert process.stdin is not None  # noqa: S101  # for the types: it was asked for
    try:
        if group is not None:
            group.join(process.pid)
        process.stdin.write(b"\n")
        process.stdin.close()
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_WITHIN)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ended(process: subprocess.Popen[bytes], folder: Path) -> str:
    said = (folder / "output").read_text(errors="replace").strip().splitlines()
    return f"it ended with {process.returncode}: {said[-1] if said else 'without a word'}"
