"""Judging what many have in common: what an edge costs, and a verdict, as the fleet grows; against counting afresh.

    python -m bench.judging [--sick 300]

CPU time of this process, each figure the mean of many. "Afresh" walks the whole fleet for each verdict, as a policy
without counters would.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from supervisor.core import diagnosis
from supervisor.core.explaining import Picture, weigh
from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Instance
from supervisor.core.population import Counts, Group, Label, Population
from supervisor.core.settings import Explaining
from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Lifecycle
from supervisor.core.verdict import Verdict

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = Explaining()
GONE = Symptom(Pattern.UNREACHABLE, heartbeat=False)


def fleet(count: int) -> Population:
    """Return a fleet over three zones, nine subnets, two images, many cohorts, four types, and hosts of twenty."""
    made = Population()
    for n in range(count):
        zone = "abc"[n % 3]
        labels = (("subnet", f"{zone}{n // 3 % 3}"), ("type", f"t{n % 4}"), ("host", f"h{n // 20}"))
        machine = Machine(f"i-{n:06}", "web", MachineState.RUNNING, zone, "img", "1", "", labels=labels)
        version = "v2" if n % 10 == 0 else "v1"
        at = T0 + timedelta(minutes=n % 3000)
        made.place(Instance(machine.id, "web", Lifecycle.IN_SERVICE, n, version, version, zone, "", at, at), machine)
    return made


def cost(work: Callable[[], object], least: float = 0.3) -> float:
    """Return the CPU seconds of one call."""
    begun, calls = time.process_time(), 0
    while time.process_time() - begun < least:
        work()
        calls += 1
    return (time.process_time() - begun) / calls


def judge(made: Population, counting: Callable[[Population], Counts]) -> Verdict:
    """Count, weigh and conclude."""
    return diagnosis.conclude(weigh(Picture(counting(made))), made, NUMBERS, NUMBERS.instance_odds)


def afresh(made: Population) -> Counts:
    """Count the whole fleet again."""
    totals: Counter[Label] = Counter()
    shown: dict[Label, Counter[Symptom]] = {}
    symptoms: Counter[Symptom] = Counter()
    for member in made.members.values():
        for label in member.labels:
            totals[label] += 1
        if member.symptom is not None:
            symptoms[member.symptom] += 1
            for label in member.labels:
                shown.setdefault(label, Counter())[member.symptom] += 1
    groups = tuple(Group(label, totals[label], shown[label].total(), shown[label]) for label in sorted(shown))
    return Counts(len(made.members), symptoms.total(), symptoms, groups)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sick", type=int, default=300)
    sick = parser.parse_args().sick
    print(f"{'machines':>9}{'sick':>6}{'an edge':>12}{'a verdict':>13}{'afresh':>13}{'ratio':>8}  verdict")
    for count in (1_000, 10_000, 100_000):
        made = fleet(count)
        struck = [name for name in made.members if Label("zone", "a") in made.members[name].labels][:sick]
        for name in struck:
            made.mark(name, GONE, 0.0)

        def edge(made: Population = made, name: str = struck[0]) -> None:
            made.mark(name, None, 0.0)
            made.mark(name, GONE, 0.0)

        if afresh(made) != made.counts():
            raise SystemExit("the counters are wrong: they differ from a recount")
        counted = cost(partial(judge, made, Population.counts))
        recounted = cost(partial(judge, made, afresh))
        print(
            f"{count:>9}{len(struck):>6}{cost(edge) / 2 * 1e6:>10.1f}us{counted * 1e3:>11.2f}ms{recounted * 1e3:>11.2f}ms"
            f"{recounted / counted:>8.0f}  {judge(made, Population.counts).sentence[:90]}"
        )


if __name__ == "__main__":
    main()
