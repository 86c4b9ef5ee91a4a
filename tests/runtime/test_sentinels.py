"""Sentinels ask real listeners: two failures in a row count, one success ends them, and each sense has its own measure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from supervisor.core.signals import SelfReported, Sense, SentinelReported
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.sentinels import Names, Run, Sentinels, SentinelSpec, failure

pytestmark = pytest.mark.acceptance


@dataclass
class Prober:
    """A prober's figures."""

    alive: bool = True
    last: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Answer 200 at /well and 503 elsewhere."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.path == "/well" else 503)

    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


def test_two_failures_in_a_row_count_and_one_success_ends_them() -> None:
    """One lost packet is no blindness."""
    run = Run()

    assert [True, False, False, True, True] == [run.take(why) for why in ("lost", "lost", "lost", "", "lost")]


ASKED = {
    "sight: any answer shows that we see": (Sense.SIGHT, "/ill", ""),
    "a zone: the way there is open": (Sense.ZONE, "/ill", ""),
    "a dependency that is well": (Sense.DEPENDENCY, "/well", ""),
    "a dependency that answers badly is not well": (Sense.DEPENDENCY, "/ill", "HTTP 503, expected below 400"),
}


@pytest.mark.parametrize("name", ASKED)
async def test_each_sense_has_its_own_measure(name: str, port: int) -> None:
    """What answers at all was reached; a dependency must do more."""
    sense, path, why = ASKED[name]
    spec = SentinelSpec("s", sense, "", 5.0, 2.0, url=f"http://127.0.0.1:{port}{path}")
    probe = NetworkProbe()

    assert why == await failure(spec, probe)
    await probe.close()


UNREACHED = {
    "nobody listens, but the way is open": (SentinelSpec("s", Sense.ZONE, "a", 5.0, 2.0, host="127.0.0.1", port=1), ""),
    "a dependency refuses": (
        SentinelSpec("s", Sense.DEPENDENCY, "db", 5.0, 2.0, host="127.0.0.1", port=1),
        "connection refused",
    ),
    "a name that nobody has": (
        SentinelSpec("s", Sense.SIGHT, "", 5.0, 5.0, host="sickbay.invalid", port=1),
        "the name does not resolve",
    ),
    "such a name in a URL": (
        SentinelSpec("s", Sense.SIGHT, "", 5.0, 5.0, url="http://sickbay.invalid/"),
        "the name does not resolve",
    ),
}


@pytest.mark.parametrize("name", UNREACHED)
async def test_who_is_not_reached_says_why(name: str) -> None:
    """A refusal shows that the way is open; a name that does not resolve shows nothing."""
    spec, why = UNREACHED[name]
    probe = NetworkProbe()
    said = await failure(spec, probe)
    await probe.close()

    assert why in said
    assert bool(why) == bool(said)


async def test_names_are_tried_only_where_there_are_any() -> None:
    """A fleet of bare addresses needs no DNS."""
    names = Names()

    assert await names.resolve([])
    assert await names.resolve(["localhost"])
    assert not await names.resolve(["sickbay.invalid"])
    names.close()


async def test_what_is_found_is_reported_and_a_sentinel_that_is_gone_holds_nobody(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prober, our own listener, the configured ones, and how late we are ourselves."""
    for name in ("LOOK", "ROUND"):
        monkeypatch.setattr(f"supervisor.runtime.sentinels.{name}", 0.05)
    seen: list[SentinelReported | SelfReported] = []
    ports: list[int] = []
    prober = Prober(last={"lag_p99": 0.5, "deaf": "no answer within 2s"})
    sentinels = Sentinels(seen.append, prober, ports.append)
    ill = SentinelSpec("db", Sense.DEPENDENCY, "db", 0.02, 1.0, url=f"http://127.0.0.1:{port}/ill")
    sentinels.configure([ill], [10.0, 2.0])
    task = asyncio.create_task(sentinels.run())
    async with asyncio.timeout(5):
        while not any(isinstance(s, SentinelReported) and not s.ok and s.name == "loopback" for s in seen):
            await asyncio.sleep(0.02)
        while SentinelReported("db", False, "HTTP 503, expected below 400", Sense.DEPENDENCY, "db") not in seen:
            await asyncio.sleep(0.02)
        sentinels.configure([], [10.0])
        while not any(isinstance(s, SelfReported) for s in seen):
            await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        word = await reader.read(64)
        writer.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    last = [s for s in seen if isinstance(s, SentinelReported) and s.name == "db"][-1]

    assert SentinelReported("prober", True, "") in seen
    assert SentinelReported("db", True, "", Sense.DEPENDENCY, "db", gone=True) == last
    assert 0.25 == max(s.start_delay for s in seen if isinstance(s, SelfReported))
    assert b"sickbay\n" == word
