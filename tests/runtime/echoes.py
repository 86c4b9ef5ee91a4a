"""A program for a network namespace of its own: asks for echoes, and prints what came of each; see test_datagrams."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import uvloop

from supervisor.api import Instance
from supervisor.plugins import discover
from supervisor.runtime.datagrams import Icmp
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import run_check

SILENCE = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
ALLOWED = Path("/proc/sys/net/ipv4/ping_group_range")


async def told(host: str, count: int = 2, wait: float = 2.0) -> str:
    """Say what came of it."""
    try:
        answer = await Icmp().echo(host, count=count, wait=wait)
    except Exception as error:  # noqa: BLE001  # it is told
        return f"{type(error).__name__}: {error}"
    assert all(0 < trip < wait for trip in answer.round_trips)
    return f"{len(answer.round_trips)} of {answer.sent}"


async def check() -> str:
    """Run the check itself."""
    probe = NetworkProbe()
    ran = await run_check(discover().checks["icmp"].cls(), Instance("i-1", "web", "127.0.0.1"), probe, 5.0)
    await probe.close()
    return f"{ran.result.status} {ran.result.text[:10]}"


async def forbidden() -> dict[str, str]:
    """Ask before anybody may."""
    return {"127.0.0.1": await told("127.0.0.1"), "the check": await check()}


async def allowed() -> dict[str, str]:
    """Ask everybody."""
    SILENCE.write_text("0")
    found = {}
    for host in ("127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "localhost", "192.0.2.7", "169.254.169.254"):
        found[host] = await told(host)
    found["the check"] = await check()
    asyncio.get_running_loop().call_later(0.07, SILENCE.write_text, "1")  # between the fourth echo and the fifth
    some = await told("127.0.0.1", 10, 0.3)
    found["some lost"] = "some" if int(some.split()[0]) in range(1, 10) else some
    found["silent"] = await told("127.0.0.1", wait=0.1)
    found["one, silent"] = await told("127.0.0.1", 1, 0.1)
    return found


if __name__ == "__main__":
    told_by = {"nobody": asyncio.run(forbidden())}
    ALLOWED.write_text("0 0")
    for name, loop in (("asyncio", asyncio), ("uvloop", uvloop)):
        loop.run(asyncio.sleep(0))  # uvloop opens a pair with its first loop, and keeps them
        before = len(os.listdir("/proc/self/fd"))
        told_by[name] = loop.run(allowed())
        told_by[name]["descriptors left"] = str(len(os.listdir("/proc/self/fd")) - before)
    print(json.dumps(told_by))
