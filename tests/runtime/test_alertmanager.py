"""How alerts are heard of: by a webhook, and by asking; what is told by either is hostile until it is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from supervisor.runtime.alertmanager import Alertmanager, AlertmanagerSpec

KNOWN = {"i-1": "i-1", "192.0.2.1": "i-1", "i-2": "i-2", "2001:db8::2": "i-2"}


def alert(name: str, instance: str, **more: Any) -> dict[str, Any]:
    """Return what a webhook tells of an alert."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "instance": instance, "severity": "page"},
        "annotations": {"description": "at length", "summary": f"{name} at \x1b[31mlast"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{name} {instance}"[:64],
        **more,
    }


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Return a webhook's body."""
    return {"version": "4", "status": "firing", "groupKey": "{}", "truncatedAlerts": 0, "alerts": list(alerts)}


def names(heard: Alertmanager, instance: str = "i-1") -> list[str] | None:
    """Return what fires for an instance, None while nobody is heard."""
    found = heard.of(instance)
    return None if found is None else [report.name for report in found]


def test_a_webhook_tells_of_alerts_and_of_their_end() -> None:
    """Before the first one nothing is known; then what it did not tell of does not fire."""
    heard = Alertmanager(lambda: KNOWN)

    assert None is names(heard)
    assert "1 fire, 0 ended" == heard.take(webhook(alert("Errors", "192.0.2.1:9100")))
    assert (["Errors"], []) == (names(heard), names(heard, "i-2"))
    report = (heard.of("i-1") or [])[0]
    assert ("Errors at last", "page") == (report.text, report.severity)
    assert report.age > 1e6
    assert "0 fire, 1 ended" == heard.take(webhook(alert("Errors", "192.0.2.1:9100", status="resolved")))
    assert [] == names(heard)


WHOSE = {
    "i-1": "i-1",
    "i-1:9100": "i-1",
    "192.0.2.1": "i-1",
    "192.0.2.1:80": "i-1",
    "2001:db8::2": "i-2",
    "[2001:db8::2]:9100": "i-2",
}


@pytest.mark.parametrize("label", WHOSE)
def test_an_instance_is_named_by_id_or_address(label: str) -> None:
    """With a port or without."""
    heard = Alertmanager(lambda: KNOWN)
    heard.take(webhook(alert("Errors", label)))

    assert ["Errors"] == names(heard, WHOSE[label])


def test_of_strangers_only_their_number_is_kept() -> None:
    """Whoever is told of and is not ours leaves no trace."""
    heard = Alertmanager(lambda: KNOWN)
    said = heard.take(webhook(*(alert("Errors", f"198.51.100.{n}") for n in range(9)), alert("NoLabel", "")))

    assert "0 fire, 0 ended, 10 of no instance that is known" == said
    assert 10 == heard.strangers


def test_too_many_are_counted() -> None:
    """One noisy instance does not fill the memory."""
    heard = Alertmanager(lambda: KNOWN)

    assert "40 fire, 0 ended, 8 left out for want of room" == heard.take(
        webhook(*(alert(f"A{n}", "i-1") for n in range(40)))
    )
    assert 32 == len(names(heard) or ())


def test_another_label_may_name_the_instance() -> None:
    """It is a setting."""
    heard = Alertmanager(lambda: KNOWN)
    heard.configure(AlertmanagerSpec(instance_label="node"))
    heard.take(webhook(alert("Errors", "-", labels={"alertname": "Errors", "node": "i-2"})))

    assert ["Errors"] == names(heard, "i-2")


BAD: dict[str, tuple[object, str]] = {
    "a list": ([], "body: Input should be a valid dictionary or instance of _Webhook"),
    "another version": ({"version": "5", "alerts": []}, "version: found '5', expected the webhook's version 4"),
    "no alerts": ({"version": "4"}, "alerts: Field required"),
    "labels that are none": (
        webhook(alert("a", "b", labels=[1])),
        "alerts.0.labels: Input should be a valid dictionary",
    ),
    "a time that is none": (
        webhook(alert("a", "b", startsAt="soon")),
        "alerts.0.startsAt: Input should be a valid datetime",
    ),
    "a fingerprint without end": (
        webhook(alert("a", "b", fingerprint="f" * 65)),
        "alerts.0.fingerprint: String should have",
    ),
}


@pytest.mark.parametrize("row", BAD)
def test_a_body_that_is_none_is_refused_whole(row: str) -> None:
    """In a sentence, and nobody counts as heard."""
    body, sentence = BAD[row]
    heard = Alertmanager(lambda: KNOWN)
    with pytest.raises(ValueError, match="^" + sentence.replace("[", "\\[")):
        heard.take(body)

    assert None is names(heard)


class Stand:
    """An Alertmanager's API."""

    def __init__(self) -> None:
        """Nothing fires."""
        self.fires: list[dict[str, Any]] = []
        self.body = ""
        self.status = 200
        self.asked = 0
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer."""
        assert {"active": "true", "silenced": "false", "inhibited": "false"} == dict(request.query)
        self.asked += 1
        return web.Response(text=self.body or json.dumps(self.fires), status=self.status)


@asynccontextmanager
async def asking(stand: Stand) -> AsyncIterator[Alertmanager]:
    """Ask a stand-in every tenth of a second."""
    app = web.Application()
    app.router.add_get("/api/v2/alerts", stand.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand.port = runner.addresses[0][1]
    heard = Alertmanager(lambda: KNOWN)
    heard.configure(AlertmanagerSpec(url=f"http://127.0.0.1:{stand.port}/", interval=0.05, limit=0.2))
    task = asyncio.create_task(heard.run())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


async def rounds(stand: Stand, more: int = 2) -> None:
    """Wait until it was asked some more times."""
    goal = stand.asked + more
    async with asyncio.timeout(20):
        while stand.asked < goal:
            await asyncio.sleep(0.01)


async def test_asking_finds_what_fires_and_what_has_ended() -> None:
    """Also what was told while we were down."""
    stand = Stand()
    stand.fires = [alert("Errors", "i-1", status={"state": "active"})]
    async with asking(stand) as heard:
        await rounds(stand)
        assert ["Errors"] == names(heard)
        stand.fires = []
        await rounds(stand)
        assert [] == names(heard)


BROKEN: dict[str, tuple[int, str]] = {
    "an error": (500, "oops"),
    "no JSON": (200, "<html>"),
    "another JSON": (200, '{"status": "success"}'),
    "a deep one": (200, "[" * 100_000),
    "far too much": (200, "[" + " " * (2**20 + 5) + "]"),
}


@pytest.mark.parametrize("row", BROKEN)
async def test_an_answer_that_is_none_leaves_nothing_known(row: str) -> None:
    """An Alertmanager that is broken is not one where nothing fires."""
    stand = Stand()
    stand.status, stand.body = BROKEN[row]
    async with asking(stand) as heard:
        await rounds(stand)
        assert None is names(heard)


async def test_when_it_falls_silent_nothing_is_known_any_more() -> None:
    """After some intervals, and until it answers again."""
    stand = Stand()
    async with asking(stand) as heard:
        await rounds(stand)
        assert [] == names(heard)
        stand.status = 503
        async with asyncio.timeout(20):
            while names(heard) is not None:
                await asyncio.sleep(0.02)
        stand.status = 200
        await rounds(stand)
        assert [] == names(heard)
