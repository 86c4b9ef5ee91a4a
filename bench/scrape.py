"""A scrape of /metrics beside a large fleet: wall time, size and series, in both formats, and after a mass failure.

    python -m bench.scrape [--instances 100000] [--scrapes 20]

The engine stands still while it is scraped, so the time of a scrape is time in which nothing is judged.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace

from bench.engine import INTERVAL, T0, Load, engine, machines, play
from supervisor.core.signals import InventorySeen
from supervisor.core.terms import Now
from supervisor.surfaces.metrics import Metrics

ACCEPT = {"text 0.0.4": "", "OpenMetrics": "application/openmetrics-text"}


def measure(scrape: Callable[[], tuple[bytes, str]], count: int) -> tuple[Sequence[float], bytes]:
    """Return the sorted wall times of so many scrapes, and the last one's body."""
    took, body = [], b""
    for _ in range(count):
        begun = time.perf_counter()
        body, _ = scrape()
        took.append(time.perf_counter() - begun)
    return sorted(took), body


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--scrapes", type=int, default=20)
    arguments = parser.parse_args()
    count = arguments.instances
    made = engine(count)
    made.step([], Now(0.0, T0))
    made.settle()
    loop = SimpleNamespace(turns=0, commits=0, refusals=0, refused="", step_seconds=0.0, commit_seconds=0.0)
    idle = SimpleNamespace(busy=0, delivered={}, refused={})
    service = SimpleNamespace(engine=made, loop=loop, inbox=(), executor=idle, outbox=idle)
    metrics = Metrics(service, {})
    ids = [f"i-{n:06d}" for n in range(count)]
    listed, now = machines(count), 1.0
    for _ in range(3):
        metrics.listen(made.step([InventorySeen("web", listed, now)], Now(now, T0)).events)
        made.settle()
        now = play(made, Load("warm-up"), ids, now, INTERVAL, set(), 0.0)
    print(f"{count} instances\n\n{'fleet':24}{'format':14}{'p50':>9}{'max':>9}{'series':>9}{'bytes':>9}")
    for name, fails, seconds in (("all well", set[str](), INTERVAL), ("a tenth fails", set(ids[::10]), 60.0)):
        now = play(made, Load(name), ids, now, seconds, fails, 0.0)
        gc.collect()
        for accept, header in ACCEPT.items():
            took, body = measure(partial(metrics.render, header), arguments.scrapes)
            series = sum(1 for line in body.splitlines() if not line.startswith(b"#"))
            half, worst = took[len(took) // 2] * 1e3, took[-1] * 1e3
            print(f"{name:24}{accept:14}{half:>7.1f}ms{worst:>7.1f}ms{series:>9}{len(body):>9}")


if __name__ == "__main__":
    main()
