"""What a health check costs: Sickbay's prober beside its peers, in CPU of the checker for each check that arrives.

    python -m bench.prober [--rounds 3] [--targets 1000] [--seconds 5] [--only http] [--json FILE] [--install]

Each target is asked once a second, so `--targets` is the offered rate; who can't do as much is offered less. Wants root,
for a network namespace and a control group for each checker. Exits with 1 when a goal is missed, with 2 when it can't run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.prober import meter, namespace
from bench.prober.checker import NO_SUCH, Checker, Unusable, Work
from bench.prober.floor import Floor
from bench.prober.goals import GOALS, ratio, verdict
from bench.prober.peers import PEERS
from bench.prober.rounds import Bench, Figure
from bench.prober.sickbay import PROBER, Sickbay
from bench.prober.table import table
from bench.prober.target import Target

CHECKERS: tuple[Checker, ...] = (Sickbay(), *(peer() for peer in PEERS), Floor())
NGINX = "nginx"
INSTALLER = Path(__file__).parents[2] / "tools" / "debian-packages"


def machine(where: str) -> dict[str, str]:
    """Return what the figures depend on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in info if line.startswith("model name")), platform.machine())
    trial = meter.group("trial")
    trial.close()
    return {
        "processor": f"{os.cpu_count()} cores of {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "network": where,
        "accounting": trial.accounting,
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def skipped(works: Sequence[Work]) -> dict[str, str]:
    """Return who can't be measured though it has such checks, and why."""
    reasons = {checker.name: {checker.missing(work) for work in works} - {"", NO_SUCH} for checker in CHECKERS}
    return {name: " and ".join(sorted(why)) for name, why in reasons.items() if why}


def measure(given: argparse.Namespace, works: Sequence[Work]) -> list[Figure]:
    """Play the rounds; tell each figure as it comes."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="sickbay-bench-") as folder, Target(Path(folder)) as target:
        bench = Bench(target, given.targets, given.seconds, Path(folder), print)
        for figure in bench.play(given.rounds, works, CHECKERS):
            figures.append(figure)
            print(
                f"round {figure.round + 1}  {figure.work:5}{figure.name:24}{figure.total:>10.1f} us"
                f"{figure.achieved:>10.1f} a second of {figure.offered:.0f}",
                flush=True,
            )
    return figures


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", type=int, default=1000, help="each is asked once a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each checker is measured in each round")
    parser.add_argument(
        "--only", type=Work, choices=list(Work), action="append", help="one kind of check; can be repeated"
    )
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--install", action="store_true", help="install what is missing from Debian")
    given = parser.parse_args()
    works = given.only or list(Work)
    if given.install:
        packages = dict.fromkeys([NGINX, *(package for checker in CHECKERS for package in checker.packages)])
        subprocess.run(["bash", INSTALLER, sys.executable, *packages], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # whoever was started is ended on the way out
    try:
        if shutil.which(NGINX) is None:
            raise Unusable("nginx is not installed, and nobody else can be asked: --install installs it, from Debian")
        facts = machine(namespace.enter())
        for name, value in facts.items():
            print(f"{name + ':':14}{value}")
        for name, why in skipped(works).items():
            print(f"skipped: {name}: {why}")
        begun = time.monotonic()
        figures = measure(given, works)
    except Unusable as error:
        print(f"can't measure: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"\n{given.rounds} rounds of {given.seconds:.0f}s for each, in {time.monotonic() - begun:.0f}s")
    print("\n".join(table(figures)))
    found = [(goal, ratio(figures, PROBER, goal.work, goal.other, goal.other_work)) for goal in GOALS]
    goals = [
        {"goal": goal.words, "ratio": asdict(spread) if spread else None, "word": verdict(goal, spread)}
        for goal, spread in found
    ]
    if given.json is not None:
        told = {"machine": facts, "figures": [asdict(figure) for figure in figures], "goals": goals}
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(goal["word"] == "MISSED" for goal in goals) else 0)


if __name__ == "__main__":
    main()
