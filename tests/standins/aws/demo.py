"""`make demo-ec2`: the main job on AWS, without AWS: an emulator of it, real web servers as its machines, and the real daemon.

python -m tests.standins.aws.demo [--once] [--fault crash|hang|errors|impaired]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from supervisor.surfaces.terminal import framed
from tests.ec2.rig import RATE, Rig, rig
from tests.program import free_port

DESIRED = 4
PAGE = 8750
LIMIT = 120.0
WORDS = {
    "crash": "its web server is gone, and connections are refused",
    "hang": "it keeps its port open and answers nobody",
    "errors": "it answers everything with HTTP 500",
    "impaired": "AWS's own status check fails, and it is silent",
}


class Demo:
    """One run in a folder of its own."""

    def __init__(self, there: Rig) -> None:
        """Show this rig."""
        self._there = there
        self._shown = 0

    def once(self, fault: str) -> bool:
        """Boot, break one machine, and wait until the fleet is healed; return whether it was healed rightly."""
        there = self._there
        there.start()
        self._wait(there.is_calm)
        victim = there.serving()[0]
        zone = there.aws.instances.lives[victim].zone
        print(f"\n>>> breaking {victim} (zone {zone}): {WORDS[fault]}\n", flush=True)
        there.sicken(victim, fault)
        self._wait(lambda: there.is_healed(victim) and there.is_calm())
        broken = there.check()
        for violation in broken:
            print(f"{violation.invariant}: {violation.sentence}", file=sys.stderr)
        self._report(victim)
        return not broken

    def _wait(self, done: Callable[[], object]) -> None:
        """Wait, and let the daemon be heard."""
        deadline = time.monotonic() + LIMIT
        while not done():
            if self._there.is_dead or time.monotonic() > deadline:
                raise TimeoutError(f"not well after {LIMIT:.0f}s\n{self._there.story()}")
            time.sleep(0.1)
            self._hear()
        time.sleep(0.3)  # the outbox speaks last
        self._hear()

    def _hear(self) -> None:
        said = self._there.chat()
        print(said[self._shown :], end="", flush=True)
        self._shown = len(said)

    def _report(self, victim: str) -> None:
        truth = self._there.evidence().machines[victim]
        tags = ", ".join(f"{k}={v}" for k, v in sorted(truth.tags.items()) if k.startswith("sickbay:"))
        more: list[tuple[str, str]] = [
            ("At AWS", f"{victim} is {truth.state}, {'isolated' if truth.is_isolated else 'not isolated'}"),
            ("Evidence", f"termination protection {_on(truth.protected)}, snapshots of its volume: {truth.snapshots}"),
            ("Tags", tags),
            ("Calls", f"{len(self._there.seen)} that change anything, {len(self._there.aws.server.calls)} in all"),
        ]
        story: Any = self._there.incident(victim)  # Any: the API's document
        print()
        Console(highlight=False).print(framed(story, more))


def _on(value: bool) -> str:
    return "on" if value else "off"


def _page() -> int:
    """Return the usual port of the page if it is free, else another one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PAGE))
        except OSError:
            return free_port()
    return PAGE


def main() -> int:
    """Run the demo; the exit code is 0 when the machine was healed rightly."""
    reading = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reading.add_argument("--once", action="store_true", help="end by itself when the fleet is healed")
    reading.add_argument("--fault", choices=list(WORDS), default="impaired")
    chosen = reading.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="sickbay-demo-ec2-"))
    try:
        with rig(folder, DESIRED) as there, contextlib.suppress(KeyboardInterrupt):
            there.listen = _page()
            there.write()
            print(f"Sickbay on AWS: an emulator of it on {there.aws.url}, {DESIRED} machines in two zones behind a")
            print(
                f"load balancer, and three machines that are not ours. {RATE:.0f} of AWS's seconds pass in one of ours."
            )
            print(f"Everything runs under {folder}, and is removed at the end.")
            print(f"The page: http://127.0.0.1:{there.listen}/\n", flush=True)
            healed = Demo(there).once(chosen.fault)
            if not chosen.once:
                print("\nThe fleet stays up; Ctrl-C ends the demo.", flush=True)
                signal.pause()
            return 0 if healed else 1
    except TimeoutError as error:
        print(f"not healed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
