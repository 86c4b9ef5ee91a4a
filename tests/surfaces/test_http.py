"""The HTTP API and the page's HTML over real HTTP: what is described is what is served, and nothing can be slipped in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator

from supervisor.core.fleet import Fleet
from supervisor.core.model import Identity, Incident, Instance, Record, Slot
from supervisor.core.signals import Noticed, OperatorAsked, Reply, TellChange
from supervisor.core.terms import Cause, ChangeKind, Lifecycle, Mode
from supervisor.core.verdict import Explanation, Verdict
from supervisor.surfaces.web import acting
from tests import stages
from tests.surfaces.front import HOSTILE, Front, journal, serving

pytestmark = pytest.mark.acceptance

SETTINGS = stages.settings()
RECORDS = journal(SETTINGS, mode=Mode.OBSERVE)
ATTACKED = journal(SETTINGS, says=HOSTILE, mode=Mode.OBSERVE)

Json = Any


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """A server with a story."""
    async with serving(Front(RECORDS, SETTINGS, "https://sickbay.example.org/"), tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def web(front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody on loopback."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session:
        yield session


@pytest_asyncio.fixture
async def operator(front: Front, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody on the unix socket."""
    connector = aiohttp.UnixConnector(str(tmp_path / "s.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


def closed(schema: Json) -> Json:
    """Return the schema with every object closed: a key that is not described is an error."""
    if isinstance(schema, dict):
        made = {key: closed(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            made["additionalProperties"] = False
        return made
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


async def test_the_description_is_valid_openapi(web: aiohttp.ClientSession) -> None:
    """Generators and browsers of APIs can read it."""
    async with web.get("/api/v1/openapi.json") as answer:
        document = await answer.json()

    OpenAPIV31SpecValidator(document).validate()
    assert "3.1.0" == document["openapi"]
    assert {"/api/v1/status", "/api/v1/pause", "/api/v1/events", "/healthz"} <= set(document["paths"])


async def test_every_answer_is_as_described_to_the_last_key(web: aiohttp.ClientSession, front: Front) -> None:
    """Each path that reads is asked, with every story there is, and held to its own description."""
    async with web.get("/api/v1/openapi.json") as answer:
        document = closed(await answer.json())
    world = front.engine.ctx.world
    names = {"fleets": ["web"], "instances": [i.id for i in world.all(Instance)]}
    numbers = [str(i.id) for i in world.all(Incident)]
    asked = 0
    for path, operations in document["paths"].items():
        described = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in described or path.endswith("openapi.json"):
            continue
        schema = described["application/json"]["schema"] | {"components": document["components"]}
        values = numbers if "{number}" in path else names[path.split("/")[3]] if "{name}" in path else [""]
        for value in values:
            async with web.get(path.format(name=value, number=value)) as answer:
                assert 200 == answer.status, path
                jsonschema.validate(await answer.json(), schema)
                asked += 1

    assert asked > 10


VERBS: dict[str, dict[str, Any]] = {
    "pause": {"name": "ada", "seconds": 60},
    "resume": {"name": "ada"},
    "hold": {"instance": "{instance}", "seconds": 60},
    "unhold": {"instance": "{instance}"},
    "approve": {"incident": 1},
    "reject": {"incident": 1},
    "release": {"instance": "i-none"},
    "purge": {"instance": "i-none"},
    "retry": {"fleet": "web", "slot": 1},
    "promote": {"fleet": "web"},
    "changes": {"kind": "dependency", "target": "db", "text": "moved to the new cluster", "fleet": "web"},
    "allow": {"fleet": "web", "removals": 3, "seconds": 1800},
}


async def test_every_verb_takes_what_its_description_says(
    operator: aiohttp.ClientSession, web: aiohttp.ClientSession, front: Front
) -> None:
    """A body that fits the schema is understood, the reason reaches the audit; on loopback nothing acts."""
    async with web.get("/api/v1/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    instance = next(i.id for i in front.engine.ctx.world.all(Instance) if i.lifecycle is Lifecycle.IN_SERVICE)
    described = {path.rpartition("/")[2] for path, operations in paths.items() if "post" in operations}
    described.remove("alerts")  # it asks the engine for nothing, see test_alerting.py
    assert described == set(VERBS)
    for verb, fields in VERBS.items():
        body = {k: v.format(instance=instance) if isinstance(v, str) else v for k, v in fields.items()}
        body["reason"] = "a test"
        jsonschema.validate(
            body, paths[f"/api/v1/{verb}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        )
        async with operator.post(f"/api/v1/{verb}", json=body) as answer:
            assert answer.status in (200, 409), await answer.text()
        async with web.post(f"/api/v1/{verb}", json=body) as answer:
            assert 403 == answer.status
    assert {"a test"} == {asked.reason for asked in front.asked}
    assert len(VERBS) == len(front.asked)


async def test_a_repeated_request_acts_once(operator: aiohttp.ClientSession, front: Front) -> None:
    """The same Idempotency-Key is answered with the same words, also while the first still waits for its answer."""

    async def pause(name: str = "ada") -> tuple[int, str]:
        headers = {"Idempotency-Key": "k"}
        async with operator.post("/api/v1/pause", json={"name": name}, headers=headers) as answer:
            return answer.status, await answer.text()

    front.slow = asyncio.Event()
    at_once = [asyncio.create_task(pause()) for _ in range(3)]
    await asyncio.sleep(0.1)
    front.slow.set()
    answers = {*await asyncio.gather(*at_once), await pause()}

    assert 1 == len(front.asked)
    assert 1 == len(answers)
    status, text = await pause("grace")
    assert (409, True) == (status, "with another request" in text)


BAD: dict[str, tuple[str, str, Json, dict[str, str], int, str]] = {
    "a fleet that is not there": ("GET", "/api/v1/fleets/db", None, {}, 404, "no fleet 'db' is configured; known: web"),
    "an instance that is not there": ("GET", "/api/v1/instances/i-0", None, {}, 404, "no instance 'i-0' is known"),
    "an incident that is no number": ("GET", "/api/v1/incidents/x", None, {}, 404, "no incident 'x' is known"),
    "a huge incident number": ("GET", "/api/v1/incidents/" + "9" * 400, None, {}, 404, "is known"),
    "a limit that is no number": ("GET", "/api/v1/incidents?limit=many", None, {}, 400, "expected a whole number"),
    "a limit beyond reason": (
        "GET",
        "/api/v1/incidents?limit=99999999999999",
        None,
        {},
        400,
        "expected a whole number",
    ),
    "a limit behind a thousand noughts": (
        "GET",
        "/api/v1/incidents?limit=" + "0" * 1000 + "1" + "9" * 6000,
        None,
        {},
        400,
        "expected a whole number",
    ),
    "a limit in disguise": ("GET", "/api/v1/incidents?limit=00000000199999", None, {}, 400, "expected a whole number"),
    "a flag that is none": ("GET", "/api/v1/quarantine?ended=yes", None, {}, 400, "expected 0 or 1"),
    "a path that is not there": ("GET", "/api/v1/nothing", None, {}, 404, "GET /api/v1/nothing: not found"),
    "a method that is not there": ("DELETE", "/api/v1/status", None, {}, 405, "method not allowed"),
    "a verb that is not there": ("POST", "/api/v1/destroy", {}, {}, 404, "POST /api/v1/destroy: not found"),
    "a body that is no JSON": ("POST", "/api/v1/pause", "{", {}, 400, "the body is no JSON object"),
    "a body that is a list": ("POST", "/api/v1/pause", [], {}, 400, "the body is no JSON object"),
    "a body nested too deep": ("POST", "/api/v1/pause", "[" * 30_000, {}, 400, "the body is no JSON object"),
    "a field of the wrong type": ("POST", "/api/v1/approve", {"incident": "x"}, {}, 400, "approve: incident: "),
    "a field too many": ("POST", "/api/v1/resume", {"name": "a", "nmae": 1}, {}, 400, "resume: nmae: "),
    "a field too few": ("POST", "/api/v1/resume", {}, {}, 400, "resume: name: "),
    "a reason that is no text": (
        "POST",
        "/api/v1/resume",
        {"name": "a", "reason": 1},
        {},
        400,
        "reason: expected text",
    ),
    "a body of another type": (
        "POST",
        "/api/v1/pause",
        "name=x",
        {"Content-Type": "text/plain"},
        415,
        "application/json",
    ),
    "a body that is too large": ("POST", "/api/v1/pause", {"name": "x" * 70_000}, {}, 413, "too large"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_one_sentence(operator: aiohttp.ClientSession, front: Front, name: str) -> None:
    """With the right status, as JSON, and nothing reaches the engine."""
    method, path, body, headers, status, expected = BAD[name]
    raw = body if isinstance(body, str) else None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"} | headers

    async with operator.request(method, path, data=raw, headers=headers) as answer:
        found = await answer.json()

    assert status == answer.status
    assert expected in found["error"]
    assert [] == front.asked


async def test_a_rebound_name_reads_nothing(web: aiohttp.ClientSession) -> None:
    """Only our own names are answered: a foreign page can't talk to the listener through its own DNS."""
    for host, expected in (("evil.example.org", 421), ("sickbay.example.org", 200), ("localhost:8750", 200)):
        for path in ("/", "/api/v1/status", "/static/live.js"):
            async with web.get(path, headers={"Host": host}) as answer:
                assert expected == answer.status, (host, path)


async def test_every_answer_carries_its_headers(web: aiohttp.ClientSession) -> None:
    """Errors included: nothing is sniffed, framed, cached or run that we did not write."""
    for path in ("/", "/api/v1/status", "/static/page.css", "/api/v1/nothing", "/nothing", "/healthz"):
        async with web.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert "nosniff" == answer.headers["X-Content-Type-Options"]
            assert "no-referrer" == answer.headers["Referrer-Policy"]


@pytest.mark.parametrize("path", ["/instances/i-0", "/incidents/99", "/incidents/x"])
async def test_a_page_that_is_not_there_is_said_to_a_person(web: aiohttp.ClientSession, path: str) -> None:
    """A link from an old message leads to a sentence and a way back, not to JSON."""
    async with web.get(path) as answer:
        text = await answer.text()
        assert 404 == answer.status
        assert "text/html" == answer.content_type
    assert "is known" in text
    assert 'href="/"' in text


async def test_a_very_large_fleet_is_drawn_in_part(tmp_path: Path) -> None:
    """What a page costs is bounded: the daemon stands still for no reader, whatever a fleet's size."""
    settings = stages.settings(stages.fleet(3000))
    now = datetime.now(UTC)
    records: list[Record] = [Identity("u", 1, now)]
    for number in range(3000):
        name = f"i-{number:08x}"
        records.append(
            Instance(
                name, "web", Lifecycle.IN_SERVICE, number, "img-1", "1.0.0", "a", "127.0.0.1", now, now, served=True
            )
        )
        records.append(Slot("web", number, occupant=name))
    async with (
        serving(Front(records, settings), tmp_path) as front,
        aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session,
    ):
        async with session.get("/") as answer:
            text = await answer.text()
        async with session.get("/api/v1/fleets/web") as answer:
            assert 3000 == len((await answer.json())["instances"])

    assert 1000 == text.count('class="tile ')
    assert "2,000 more machines are not drawn" in text


async def test_nobody_is_sent_back_to_bed_in_trouble(tmp_path: Path) -> None:
    """Without a fleet there is nothing to watch, and the page says what is missing instead."""
    async with (
        serving(Front([Identity("u", 1, datetime.now(UTC))], replace(SETTINGS, fleets={})), tmp_path) as front,
        aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session,
        session.get("/") as answer,
    ):
        text = await answer.text()

    assert "Nobody needs you" not in text
    assert "No fleet is configured" in text


async def test_the_page_shows_what_a_person_looks_for(web: aiohttp.ClientSession, front: Front) -> None:
    """Fleet state, who is sick and why, what holds us back with value and threshold, what is kept, what was healed."""
    async with web.get("/") as answer:
        text = await answer.text()
    sick = next(i for i in front.engine.ctx.world.all(Incident) if i.held)

    for expected in (
        "of 6 serve",
        sick.instance,
        "HTTP 500, expected 200",
        "mode: observe (needs auto)",
        "was replaced by",
        "Quarantine",
        "the cloud says stopped",
        "this is a warning",
        "channel_not_found",
        "Healing last proved",
    ):
        assert expected in text


async def test_a_verdict_is_shown_with_its_evidence_and_foreign_text_stays_text(
    web: aiohttp.ClientSession, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong, how sure, what speaks for it, what was changed; and whoever tells of a change writes no HTML."""
    monkeypatch.setattr(Fleet, "verdict_on", lambda fleet, _: fleet.verdict)
    front.step(OperatorAsked("1", TellChange(ChangeKind.NETWORK, HOSTILE, HOSTILE), "ada", "test"))
    fleet = front.engine.ctx.fleets["web"]
    weighed = (Explanation(Cause.ZONE, "zone", "a", 0.98, ("3 of 3 there are unreachable", HOSTILE)),)
    fleet.verdict = Verdict(Cause.ZONE, "zone", "a", 0.98, front.boot, weighed, f"zone a is down {HOSTILE}")
    instance = next(i.id for i in front.engine.ctx.world.all(Instance) if i.lifecycle is Lifecycle.IN_SERVICE)
    pages = {}
    for path in ("/", "/fleets/web", f"/instances/{instance}"):
        async with web.get(path) as answer:
            assert 200 == answer.status
            pages[path] = await answer.text()
            assert "<script>document" not in pages[path]
            assert "\x1b" not in pages[path]
            assert "zone a is down" in pages[path]
            assert "98 % sure" in pages[path]
    assert "impaired" in pages["/"]
    assert "3 of 3 there are unreachable" in pages["/fleets/web"]
    assert "Changed of late" in pages["/fleets/web"]


@pytest.mark.parametrize("path", ["/", "/incidents/{incident}", "/instances/{instance}"])
async def test_foreign_text_stays_text(tmp_path: Path, path: str) -> None:
    """What a sick machine says is shown, escaped, and without control characters."""
    front = Front(ATTACKED, SETTINGS)
    sick = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
    async with (
        serving(front, tmp_path),
        aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session,
        session.get(path.format(incident=sick.id, instance=sick.instance)) as answer,
    ):
        text = await answer.text()

    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;document" in text
    assert "\x1b" not in text


async def test_events_arrive_as_they_happen_and_are_caught_up(web: aiohttp.ClientSession, front: Front) -> None:
    """Who comes back with the last number it saw misses nothing; a number from another life gets a reset."""

    async def read(last: str, count: int) -> list[Json]:
        headers = {"Last-Event-ID": last} if last else {}
        found: list[Json] = []
        async with asyncio.timeout(5), web.get("/api/v1/events", headers=headers) as answer:
            kind = ""
            while len(found) < count:
                line = (await answer.content.readline()).decode().strip()
                kind = line[7:] if line.startswith("event: ") else kind
                if line.startswith("data: "):
                    found.append((kind, json.loads(line[6:])))
        return found

    reading = asyncio.create_task(read("", 2))
    await asyncio.sleep(0.1)
    front.step(Noticed("config.loaded", "one"))
    front.step(Noticed("config.loaded", f"two {HOSTILE}"))
    seen = await reading
    last = seen[0][1]["id"]

    assert ["happened", "happened"] == [kind for kind, _ in seen]
    assert "\x1b" not in seen[1][1]["text"]
    assert [seen[1]] == await read(str(last), 1)
    assert "reset" == (await read("999999", 1))[0][0]


async def test_numbers_of_events_are_never_used_twice(web: aiohttp.ClientSession, front: Front, tmp_path: Path) -> None:
    """Who saw an earlier daemon's fifth event is not told that the next one's first five were seen."""
    front.step(*(Noticed("config.loaded", "before") for _ in range(3)))
    (tmp_path / "later").mkdir()
    async with serving(Front(RECORDS, SETTINGS), tmp_path / "later") as later:
        later.step(*(Noticed("config.loaded", "after") for _ in range(9)))
        seen = front.server.events.last
        headers = {"Last-Event-ID": str(seen)}
        async with (
            asyncio.timeout(5),
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{later.port}/api/v1/events", headers=headers) as answer,
        ):
            while b"event" not in (line := await answer.content.readline()):
                pass

    assert b"event: reset\n" == line


@pytest.mark.parametrize("last", ["9" * 6000, "-1", "x", "1.5"])
async def test_an_odd_event_number_is_no_error(web: aiohttp.ClientSession, last: str) -> None:
    """A stream begins whatever a reader claims to have seen."""
    async with web.get("/api/v1/events", headers={"Last-Event-ID": last}) as answer:
        assert 200 == answer.status


class Stuck(Front):
    """A server whose engine commits nothing."""

    async def ask(self, request: OperatorAsked) -> Reply:
        """Wait for ever."""
        self.asked.append(request)
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_request_without_an_answer_says_that_it_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the state file takes nothing, nobody hears that nothing will come of what they asked."""
    monkeypatch.setattr(acting, "ANSWER_LIMIT", 0.05)
    async with (
        serving(Stuck(RECORDS, SETTINGS), tmp_path),
        aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(tmp_path / "s.sock"))) as session,
        session.post("/api/v1/pause", json={"name": "ada"}) as answer,
    ):
        assert 503 == answer.status
        assert "is carried out as soon as it does" in (await answer.json())["error"]


async def test_a_reader_that_never_reads_is_cut_off(web: aiohttp.ClientSession, front: Front) -> None:
    """It costs a bounded queue, and delays nobody."""
    async with web.get("/api/v1/events") as answer:
        await answer.content.readline()
        for number in range(2000):
            front.server.events.publish(front.step(Noticed("config.loaded", f"{number} " + "x" * 1000)).events)
        assert not front.server.events.readers


async def test_readiness_names_what_is_missing(web: aiohttp.ClientSession, front: Front) -> None:
    """Ready when it can watch and commit; healthy whenever the process answers."""
    async with web.get("/readyz") as answer:
        assert 200 == answer.status
    front.unready = "the state file refuses commits"
    async with web.get("/readyz") as answer:
        assert (503, "the state file refuses commits") == (answer.status, (await answer.json())["error"])
    async with web.get("/healthz") as answer:
        assert (200, "ok\n") == (answer.status, await answer.text())
