"""Check hosts are real processes against real servers: cadence, silence, refusal, and what a bad plugin may not do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web

from supervisor.core.signals import AskNow, Forget, Stretch
from supervisor.core.terms import Status
from supervisor.plugins import read_sources
from supervisor.runtime.checkhost import CheckSpec
from tests.watching import Watching, observe, plugin_folder, spec, watching_hosts

pytestmark = pytest.mark.acceptance

PLUGIN = """
import time
from supervisor.api import Check, CheckResult, Instance, Probe

class Blocks(Check, kind="blocks"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        time.sleep(0.4)
        return CheckResult.ok("blocked everybody")

class Raises(Check, kind="raises"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.ok(str(1 / 0))

class Talks(Check, kind="talks"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.critical("\\x1b[31mred\\x1b[0m\\n" + "x" * 100_000)
"""


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    """Run the hosts for one test."""
    async with watching_hosts() as made:
        yield made


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """Serve well, badly, slowly, endlessly; return the port."""
    app = web.Application()

    async def well(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    async def bad(_: web.Request) -> web.Response:
        return web.Response(status=500)

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x")
            await asyncio.sleep(0.05)

    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    for path, handler in (("/well", well), ("/bad", bad), ("/away", away), ("/drip", drip), ("/flood", flood)):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


def configured(watching: Watching, specs: Sequence[CheckSpec], paths: Sequence[Path] = ()) -> None:
    """Give the fleet web these checks."""
    watching.hosts.configure({"web": specs}, read_sources(paths))


ANSWERS = {
    "/well": (Status.OK, False, "HTTP 200"),
    "/bad": (Status.CRITICAL, False, "HTTP 500, expected 200"),
    "/away": (Status.CRITICAL, False, "HTTP 302, expected 200"),
    "/drip": (Status.CRITICAL, True, "no answer within 500ms"),
    "/flood": (Status.OK, False, "HTTP 200"),
}


async def test_each_way_of_answering_means_what_it_should(watching: Watching, server: int) -> None:
    """A wrong answer is an answer; a drip is silence; a flood is cut; a redirect is not followed."""
    wants = {"/drip": "an end"}  # else the status is enough, and it comes at once
    specs = [
        spec("http", name=path[1:], port=server, path=path, interval=0.5, timeout=0.5, body=wants.get(path, ""))
        for path in ANSWERS
    ]
    configured(watching, specs)
    watching.hosts.apply([observe("i-1")])
    await watching.until(lambda: {r.check for r in watching.results} == {path[1:] for path in ANSWERS})

    for path, expected in ANSWERS.items():
        found = watching.of("i-1", path[1:])[0]
        assert expected == (found.status, found.silent, found.text)


async def test_a_refusal_is_an_answer_and_a_silent_port_is_none(watching: Watching) -> None:
    """Nobody listens; and somebody who accepts and says nothing."""
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        ports = closed.getsockname()[1], silent.getsockname()[1]
        configured(
            watching,
            [
                spec("tcp", name="closed", port=ports[0]),
                spec("tcp", name="open", port=ports[1]),
                spec("http", name="mute", port=ports[1]),
            ],
        )
        watching.hosts.apply([observe("i-1")])
        await watching.until(lambda: len({r.check for r in watching.results}) == 3)

    assert (Status.CRITICAL, False) == watching.of("i-1", "closed")[0][2:4]
    assert (Status.OK, False) == watching.of("i-1", "open")[0][2:4]
    assert (Status.CRITICAL, True) == watching.of("i-1", "mute")[0][2:4]


async def test_a_suspect_is_asked_five_times_as_often_and_a_forgotten_one_never(
    watching: Watching, server: int
) -> None:
    """The pace follows the engine's word."""
    configured(watching, [spec("http", port=server, path="/well", interval=2.0, timeout=1.0)])
    watching.hosts.apply([observe("slow"), observe("fast", fast=True)])
    await watching.until(lambda: len(watching.of("fast")) >= 6)
    assert len(watching.of("slow")) <= 2
    watching.hosts.apply([Forget("fast")])
    await asyncio.sleep(0.5)
    before = len(watching.of("fast"))
    await asyncio.sleep(1.0)
    assert before == len(watching.of("fast"))


async def test_who_is_asked_now_answers_at_once_and_once(watching: Watching, server: int) -> None:
    """A challenge does not wait for the schedule, and asking twice asks no more."""
    configured(watching, [spec("http", name="c", interval=86400.0, timeout=2.0, port=server, path="/well")])
    watching.hosts.apply([observe("i-1"), observe("i-2"), observe("i-3")])
    await watching.until(lambda: watching.hosts.prober.stats.alive)
    watching.hosts.apply([AskNow(("i-1", "i-2", "i-none")), AskNow(("i-1",))])
    await watching.until(lambda: watching.of("i-1") and watching.of("i-2"))
    await asyncio.sleep(0.3)

    assert [1, 1, 0] == [len(watching.of(name)) for name in ("i-1", "i-2", "i-3")]
    assert 0 == watching.hosts.prober.stats.last.get("missed", 0)


async def test_a_slow_supervisor_gives_every_check_more_time(watching: Watching, server: int) -> None:
    """Up to nine tenths of the interval; and a host that is started again knows it."""
    configured(watching, [spec("http", name="c", interval=0.6, timeout=0.1, port=server, path="/drip", body="an end")])
    watching.hosts.apply([Stretch(4.0), observe("i-1")])
    await watching.first("c", "no answer within 400ms")
    watching.hosts.apply([Stretch(100.0)])
    await watching.first("c", "no answer within 540ms")
    watching.hosts.apply([Stretch(1.0)])
    await watching.first("c", "no answer within 100ms")


async def test_the_prober_hears_our_own_listener_or_says_why_not(
    watching: Watching,
) -> None:
    """The loopback sentinel goes the way of every check."""
    calls: list[bool] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(True)
        writer.write(b"sickbay\n")
        writer.close()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    watching.hosts.prober.listen_at(listener.sockets[0].getsockname()[1])
    configured(watching, [])
    await watching.until(lambda: calls)
    await watching.until(lambda: watching.hosts.prober.stats.last)

    assert "" == watching.hosts.prober.stats.last["deaf"]
    listener.close()
    os.kill(children()[0], signal.SIGKILL)
    await watching.until(lambda: "refused" in watching.hosts.prober.stats.last.get("deaf", ""))


async def test_a_plugin_that_blocks_or_raises_hurts_only_itself(
    watching: Watching, server: int, tmp_path: Path
) -> None:
    """The prober's cadence goes on; a check that breaks is UNKNOWN; foreign text is made harmless."""
    plugin_folder(tmp_path, PLUGIN)
    foreign = [
        spec(kind, name=kind, builtin=False, interval=0.5, timeout=0.5) for kind in ("blocks", "raises", "talks")
    ]
    configured(watching, [spec("http", name="well", port=server, path="/well"), *foreign], [tmp_path])
    watching.hosts.apply([observe("i-1")])
    await watching.until(lambda: len({r.check for r in watching.results}) == 4)
    begun = len(watching.of("i-1", "well"))
    await asyncio.sleep(1.5)

    assert len(watching.of("i-1", "well")) - begun >= 5
    assert Status.UNKNOWN is watching.of("i-1", "raises")[0].status
    assert "ZeroDivisionError" in watching.of("i-1", "raises")[0].text
    assert watching.of("i-1", "talks")[0].text.startswith("red xxx")
    assert 2048 == len(watching.of("i-1", "talks")[0].text)


def children() -> list[int]:
    """Return the check hosts that are our children."""
    pids = map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return [pid for pid in pids if b"checkhost_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_a_dead_prober_is_started_again_and_told_everything(watching: Watching, server: int) -> None:
    """While it is dead nothing is known; then the same table is watched."""
    configured(watching, [spec("http", port=server, path="/well")])
    watching.hosts.apply([observe("i-1")])
    await watching.until(lambda: watching.results)
    os.kill(children()[0], signal.SIGKILL)
    await watching.until(lambda: watching.hosts.prober.stats.restarts == 1)
    watching.results.clear()
    await watching.until(lambda: watching.results)


async def test_a_host_sees_no_secret_of_its_parent(
    watching: Watching, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is a short list of harmless names."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY-1")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "CANARY-2")
    monkeypatch.setenv("NOTIFY_SOCKET", "CANARY-3")
    os.environ["SICKBAY_TOKEN"] = "CANARY-4"
    configured(watching, [spec("http", port=server, path="/well")])
    watching.hosts.apply([observe("i-1")])
    await watching.until(lambda: watching.results)
    del os.environ["SICKBAY_TOKEN"]

    assert children()
    for pid in children():
        assert b"CANARY" not in Path(f"/proc/{pid}/environ").read_bytes()


async def test_no_check_may_ask_a_link_local_address(watching: Watching) -> None:
    """The metadata service is no machine of the fleet: the check is at fault, not the machine."""
    configured(watching, [spec("tcp", port=80)])
    watching.hosts.apply([observe("i-1", "169.254.169.254"), observe("i-2", "::ffff:169.254.169.254")])
    await watching.until(lambda: watching.of("i-1") and watching.of("i-2"))

    assert {Status.UNKNOWN} == {r.status for r in watching.results}
