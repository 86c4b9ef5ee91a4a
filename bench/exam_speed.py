"""How fast the exam is: one virtual day of 1,000 instances at rest, with the usual noise, under the production engine.

    python -m bench.exam_speed [--instances 1000] [--hours 24] [--checks http]

The goal of the design is a day within 60 s on two cores; one run uses one core.
"""

from __future__ import annotations

import argparse
import time

from supervisor.sim.exam.player import Run
from supervisor.sim.exam.scenario import Scenario
from supervisor.sim.exam.sickbay import Sickbay


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--checks", default="http", help="some of tcp,http,disk,deep,dns")
    arguments = parser.parse_args()
    seconds = arguments.hours * 3600.0
    checks = tuple(arguments.checks.split(","))
    scenario = Scenario(
        number=0, title="speed", about="A day at rest.", sizes=(arguments.instances,), lasts=seconds, checks=checks
    )
    run = Run(scenario, arguments.instances, 0, Sickbay())
    wall, cpu = time.perf_counter(), time.process_time()
    score = run.play()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    results = arguments.instances * len(checks) * seconds / 10.0
    day = 86400.0 / seconds
    print(f"{arguments.instances} instances, {len(checks)} checks each 10s, {arguments.hours:g} virtual hours")
    print(f"  {wall:.1f}s wall, {cpu:.1f}s CPU: {cpu / results * 1e6:.2f} us for each result")
    print(f"  a virtual day takes {wall * day:.0f}s wall, {cpu * day:.0f}s CPU (goal: 60s)")
    print(f"  {'nothing was touched, as is right' if score.right else score.why}")


if __name__ == "__main__":
    main()
