"""The engine alone: 100,000 instances, batches of results, CPU per result and the time of a step.

    python -m bench.engine [--instances 100000] [--seconds 20]

Three loads, each on the same fleet: all well; one probe in five hundred lost at random (the noise of a large fleet);
and a mass failure, in which a tenth of the fleet begins to fail at once. CPU time is the process's own.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from supervisor.core.engine import Engine
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Identity, Instance, Record, Slot
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.signals import InventorySeen, Result, ResultsReported
from supervisor.core.terms import Lifecycle, Mode, Now, Role, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = 10.0
BATCH = 200
TEXT = {Status.OK: "", Status.CRITICAL: "HTTP 500, expected 200"}


@dataclass
class Load:
    """What one load cost."""

    name: str
    results: int = 0
    cpu: float = 0.0
    steps: list[float] = field(default_factory=list)
    changes: int = 0


def records(count: int) -> Iterator[Record]:
    """Return a fleet that has served for a day."""
    yield Identity("bench", 0, T0)
    for number in range(count):
        name = f"i-{number:06d}"
        zone = "abc"[number % 3]
        yield Slot("web", number, name)
        yield Instance(
            name, "web", Lifecycle.IN_SERVICE, number, "img", "1.0.0", zone, f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}", T0, T0, True
        )  # fmt: skip


def machines(count: int) -> dict[str, Machine]:
    """Return what the cloud lists."""
    listed = (
        Machine(f"i-{n:06d}", "web", MachineState.RUNNING, "abc"[n % 3], "img", "1.0.0", "", True, TargetHealth.HEALTHY)
        for n in range(count)
    )
    return {machine.id: machine for machine in listed}


def engine(count: int) -> Engine:
    """Wake the engine up on such a fleet."""
    check = CheckPolicy("alive", "http", Role.LIVENESS, INTERVAL, 3.0)
    policy = FleetPolicy("web", count, "img", "1.0.0", ("a", "b", "c"), (check,), (), INTERVAL)
    return Engine(records(count), Settings(Mode.AUTO, {"web": policy}), Now(0.0, T0))


def play(
    made: Engine, load: Load, ids: Sequence[str], start: float, seconds: float, fails: set[str], loss: float
) -> float:
    """Play one load; return the virtual time at its end."""
    dice = random.Random(7)
    per_second = len(ids) / INTERVAL
    now, at = start, 0
    load.steps = []
    while now < start + seconds:
        batch = []
        for _ in range(BATCH):
            name = ids[at % len(ids)]
            at += 1
            bad = name in fails or (loss > 0 and dice.random() < loss)
            status = Status.CRITICAL if bad else Status.OK
            batch.append(Result(name, "alive", status, False, now, now + 0.001, TEXT[status]))
        now += BATCH / per_second
        moment = Now(now, T0 + timedelta(seconds=now))
        cpu, wall = time.process_time(), time.perf_counter()
        turn = made.step([ResultsReported(batch)], moment)
        load.changes += len(turn.changes)
        made.settle()
        load.cpu += time.process_time() - cpu
        load.steps.append(time.perf_counter() - wall)
        load.results += BATCH
    return now


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="virtual seconds of each load")
    arguments = parser.parse_args()
    count = arguments.instances
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = engine(count)
    made.step([], Now(0.0, T0))
    made.settle()
    ids = [f"i-{n:06d}" for n in range(count)]
    listed = machines(count)
    for tick in range(4):  # the start-up amnesty: rounds of checks and of the inventory
        begun = time.perf_counter()
        made.step(
            [InventorySeen("web", listed, tick * INTERVAL)],
            Now(tick * INTERVAL + 1.0, T0 + timedelta(seconds=tick * INTERVAL + 1)),
        )
        made.settle()
        took = time.perf_counter() - begun
        now = play(made, Load("warm-up"), ids, tick * INTERVAL + 1.0, INTERVAL - 1.0, set(), 0.0)
    print(f"{count} instances, one check every {INTERVAL:.0f}s: {count / INTERVAL:.0f} results/s are needed")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"memory: {grown / count:.2f} KiB for each instance and check, records included; whole inventory: {took * 1000:.0f} ms\n"
    )
    print(
        f"{'load':34}{'results':>10}{'us/result':>11}{'results/s':>11}{'p50 step':>10}{'p99 step':>10}{'max step':>10}{'changes':>9}"
    )
    tenth = set(ids[::10])
    for name, fails, loss in (
        ("all well", set[str](), 0.0),
        ("1 in 500 lost", set[str](), 0.002),
        ("a tenth fails at once", tenth, 0.0),
    ):
        load = Load(name)
        gc.collect()
        now = play(made, load, ids, now, arguments.seconds, fails, loss)
        steps = sorted(load.steps)
        each = load.cpu / load.results
        p50, p99, worst = steps[len(steps) // 2], steps[int(len(steps) * 0.99)], steps[-1]
        print(
            f"{name:34}{load.results:>10}{each * 1e6:>11.2f}{1 / each:>11.0f}{p50 * 1e3:>8.2f}ms{p99 * 1e3:>8.2f}ms{worst * 1e3:>8.2f}ms{load.changes:>9}"
        )


if __name__ == "__main__":
    main()
