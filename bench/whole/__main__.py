"""A hundred thousand machines, an HTTP check of each every ten seconds, and the real daemon: what all of it costs.

    python -m bench.whole [--machines 100000] [--seconds 120] [--out folder]

As root: it moves into a network namespace of its own, where nobody tracks connections. nginx answers for every machine; it
runs on the same cores, and is not counted. Phases: all well; the configuration read anew; one in twenty silent; one in five hanging up; nobody there
for a minute; well again; the daemon started anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench.prober import namespace
from bench.prober.checker import Unusable
from bench.whole.daemon import Daemon, hurry
from bench.whole.picture import picture
from bench.whole.starts import Starts
from bench.whole.target import Target
from bench.whole.watch import Second, summary, watch

SETTLE = 30.0
SHIFT = 15.0
PHASES = ("well", "reloaded", "hanging", "refusing", "nobody", "again", "restarted")


def main() -> None:
    """Run the phases, print and keep what they came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each phase; nobody is there for half of it")
    parser.add_argument("--mode", choices=("observe", "auto"), default="observe")
    parser.add_argument("--connection", choices=("new", "keep"), default="new")
    parser.add_argument("--phases", nargs="*", choices=PHASES, default=PHASES)
    parser.add_argument("--nice", type=int, default=0, help="of everything: below zero where others work beside")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with suppress(PermissionError):
        os.setsid()
    if os.geteuid() != 0:
        raise SystemExit("only root can make the network namespace that this needs")
    try:
        namespace.enter()
    except Unusable as error:
        raise SystemExit(str(error)) from None
    hurry(os.getpid(), arguments.nice)
    folder = Path(tempfile.mkdtemp(prefix="sickbay-bench-"))
    folder.chmod(0o755)
    target = Target(folder)
    try:
        empty = weigh_empty(folder, arguments.mode)
        (folder / "full").mkdir()
        daemon = Daemon(folder / "full", arguments.machines, arguments.mode, arguments.connection, arguments.nice)
        try:
            seen = play(daemon, target, arguments.machines, arguments.seconds, arguments.phases)
        finally:
            took = daemon.stop()
            print((folder / "full" / "log").read_text()[-3000:])
    finally:
        target.close()
        shutil.rmtree(folder)
    figures = {name: summary(seconds) for name, seconds in seen.items()}
    for name, one in figures.items():
        one["bytes_each"] = (one["megabytes"] * 1e6 - empty) / arguments.machines
        print(f"{name:12}", "  ".join(f"{key} {value:.4g}" for key, value in one.items()))
    print(f"stopping took {took:.1f}s")
    if arguments.out:
        kept = {"machines": arguments.machines, "empty_bytes": empty, "figures": figures}
        kept["seconds"] = {name: [asdict(second) for second in seconds] for name, seconds in seen.items()}
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "whole.json").write_text(json.dumps(kept, indent=1) + "\n")
        (arguments.out / "whole.svg").write_text(picture(seen, arguments.machines))


def weigh_empty(folder: Path, mode: str) -> int:
    """Return the bytes of both processes that watch nobody."""
    (folder / "empty").mkdir()
    daemon = Daemon(folder / "empty", 0, mode, "new", 0)
    daemon.start()
    time.sleep(5)
    one, other = daemon.usage()
    daemon.stop()
    return one.resident + other.resident


def play(
    daemon: Daemon, target: Target, machines: int, seconds: float, phases: tuple[str, ...]
) -> dict[str, list[Second]]:
    """Go through the phases."""
    zero, starts = time.monotonic(), Starts()
    seen: dict[str, list[Second]] = {}
    daemon.start()
    print(f"up after {time.monotonic() - zero:.1f}s", flush=True)
    seen["start"] = watch(daemon, starts, SETTLE, zero)
    print("start     ", {key: round(value, 4) for key, value in summary(seen["start"]).items()}, flush=True)
    for name in phases:
        lasts = seconds
        match name:
            case "reloaded":
                daemon.reload()
            case "hanging":
                target.hang(range(0, machines, 20))
            case "refusing":
                target.hang(range(0))
                target.refuse(range(0, machines, 5))
            case "nobody":
                target.refuse(range(0))
                target.stop()
                lasts = seconds / 2
            case "again":
                target.hang(range(0))
                target.start()
            case "restarted":
                daemon.stop()
                daemon.start()
        if name in ("hanging", "refusing"):  # what the change itself does to nginx is told apart
            seen[f"to {name}"] = watch(daemon, starts, SHIFT, zero)
        if name in ("reloaded", "restarted"):  # and what waits till everybody has come round once
            seen[f"to be {name}"] = watch(daemon, starts, SHIFT, zero)
        seen[name] = watch(daemon, starts, lasts, zero)
        print(f"{name:12}", {key: round(value, 4) for key, value in summary(seen[name]).items()}, flush=True)
    return seen


if __name__ == "__main__":
    main()
