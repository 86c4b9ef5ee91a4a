"""The history: what the tap costs for each result, and how many bytes a machine's day takes.

    python -m bench.history [--instances 1000] [--hours 24] [--blips 0.002]

A fleet with one check every 10 s, all well but for blips. CPU time is the process's own; the bytes are those on disk.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.engine import records
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.signals import Result
from supervisor.core.terms import Mode, Now, Role, Status
from supervisor.core.world import World
from supervisor.runtime.recorder import PAUSE, Recorder
from supervisor.store import HistoryFiles

T0 = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = 10.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--blips", type=float, default=0.002, help="share of the results that are bad")
    arguments = parser.parse_args()
    count = arguments.instances
    world = World(records(count))
    check = CheckPolicy("alive", "http", Role.LIVENESS, INTERVAL, 3.0)
    settings = Settings(
        Mode.AUTO, {"web": FleetPolicy("web", count, "img", "1.0.0", ("a", "b", "c"), (check,), (), INTERVAL)}
    )
    dice = random.Random(7)
    ids = [f"i-{dice.getrandbits(68):017x}" for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        pen = HistoryFiles(Path(folder) / "history", 8 * 86400.0, 256_000_000)
        recorder = Recorder(lambda: world, lambda: settings, pen, Now(0.0, T0))
        tapping = writing = 0.0
        results, longest = 0, 0.0
        for beat in range(int(arguments.hours * 3600 / INTERVAL)):
            begun = beat * INTERVAL
            batch = []
            for place, name in enumerate(ids):
                sent = begun + place * INTERVAL / count + dice.uniform(-0.01, 0.01)
                bad = dice.random() < arguments.blips
                status = Status.CRITICAL if bad else Status.OK
                batch.append(Result(name, "alive", status, bad, sent, sent + dice.uniform(0.001, 0.01)))
            cpu = time.process_time()
            recorder.results(batch)
            tapping += time.process_time() - cpu
            results += count
            now = begun + INTERVAL
            recorder._seen = Now(now, T0 + timedelta(seconds=now))  # noqa: SLF001  # as `tap` does, without an engine
            if now % PAUSE == 0:
                cpu, wall = time.process_time(), time.perf_counter()
                chapters = recorder._chapters()  # noqa: SLF001  # on the loop
                longest = max(longest, time.perf_counter() - wall)
                for chapter in chapters:  # on the thread
                    pen.write(chapter)
                writing += time.process_time() - cpu
        recorder.close()
        days = count * arguments.hours / 24
        print(f"{count} instances, one check every {INTERVAL:.0f}s, {arguments.blips:.1%} blips, {arguments.hours:g} h")
        print(f"tap: {tapping / results * 1e6:.2f} us a result; writing: {writing / results * 1e6:.2f} us a result")
        print(f"longest stop of the loop for a write: {longest * 1e3:.1f} ms")
        print(f"disk: {pen.written / days:.0f} bytes for each instance and day, {pen.written / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
