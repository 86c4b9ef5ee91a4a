"""What comes from elsewhere, and what was measured, over real HTTP: Alertmanager's webhook, and numbers to look at."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import pytest_asyncio
from playwright.async_api import expect

from supervisor.core.model import Instance
from supervisor.core.signals import Result
from supervisor.core.terms import Lifecycle, Mode, Status
from supervisor.surfaces.web.page import measure
from tests import stages
from tests.surfaces.browser import visit
from tests.surfaces.front import HOSTILE, Front, journal, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

SETTINGS = stages.settings()
RECORDS = journal(SETTINGS, mode=Mode.OBSERVE)
TOKEN = "correct horse battery staple"
ALERT = {"status": "firing", "labels": {}, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "f"}
WEBHOOK: dict[str, Any] = {"version": "4", "alerts": [ALERT]}


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A server."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as made:
        yield made


async def post(front: Front, socket: Path | None = None, **request: Any) -> tuple[int, str]:
    """Tell of alerts over loopback or over a unix socket; return the status and the sentence."""
    connector = aiohttp.UnixConnector(str(socket)) if socket else None
    there = "http://localhost" if socket else f"http://127.0.0.1:{front.port}"
    async with (
        aiohttp.ClientSession(there, connector=connector) as session,
        session.post("/api/v1/alerts", **({"json": WEBHOOK} | request)) as answer,
    ):
        document = await answer.json()
        return answer.status, document.get("text") or document["error"]


def bearer(token: str) -> dict[str, str]:
    """Return what Alertmanager sends."""
    return {"Authorization": f"Bearer {token}"}


async def test_loopback_takes_alerts_from_whoever_knows_the_token(front: Front, tmp_path: Path) -> None:
    """And from nobody where there is none; the unix socket is its own key."""
    assert (403, "this listener takes no alerts: set a `token` in [alertmanager]") == await post(front)
    front.server.alerting.use(TOKEN)
    wrong = [{}, bearer("guess"), bearer(""), {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}]
    assert [401] * 5 == [(await post(front, headers=headers))[0] for headers in wrong]
    assert [] == front.told
    assert (200, "1 fire") == await post(front, headers=bearer(TOKEN))
    front.server.alerting.use("")
    assert 403 == (await post(front, headers=bearer("")))[0]
    assert (200, "1 fire") == await post(front, tmp_path / "s.sock")
    assert [WEBHOOK] * 2 == front.told


BODIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "a form": ({"json": None, "data": {"a": "b"}}, 415, "expected application/json"),
    "no JSON": ({"json": None, "data": b"{"}, 400, "alerts: the body is no JSON"),
    "a deep one": ({"json": None, "data": b"[" * 60_000}, 400, "alerts: the body is no JSON"),
    "what is understood by nobody": ({"json": [1]}, 400, "alerts: body: expected a table"),
    "two thirds of a MiB": ({"json": {"version": "4", "alerts": ["x" * 700_000]}}, 200, "1 fire"),
    "more than a MiB": ({"json": None, "data": b" " * 1_100_000}, 413, "entity too large"),
    "another host": ({"headers": bearer(TOKEN) | {"Host": "evil.example"}}, 421, "answers to localhost only"),
}


@pytest.mark.parametrize("row", BODIES)
async def test_a_body_is_taken_or_refused_in_a_sentence(front: Front, row: str) -> None:
    """Hostile or large."""
    request, status, sentence = BODIES[row]
    front.server.alerting.use(TOKEN)
    if isinstance(data := request.get("data"), bytes):
        request = request | {"data": io.BytesIO(data), "headers": bearer(TOKEN) | {"Content-Type": "application/json"}}
    found = await post(front, **({"headers": bearer(TOKEN)} | request))

    assert (status, True) == (found[0], sentence in found[1]), found


async def test_the_webhook_is_described(front: Front) -> None:
    """What Alertmanager sends fits, and a body that does not say what fires does not."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{front.port}/api/v1/openapi.json") as answer,
    ):
        operation = (await answer.json())["paths"]["/api/v1/alerts"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    jsonschema.validate(WEBHOOK, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": "4", "alerts": [{}]}, schema)
    assert {"200", "400", "401", "403", "413", "415", "421"} == set(operation["responses"])


def measured(front: Front) -> str:
    """Have numbers of a machine, one of them with a hostile name; return its id."""
    name = next(i.id for i in front.engine.ctx.world.all(Instance) if i.lifecycle is Lifecycle.IN_SERVICE)
    now = front.engine.ctx.now.boot
    front.measured.take(
        Result(
            name, "queue", Status.OK, False, now - 60 + n, now - 60 + n, "",
            {"age_seconds": n / 1000, "load_ratio": n / 80, HOSTILE: float(n)},
        )
        for n in range(60)
    )  # fmt: skip
    return name


async def test_numbers_are_served_with_their_times(front: Front) -> None:
    """Oldest first; of an instance without any, none."""
    name = measured(front)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session:
        async with session.get(f"/api/v1/instances/{name}/metrics") as answer:
            found = await answer.json()
        async with session.get("/api/v1/instances/i-none/metrics") as answer:
            assert 404 == answer.status

    assert {("queue", "age_seconds"), ("queue", "load_ratio"), ("queue", HOSTILE)} == {
        (m["check"], m["label"]) for m in found
    }
    points = next(m["points"] for m in found if m["label"] == "age_seconds")
    assert [n / 1000 for n in range(60)] == [point["value"] for point in points]
    assert sorted(point["at"] for point in points) == [point["at"] for point in points]


async def test_numbers_are_plotted_on_the_machines_page(front: Front) -> None:
    """In Chromium: a line for each, in units that people read, and a hostile name stays text."""
    name = measured(front)
    async with visit(f"http://127.0.0.1:{front.port}/instances/{name}") as there:
        await expect(there.page.locator("svg.spark polyline")).to_have_count(3)
        row = there.page.locator("tr", has_text="age_seconds")
        await expect(row).to_contain_text("59 ms")
        await expect(row).to_contain_text("60 since")
        await expect(there.page.locator("tr", has_text="load_ratio")).to_contain_text("73.75 %")
        await expect(there.page.locator("main")).to_contain_text("<script>document.title='owned'")
        box = await there.page.locator("svg.spark polyline").first.bounding_box()
        assert box is not None
        assert box["width"] > 100

    assert [] == there.complaints


UNITS = {
    ("age_seconds", 0.0): "0 s",
    ("age_seconds", 0.0123): "12.3 ms",
    ("age_seconds", 1e-7): "0.1 µs",
    ("age_seconds", 90.0): "90 s",
    ("free_bytes", 1536.0): "1.5 KiB",
    ("free_bytes", 3 * 2.0**30): "3 GiB",
    ("free_bytes", 12.0): "12 B",
    ("error_ratio", 0.15): "15 %",
    ("length", 12345678.0): "1.23457e+07",
    ("length", -3.0): "-3",
}


@pytest.mark.parametrize("row", UNITS, ids=str)
def test_a_number_is_read_in_its_base_unit(row: tuple[str, float]) -> None:
    """As its label ends."""
    label, value = row

    assert UNITS[row] == measure(value, label)
