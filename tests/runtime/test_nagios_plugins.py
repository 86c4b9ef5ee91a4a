"""Debian's own monitoring plugins, against a real server: as a check, by themselves and through the whole plugin host."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from supervisor.api import Instance, Status
from supervisor.plugins import discover
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from tests.watching import observe, spec, watching_hosts

pytestmark = pytest.mark.acceptance

PLUGINS = "/usr/lib/nagios/plugins"
EXEC = discover().checks["exec"].cls
INSTANCE = Instance("i-1", "web", "127.0.0.1", "a", "img", "1.0.0")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Say what to do where they are missing."""
    assert Path(PLUGINS, "check_http").exists(), (
        "run the tests with `make test`, which installs monitoring-plugins-basic"
    )


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Serve well and badly; return the port."""

    async def well(_: web.Request) -> web.Response:
        return web.Response(text="all is well")

    async def bad(_: web.Request) -> web.Response:
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/well", well)
    app.router.add_get("/bad", bad)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


async def ask(plugin: str, *arguments: str, timeout: float = 10.0) -> Ran:
    """Run a plugin once, as a check."""
    probe = NetworkProbe()
    check = EXEC.model_validate({"command": [f"{PLUGINS}/{plugin}", *arguments]})
    ran = await run_check(check, INSTANCE, probe, timeout)
    await probe.close()
    return ran


ROWS = {
    "a page that is well": (["check_http", "-H", "{address}", "-p", "PORT", "-u", "/well"], Status.OK, "HTTP OK: HTTP/1.1 200 OK", {"time", "size"}),
    "a page with the right text": (["check_http", "-H", "{address}", "-p", "PORT", "-u", "/well", "-s", "well"], Status.OK, "HTTP OK", {"time", "size"}),
    "a page with the wrong text": (["check_http", "-H", "{address}", "-p", "PORT", "-u", "/well", "-s", "{version}"], Status.CRITICAL, "string '1.0.0' not found", {"time", "size"}),
    "a server's error": (["check_http", "-H", "{address}", "-p", "PORT", "-u", "/bad"], Status.CRITICAL, "HTTP CRITICAL: HTTP/1.1 500", {"time", "size"}),
    "a missing page": (["check_http", "-H", "{address}", "-p", "PORT", "-u", "/none"], Status.WARNING, "HTTP WARNING: HTTP/1.1 404", {"time", "size"}),
    "an open port": (["check_tcp", "-H", "{address}", "-p", "PORT"], Status.OK, "TCP OK", {"time"}),
    "a closed port": (["check_tcp", "-H", "{address}", "-p", "CLOSED"], Status.CRITICAL, "Connection refused", set()),
    "a dummy that is well": (["check_dummy", "0", "as {id} of {fleet}"], Status.OK, "OK: as i-1 of web", set()),
    "a dummy that warns": (["check_dummy", "1"], Status.WARNING, "WARNING", set()),
    "a dummy that knows nothing": (["check_dummy", "3"], Status.UNKNOWN, "UNKNOWN", set()),
    "wrong use": (["check_http"], Status.UNKNOWN, "check_http: Could not parse arguments", set()),
    "the load": (["check_load", "-w", "900,900,900", "-c", "999,999,999"], Status.OK, "LOAD OK", {"load1", "load5", "load15"}),
    "a disk": (["check_disk", "-w", "1", "-c", "1", "-p", "/"], Status.OK, "DISK OK", {"/"}),
    "a disk without room": (["check_disk", "-w", "100%", "-c", "100%", "-p", "/"], Status.CRITICAL, "DISK CRITICAL", {"/"}),
    "a load that is too high": (["check_load", "-w", "0,0,0", "-c", "999,999,999"], Status.WARNING, "LOAD WARNING", {"load1", "load5", "load15"}),
    "processes": (["check_procs", "-w", "1:", "-c", "1:"], Status.OK, "PROCS OK", {"procs"}),
    "no such process": (["check_procs", "-c", "1:", "-a", "no process of {id}"], Status.CRITICAL, "PROCS CRITICAL: 0 processes with args 'no process of i-1'", {"procs"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
async def test_a_plugin_of_debians_is_understood(name: str, port: int) -> None:
    """Status, text and the labels of its perfdata."""
    arguments, status, text, labels = ROWS[name]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ports = {"PORT": str(port), "CLOSED": str(closed.getsockname()[1])}
        ran = await ask(*(ports.get(argument, argument) for argument in arguments))

    assert status is ran.result.status
    assert text in ran.result.text
    assert labels == set(ran.result.metrics)
    assert not ran.result.silent


async def test_perfdata_is_in_base_units(port: int) -> None:
    """Seconds for the latency, bytes for what is on the disk."""
    page = (await ask("check_http", "-H", "{address}", "-p", str(port), "-u", "/well")).result
    disk = (await ask("check_disk", "-w", "1", "-c", "1", "-p", "/")).result

    assert page.seconds == page.metrics["time"]
    assert 0 < page.metrics["time"] < 5
    assert 100 < page.metrics["size"] < 1000
    assert 1e6 < disk.metrics["/"] < 1e15


async def test_a_plugin_that_waits_for_a_mute_server_is_silent() -> None:
    """Its time limit is the check's: nothing of it is left, and it proves nothing but silence."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        ran = await ask("check_http", "-H", "{address}", "-p", str(mute.getsockname()[1]), "-t", "60", timeout=0.5)

    assert (Status.CRITICAL, True, "no answer within 500ms") == (ran.result.status, ran.result.silent, ran.result.text)


async def test_plugins_run_in_the_plugin_host(port: int) -> None:
    """On their cadence, beside the prober's own checks, with their text and their numbers."""
    page = [f"{PLUGINS}/check_http", "-H", "{address}", "-p", str(port), "-u", "/well"]
    checks = [
        spec("http", name="well", port=port, path="/well"),
        spec("exec", name="page", builtin=False, interval=0.5, timeout=0.5, command=page),
        spec(
            "exec",
            name="warns",
            builtin=False,
            interval=0.5,
            timeout=0.5,
            command=[f"{PLUGINS}/check_dummy", "1", "{zone}"],
        ),
        spec("exec", name="missing", builtin=False, interval=0.5, timeout=0.5, command=["/nowhere/check"]),
    ]
    async with watching_hosts() as watching:
        watching.hosts.configure({"web": checks}, {})
        watching.hosts.apply([observe("i-1")])
        await watching.until(lambda: {r.check for r in watching.results} == {"well", "page", "warns", "missing"})
        await watching.until(lambda: len(watching.of("i-1", "page")) >= 3)

        first = watching.of("i-1", "page")[0]
        assert (Status.OK, {"time", "size"}) == (first.status, set(first.metrics))
        assert "HTTP OK: HTTP/1.1 200 OK" in first.text
        assert (Status.WARNING, "WARNING: a") == watching.of("i-1", "warns")[0][2:7:4]
        assert Status.UNKNOWN is watching.of("i-1", "missing")[0].status
        assert "can't be run: no such file or directory" in watching.of("i-1", "missing")[0].text
        assert [] == watching.told
