"""The kill harness: SIGKILL at any mutating call, before, after or long before its effect; then a new life, and the verdict.

    python -m tests.ec2.kills [--jobs N]    every call, every moment, with the world changed meanwhile, and double kills

The tale is always the same: a first boot, then one machine falls sick and is healed. A clean run lists its calls.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path

from tests.ec2.invariants import Violation
from tests.ec2.rig import Rig, rig
from tests.standins.aws import MOMENTS, Moment, template_data

DESIRED = 2
LIMIT = 75.0


def _one_more_is_wanted(there: Rig) -> None:
    there.desired += 1
    there.write()


def _a_machine_dies(there: Rig) -> None:
    alive = [name for name in there.serving() if name not in there.ill]
    if alive:
        there.die(alive[-1])


def _somebody_launches_a_machine(there: Rig) -> None:
    there.world.launch()


def _the_template_moves(there: Rig) -> None:
    world, ec2 = there.world, partial(there.aws.do, "ec2")
    image = ec2("RegisterImage", Name="web-2.0.0", RootDeviceName="/dev/sda1")["ImageId"]
    ec2("CreateTags", Resources=[image], Tags=[{"Key": "sickbay:golden", "Value": "web"}])
    data = template_data(image, world.serving)
    made = ec2("CreateLaunchTemplateVersion", LaunchTemplateId=world.template, LaunchTemplateData=data)
    number = str(made["LaunchTemplateVersion"]["VersionNumber"])
    ec2("ModifyLaunchTemplate", LaunchTemplateId=world.template, DefaultVersion=number)


CHANGES: dict[str, Callable[[Rig], None]] = {
    "nothing": lambda _: None,
    "one more is wanted": _one_more_is_wanted,
    "a machine dies": _a_machine_dies,
    "somebody launches a machine": _somebody_launches_a_machine,
    "the template moves": _the_template_moves,
}
"""What may happen between the kill and the next life."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to kill in one tale, and what happens while the daemon is dead for the first time."""

    points: tuple[tuple[int, Moment], ...]
    change: str = "nothing"

    def __str__(self) -> str:
        """Return it as a test's name."""
        return ", ".join(f"{moment} call {number}" for number, moment in self.points) + f"; {self.change}"


@dataclass(slots=True)
class Told:
    """How a tale ended."""

    plan: Plan
    actions: list[str] = field(default_factory=list)
    """Every mutating call of every life."""
    killed_at: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    trouble: str = ""
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Nothing was broken, and it came to its end."""
        return not self.trouble and not self.violations

    def __str__(self) -> str:
        """Return it in a few lines."""
        killed = ", ".join(self.killed_at) or "nowhere"
        lines = [f"{'well' if self.is_well else 'BAD '} {self.seconds:5.1f}s  {self.plan}; killed at {killed}"]
        lines += [f"       {v.invariant}: {v.sentence}" for v in self.violations]
        return "\n".join([*lines, *self.trouble.splitlines()[-12:]])


def tell(plan: Plan, folder: Path) -> Told:
    """Tell the tale with these kills, and judge it."""
    told = Told(plan)
    began = time.monotonic()
    with rig(folder, DESIRED) as there:
        try:
            _tell(plan, there, told)
        except AssertionError as error:
            told.trouble = str(error) or "an assertion failed"
            told.violations += there.check(ended=False)
    told.actions = [call.action for call in there.seen]
    told.seconds = time.monotonic() - began
    return told


def _tell(plan: Plan, there: Rig, told: Told) -> None:
    changes = [CHANGES[plan.change]]

    def shoot(number: int) -> None:
        told.killed_at.append(there.aws.log.daemons[number].action)
        there.shoot()

    def live(done: Callable[[], object]) -> None:
        """Live, and live again, until it is done."""
        deadline = time.monotonic() + LIMIT
        while not done():
            if there.is_dead:
                assert there.process is None or there.process.returncode == -9, f"it ended by itself\n{there.story()}"
                if changes and there.process is not None:
                    changes.pop()(there)
                there.start()
            assert time.monotonic() < deadline, f"not well after {LIMIT:.0f}s\n{there.story()}"
            time.sleep(0.05)

    for number, moment in plan.points:
        there.aws.log.stop(number, moment, partial(shoot, number))
    live(there.is_calm)
    victim = there.serving()[0]
    there.sicken(victim, "errors")
    live(lambda: there.is_healed(victim) and there.is_calm())
    told.violations += there.rest()
    told.violations += there.check()


def tell_aside(plan: Plan) -> Told:
    """Tell a tale in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="sickbay-kill-") as folder:
        return tell(plan, Path(folder))


def tell_all(plans: Sequence[Plan], jobs: int, heard: Callable[[Told], object] = lambda _: None) -> list[Told]:
    """Tell many tales, so many at a time; each is `heard` when it has ended."""
    made: list[Told] = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for told in pool.map(tell_aside, plans):
            heard(told)
            made.append(told)
    return made


def sample(calls: int, runs: int) -> list[Plan]:
    """Return plans in which each call is the place of a kill once: the moments and the changes rotate."""
    changes = cycle(CHANGES)
    plans = []
    for first in range(runs):
        points = tuple((n, MOMENTS[(n + first) % len(MOMENTS)]) for n in range(first, calls, runs))
        plans.append(Plan(points, next(changes)))
    return plans


def everything(calls: int) -> list[Plan]:
    """Return plans for each call and moment, the changes rotating; and a second kill right after each one."""
    changes = cycle(CHANGES)
    single = [Plan(((n, moment),), next(changes)) for n in range(calls) for moment in MOMENTS]
    double = [Plan(((n, MOMENTS[n % 3]), (n + 1, MOMENTS[(n + 1) % 3])), next(changes)) for n in range(calls - 1)]
    return single + double


def main() -> int:
    """Run everything; the exit code says whether all was well."""
    reading = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reading.add_argument("--jobs", type=int, default=5)
    reading.add_argument("--runs", type=int, default=0, help="only a sample, of so many runs")
    reading.add_argument("--only", default="", help="only plans whose text has this in it")
    chosen = reading.parse_args()
    began = time.monotonic()
    clean = tell_aside(Plan(()))
    print(clean)
    calls = len(clean.actions)
    print(f"{calls} calls: {', '.join(clean.actions)}")
    plans = sample(calls, chosen.runs) if chosen.runs else everything(calls)
    told = tell_all([p for p in plans if chosen.only in str(p)], chosen.jobs, lambda t: print(t, flush=True))
    bad = [t for t in (clean, *told) if not t.is_well]
    missed = sum(1 for t in told if len(t.killed_at) < len(t.plan.points))
    print(f"{len(told)} tales in {time.monotonic() - began:.0f}s: {len(bad)} bad, {missed} whose kill never came")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
