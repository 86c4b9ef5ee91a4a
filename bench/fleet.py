"""A local fleet of real machines, watched by the real daemon: starts missed, start lag, memory, commits.

    python -m bench.fleet [--machines 200] [--minutes 10]

Everything runs under a temporary folder and is removed at the end. The steady time begins when the fleet is OPTIMAL and
every machine has left probation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import proc
from supervisor.errors import SickbayError
from supervisor.providers.local import WEB, LocalCloud, LocalOptions
from supervisor.surfaces.client import Client

CONFIG = """
[supervisor]
mode = "auto"
state = "sqlite:///{folder}/state.db"
listen = ""

[fleet.web]
provider = "local"
desired = {machines}
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"
port = 18070
front_door = "127.0.0.1:{port}"
health_interval = "5s"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = 18070
interval = "1s"
timeout = "900ms"

[judgement]
speed = 10
"""


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def figures(pid: int) -> tuple[float, float, int, int]:
    """Return a process's CPU seconds, resident MiB, descriptors and threads."""
    return proc.cpu(pid), proc.resident(pid) / 2**20, proc.descriptors(pid), proc.threads(pid)


def prober_of(pid: int) -> int:
    """Return the prober's pid."""
    return proc.children(pid)[0]


def wait_until_steady(client: Client, machines: int) -> dict[str, Any]:
    """Wait until everyone has left probation."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        time.sleep(2)
        try:
            status: dict[str, Any] = client.get("/api/v1/status")
        except SickbayError:
            continue
        if status["fleets"][0]["lifecycles"].get("in_service") == machines:
            return status
    raise SystemExit("the fleet did not become steady within 10 minutes")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    folder, port = Path(tempfile.mkdtemp(prefix="sickbay-bench-")), free_port()
    config = folder / "config.toml"
    config.write_text(CONFIG.format(folder=folder, machines=arguments.machines, port=port))
    with (folder / "log").open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "supervisor", "run", "-c", str(config)], stdout=log, stderr=log
        )
    try:
        measure(daemon.pid, Client(folder / "sickbay.sock"), arguments.machines, arguments.minutes)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
        options = LocalOptions(image=WEB, port=18070, front_door=f"127.0.0.1:{port}")
        asyncio.run(LocalCloud.open("web", options, "", folder, "").destroy())
        shutil.rmtree(folder)


def measure(pid: int, client: Client, machines: int, minutes: float) -> None:
    """Watch a steady fleet for so long."""
    first = wait_until_steady(client, machines)
    time.sleep(5)
    first = client.get("/api/v1/status")
    prober = prober_of(pid)
    cpu0, rss0, fds0, _ = figures(pid)
    probe_cpu0, probe_rss0, probe_fds0, _ = figures(prober)
    begun = time.monotonic()
    lags: list[tuple[float, float]] = []
    while time.monotonic() - begun < minutes * 60:
        time.sleep(1)
        stats = client.get("/api/v1/status")["prober"]
        lags.append((stats["lag_p99"], stats["lag_max"]))
    elapsed = time.monotonic() - begun
    last = client.get("/api/v1/status")
    cpu1, rss1, fds1, threads = figures(pid)
    probe_cpu1, probe_rss1, probe_fds1, _ = figures(prober)
    started = last["prober"]["started"] - first["prober"]["started"]
    missed = last["prober"]["missed"] - first["prober"]["missed"]
    commits = last["store"]["commits"] - first["store"]["commits"]
    p99 = sorted(lag for lag, _ in lags)
    print(f"{machines} machines, one HTTP check each second, {elapsed:.0f}s")
    print(f"  checks started      {started} ({started / elapsed:.1f}/s), missed {missed}")
    print(
        f"  start lag           p99 of a second: median {p99[len(p99) // 2] * 1e3:.1f} ms, worst {p99[-1] * 1e3:.1f} ms"
    )
    print(f"                      maximum of all: {max(m for _, m in lags) * 1e3:.1f} ms")
    print(f"  commits             {commits}")
    print(
        f"  supervisor          CPU {(cpu1 - cpu0) / elapsed:.1%} of a core, {rss0:.1f} -> {rss1:.1f} MiB, descriptors {fds0} -> {fds1}, threads {threads}"
    )
    print(
        f"  prober              CPU {(probe_cpu1 - probe_cpu0) / elapsed:.1%} of a core, {probe_rss0:.1f} -> {probe_rss1:.1f} MiB, descriptors {probe_fds0} -> {probe_fds1}"
    )
    print(f"                      {(probe_cpu1 - probe_cpu0) / max(1, started) * 1e6:.0f} us of CPU for each check")
    print(json.dumps({"incidents": last["fleets"][0]["open_incidents"], "state": last["fleets"][0]["state"]}))


if __name__ == "__main__":
    main()
