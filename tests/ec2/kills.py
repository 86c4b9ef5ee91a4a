"""The kill harness: SIGKILL at any mutating call, before, after or long before its effect; then a new life, and the verdict.

    python -m tests.ec2.kills [--jobs N]    every call, every moment, with the world changed meanwhile, and double kills

Each tale begins with a first boot, then one machine falls sick and is healed; it may go on with what becomes of that
machine. A clean run lists its calls.
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
LIMIT = 150.0


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


Live = Callable[[Callable[[], object]], None]


def _the_healed_one_is_released(there: Rig, live: Live, name: str) -> None:
    there.cure(name)
    live(lambda: _is_asked(there, "release", name))
    live(lambda: name in there.serving() and there.is_calm())


def _the_healed_one_is_ended(there: Rig, live: Live, name: str) -> None:
    live(lambda: _is_asked(there, "purge", name))
    live(lambda: there.lifecycle(name) == "retired" and there.is_calm())


def _is_asked(there: Rig, verb: str, name: str) -> bool:
    """Ask as an operator does, again and again, until the daemon has taken it."""
    there.asked.add(name)
    if there.lifecycle(name) != "quarantined":
        return True
    return there.run("quarantine", verb, name).returncode == 0


SEQUELS: dict[str, Callable[[Rig, Live, str], None]] = {
    "": lambda *_: None,
    "release": _the_healed_one_is_released,
    "end": _the_healed_one_is_ended,
}
"""What becomes of the machine that was replaced."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to kill in one tale, and what happens while the daemon is dead for the first time."""

    points: tuple[tuple[int, Moment], ...]
    change: str = "nothing"
    sequel: str = ""

    def __str__(self) -> str:
        """Return it as a test's name."""
        told = ", ".join(f"{moment} call {number}" for number, moment in self.points) + f"; {self.change}"
        return f"{told}; then {self.sequel}" if self.sequel else told


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
    SEQUELS[plan.sequel](there, live, victim)
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


def sequels(calls: dict[str, int], first: int) -> list[Plan]:
    """Return a plan for each sequel that kills at each of its own calls, those from `first` on."""
    return [
        Plan(tuple((n, MOMENTS[n % len(MOMENTS)]) for n in range(first, count)), sequel=name)
        for name, count in calls.items()
    ]


def everything(calls: int, first: int = 0, sequel: str = "") -> list[Plan]:
    """Return plans for each call from `first` on and each moment, the changes rotating; and a second kill right after."""
    changes = cycle(CHANGES)
    numbers = range(first, calls)
    single = [Plan(((n, moment),), next(changes), sequel) for n in numbers for moment in MOMENTS]
    pairs = [((n, MOMENTS[n % 3]), (n + 1, MOMENTS[(n + 1) % 3])) for n in numbers]
    return single + [Plan(pair, next(changes), sequel) for pair in pairs[:-1]]


def main() -> int:
    """Run everything; the exit code says whether all was well."""
    reading = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reading.add_argument("--jobs", type=int, default=5)
    reading.add_argument("--runs", type=int, default=0, help="only a sample, of so many runs")
    reading.add_argument("--only", default="", help="only plans whose text has this in it")
    chosen = reading.parse_args()
    began = time.monotonic()
    clean = {name: tell_aside(Plan((), sequel=name)) for name in SEQUELS}
    for one in clean.values():
        print(f"{one}\n{len(one.actions)} calls: {', '.join(one.actions)}")
    calls = {name: len(one.actions) for name, one in clean.items()}
    first = calls.pop("")
    plans = sample(first, chosen.runs) if chosen.runs else everything(first)
    for name, count in calls.items():
        plans += sequels({name: count}, first) if chosen.runs else everything(count, first, name)
    told = tell_all([p for p in plans if chosen.only in str(p)], chosen.jobs, lambda t: print(t, flush=True))
    bad = [t for t in (*clean.values(), *told) if not t.is_well]
    missed = sum(1 for t in told if len(t.killed_at) < len(t.plan.points))
    print(f"{len(told)} tales in {time.monotonic() - began:.0f}s: {len(bad)} bad, {missed} whose kill never came")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
