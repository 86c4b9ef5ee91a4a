"""Who may do what, over real sockets: every path of the API by role, tokens, names, origins, and who sits on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from supervisor.core.model import AuditEntry, Identity, Record
from supervisor.core.terms import AccessRole
from supervisor.store import AuditFile, SqliteStore
from supervisor.surfaces.access import Rules, Token, digest, is_loopback, new_token
from supervisor.surfaces.web import acting, connections
from supervisor.surfaces.web.gate import WRONG_AT_ONCE, WRONG_EVERY, Attempts, Peer, role_of
from tests import stages
from tests.surfaces.front import Front, serving
from tests.surfaces.somebody import ask_as

pytestmark = pytest.mark.acceptance

READ, OPERATE, ADMIN = AccessRole.READ, AccessRole.OPERATE, AccessRole.ADMIN
ROOM = 4096  # descriptors
SETTINGS = stages.settings()
RECORDS: list[Record] = [Identity("u", 1, datetime.now(UTC))]
SECRETS = {role: new_token(str(role), role)[0] for role in AccessRole}
TOKENS = tuple(Token(str(role), role, digest(secret)) for role, secret in SECRETS.items())
CLOSED = Rules(anonymous=None, tokens=TOKENS)

ROUTES: dict[str, AccessRole | None] = {
    "GET /api/v1/status": READ,
    "GET /api/v1/fleets": READ,
    "GET /api/v1/fleets/{name}": READ,
    "GET /api/v1/fleets/{name}/explain": READ,
    "GET /api/v1/instances/{name}": READ,
    "GET /api/v1/instances/{name}/explain": READ,
    "GET /api/v1/instances/{name}/metrics": READ,
    "GET /api/v1/incidents": READ,
    "GET /api/v1/incidents/{number}": READ,
    "GET /api/v1/changes": READ,
    "GET /api/v1/quarantine": READ,
    "GET /api/v1/events": READ,
    "GET /api/v1/openapi.json": READ,
    "GET /metrics": READ,
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /api/v1/audit": OPERATE,
    "GET /api/v1/audit/verify": OPERATE,
    "POST /api/v1/pause": OPERATE,
    "POST /api/v1/resume": OPERATE,
    "POST /api/v1/hold": OPERATE,
    "POST /api/v1/unhold": OPERATE,
    "POST /api/v1/approve": OPERATE,
    "POST /api/v1/reject": OPERATE,
    "POST /api/v1/acknowledge": OPERATE,
    "POST /api/v1/release": OPERATE,
    "POST /api/v1/retry": OPERATE,
    "POST /api/v1/changes": OPERATE,
    "POST /api/v1/purge": ADMIN,
    "POST /api/v1/promote": ADMIN,
    "POST /api/v1/allow": ADMIN,
}
OWN = {
    "POST /api/v1/alerts"
}  # Alertmanager's webhook knows a token of its own besides: tests/surfaces/test_alerting.py
PAGES = {"GET /": READ, "GET /incidents/1": READ, "GET /instances/i": READ, "GET /fleets/web": READ}


@pytest.fixture
def audit(tmp_path: Path) -> AuditFile:
    """An audit log with two entries."""
    store = SqliteStore(tmp_path / "state.db")
    store.load()
    at = datetime(2026, 1, 2, tzinfo=UTC)
    store.commit([AuditEntry(n, at.replace(day=n), "ada", "test", "operator.pause", "x") for n in (1, 2)], [])
    store.close()
    return AuditFile(tmp_path / "state.db")


@pytest_asyncio.fixture
async def front(tmp_path: Path, audit: AuditFile) -> AsyncIterator[Front]:
    """A server that answers nobody on TCP without a token."""
    async with serving(Front(RECORDS, SETTINGS, CLOSED, audit), tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def web(front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody on TCP."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session:
        yield session


def bearer(role: AccessRole | None) -> dict[str, str]:
    """Return what a token's owner sends."""
    return {} if role is None else {"Authorization": f"Bearer {SECRETS[role]}"}


async def ask(web: aiohttp.ClientSession, route: str, headers: dict[str, str], **values: Any) -> tuple[int, str]:
    """Ask for a path as it may be asked for; return the status, and a refusal's sentence."""
    method, _, path = route.partition(" ")
    body = None if method == "GET" else "{}"
    named = path.format(name="none", number="99")
    headers = {"Content-Type": "application/json", **headers}
    async with web.request(method, named, data=body, headers=headers, **values) as answer:
        assert "Set-Cookie" not in answer.headers
        if answer.content_type == "text/event-stream":
            return answer.status, ""
        text = await answer.text()
        return answer.status, json.loads(text)["error"] if answer.status >= 400 and "{" in text[:1] else ""


async def test_every_path_that_is_described_has_its_role(web: aiohttp.ClientSession) -> None:
    """A new path without a row in the table above is a decision that nobody made."""
    async with web.get("/api/v1/openapi.json", headers=bearer(READ)) as answer:
        paths = (await answer.json())["paths"]
    described = {
        f"{method.upper()} {path}": operation["x-role"]
        for path, found in paths.items()
        for method, operation in found.items()
    }

    assert {route: str(role or "none") for route, role in ROUTES.items()} | dict.fromkeys(OWN, "own") == described


async def test_each_role_may_what_the_table_says_and_no_more(web: aiohttp.ClientSession, front: Front) -> None:
    """Every path, asked by nobody, by a reader, an operator and an admin: too little is one sentence, and nothing acts."""
    for route, needs in {**ROUTES, **PAGES}.items():
        for role in (None, *AccessRole):
            status, sentence = await ask(web, route, bearer(role))
            if needs is None or (role is not None and role.covers(needs)):
                assert status not in (401, 403), (route, role, sentence)
            elif role is None:
                assert (401, True) == (status, f"needs the role {needs}: send a token" in sentence), (route, sentence)
            else:
                assert (403, f"this needs the role {needs}, and {role} has {role}") == (status, sentence), route
    assert all(asked.via == "token from 127.0.0.1" for asked in front.asked)


async def test_every_path_that_is_served_stands_behind_the_gate(front: Front, web: aiohttp.ClientSession) -> None:
    """Those of the page too, and whatever is added: who has no role sees health, style and script, and nothing else."""
    served = {
        str(r.resource.canonical) for runner in front.server._runners for r in runner.app.router.routes() if r.resource
    }
    opened = set()
    for path in served:
        async with web.get(path.format(name="x", number="1", file="live.js")) as answer:
            if answer.status not in (401, 405):
                opened.add(path)

    assert {"/healthz", "/readyz", "/static/{file}"} == opened


WITHOUT_TOKENS: dict[str, tuple[Rules, str, int, str]] = {
    "loopback reads": (Rules(), "GET /api/v1/status", 200, ""),
    "loopback does not act": (
        Rules(),
        "POST /api/v1/pause",
        403,
        "this listener only reads; operators use the unix socket",
    ),
    "nor does it show the audit log": (Rules(), "GET /api/v1/audit", 403, "this listener only reads"),
    "reading is switched off": (Rules(anonymous=None), "GET /api/v1/status", 403, "answers nobody without a token"),
    "and health is still told": (Rules(anonymous=None), "GET /healthz", 200, ""),
    "with tokens loopback still reads": (replace(CLOSED, anonymous=READ), "GET /", 200, ""),
    "and acting asks for one": (replace(CLOSED, anonymous=READ), "POST /api/v1/pause", 401, "send a token"),
}


@pytest.mark.parametrize("name", WITHOUT_TOKENS)
async def test_what_is_answered_without_a_token(front: Front, web: aiohttp.ClientSession, name: str) -> None:
    """Who configures no token keeps a page that can be read on the host itself, and only read."""
    front.server.gate.rules, route, expected, words = WITHOUT_TOKENS[name]
    status, sentence = await ask(web, route, {})

    assert expected == status
    assert words in sentence


async def test_not_ready_is_told_to_all_and_why_to_readers(front: Front, web: aiohttp.ClientSession) -> None:
    """A load balancer needs no token; what is wrong with us is nothing for strangers."""
    front.unready = "the state file refuses commits"

    assert (503, "not ready; who may read is told why") == await ask(web, "GET /readyz", {})
    assert (503, "the state file refuses commits") == await ask(web, "GET /readyz", bearer(READ))


# -- tokens


async def test_wrong_tokens_are_slowed_down_and_right_ones_never(front: Front, web: aiohttp.ClientSession) -> None:
    """Who guesses waits; whoever shares their address and has a token does not."""
    wrong = {"Authorization": "Bearer sickbay_wrong"}
    answers = [(await ask(web, "GET /api/v1/status", wrong))[0] for _ in range(WRONG_AT_ONCE + 3)]

    assert [401] * WRONG_AT_ONCE + [429] * 3 == answers
    async with web.get("/api/v1/status", headers=wrong) as refused:
        assert 0 < int(refused.headers["Retry-After"]) <= WRONG_EVERY
    assert (200, "") == await ask(web, "GET /api/v1/status", bearer(READ))


GARBLED = ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer \xff\xfe", "bearer " + "x" * 7000, SECRETS[READ]]


@pytest.mark.parametrize("given", GARBLED, ids=range(len(GARBLED)))
async def test_what_is_no_token_is_refused_in_a_sentence(web: aiohttp.ClientSession, given: str) -> None:
    """Whatever stands in the header."""
    status, sentence = await ask(web, "GET /api/v1/status", {"Authorization": given})

    assert 401 == status
    assert sentence


def test_wrong_tokens_are_counted_within_bounds() -> None:
    """A drop comes back every few seconds; an IPv6 network is one address; a million addresses take no more room."""
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(WRONG_AT_ONCE):
        assert 0 == attempts.wrong("2001:db8::1")
    assert 0 < attempts.wrong("2001:db8::2") <= WRONG_EVERY
    assert 0 == attempts.wrong("2001:db8:0:1::1")
    now[0] += WRONG_EVERY
    assert 0 == attempts.wrong("2001:db8::1")
    assert 0 < attempts.wrong("2001:db8::1")
    for number in range(3000):
        attempts.wrong(f"10.{number // 250}.0.{number % 250}")
    assert 1024 == len(attempts._spent)


def test_a_token_is_256_bits_and_is_not_in_its_table() -> None:
    """What is pasted into config.toml lets nobody in."""
    token, table = new_token("ci", OPERATE)

    assert len(token.removeprefix("sickbay_")) >= 43
    assert token not in table
    assert digest(token).hex() in table
    assert token != new_token("ci", OPERATE)[0]


# -- browsers

ORIGINS: dict[str, tuple[dict[str, str], int]] = {
    "a program": ({}, 200),
    "our own page": ({"Origin": "http://127.0.0.1:8750", "Sec-Fetch-Site": "same-origin"}, 200),
    "our page behind its proxy": ({"Origin": "https://sickbay.example.org"}, 200),
    "another site": ({"Origin": "https://evil.example.org"}, 403),
    "another site that looks like ours": ({"Origin": "https://127.0.0.1.evil.example.org"}, 403),
    "a sandbox": ({"Origin": "null"}, 403),
    "a site that hides where it is": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a neighbour under the same domain": ({"Sec-Fetch-Site": "same-site"}, 403),
    "a rebound name": ({"Host": "evil.example.org"}, 421),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "a form that poses as text": ({"Content-Type": "text/plain"}, 415),
}


@pytest.mark.parametrize("name", ORIGINS)
async def test_a_foreign_page_acts_through_nobody(front: Front, web: aiohttp.ClientSession, name: str) -> None:
    """Even one that has got hold of a token's header."""
    front.server.gate.rules = replace(CLOSED, names=frozenset({"sickbay.example.org"}))
    headers, expected = ORIGINS[name]
    headers = {"Content-Type": "application/json", **bearer(OPERATE), **headers}
    async with web.post("/api/v1/pause", data='{"name": "ada"}', headers=headers) as answer:
        assert expected == answer.status, await answer.text()
    assert (1 if expected == 200 else 0) == len(front.asked)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("127.0.0.1.evil.org", False),
        ("127.evil", False),
        ("127.0.0", False),
        ("128.0.0.1", False),
        ("", False),
    ],
)
def test_only_loopback_is_loopback(host: str, expected: bool) -> None:
    """A name that begins like an address is a name."""
    assert expected is is_loopback(host)


# -- the unix socket

PEERS: dict[str, tuple[Peer, Rules, AccessRole | None]] = {
    "root": (Peer(1, 0, frozenset({0})), Rules(others=None), ADMIN),
    "the daemon's own user": (Peer(1, 500, frozenset({500})), Rules(others=None), ADMIN),
    "a member of the operators' group": (Peer(1, 7, frozenset({7, 42})), Rules(42, others=None), OPERATE),
    "somebody else": (Peer(1, 7, frozenset({7})), Rules(42), READ),
    "somebody else, shut out": (Peer(1, 7, frozenset({7})), Rules(42, others=None), None),
    "a member of no group while none is named": (Peer(1, 7, frozenset({7})), Rules(), READ),
}


@pytest.mark.parametrize("name", PEERS)
def test_the_kernels_word_gives_a_role(name: str) -> None:
    """By user and group, those that the process really has."""
    peer, rules, expected = PEERS[name]

    assert expected is role_of(peer, rules, own=500)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("user", "groups", "method", "path", "expected", "words"),
    [
        (65534, [54321], "POST", "/api/v1/pause", 200, "paused by ada"),
        (65534, [54321], "POST", "/api/v1/purge", 403, "this needs the role admin, and nobody has operate"),
        (65534, [54322], "GET", "/api/v1/status", 403, "this needs the role read, and nobody has none"),
        (0, [], "POST", "/api/v1/allow", 400, "allow: name: is not known"),
    ],
    ids=["an operator pauses", "an operator does not purge", "others see nothing", "root is an admin"],
)
async def test_who_sits_at_the_other_end_is_known_from_the_kernel(
    open_folder: Path, user: int, groups: list[int], method: str, path: str, expected: int, words: str
) -> None:
    """Processes of other users with real supplementary groups, on the real socket."""
    front = Front(RECORDS, SETTINGS, Rules(54321, others=None))
    async with serving(front, open_folder):
        os.chmod(open_folder / "s.sock", 0o666)
        status, text = await asyncio.to_thread(ask_as, user, groups, str(open_folder / "s.sock"), method, path)

    assert (expected, True) == (status, words in text), text
    if expected == 200:
        assert "nobody" == front.asked[0].actor
        assert front.asked[0].via.startswith("unix socket (uid 65534, pid ")


async def test_nobody_is_answered_with_what_another_one_asked(front: Front, web: aiohttp.ClientSession) -> None:
    """The same Idempotency-Key from two tokens is two requests, each in the audit log under its own name."""
    for role in (OPERATE, ADMIN):
        headers = {**bearer(role), "Idempotency-Key": "k"}
        async with web.post("/api/v1/pause", json={"name": "ada"}, headers=headers) as answer:
            assert 200 == answer.status

    assert ["operate", "admin"] == [asked.actor for asked in front.asked]


# -- the audit log


async def test_the_audit_log_is_read_and_verified(web: aiohttp.ClientSession, audit: AuditFile) -> None:
    """Newest first, from a time on; the head that was printed is looked for later."""
    async with web.get("/api/v1/audit?since=2026-01-02", headers=bearer(OPERATE)) as answer:
        assert [2] == [entry["seq"] for entry in await answer.json()]
    async with web.get("/api/v1/audit?limit=1", headers=bearer(OPERATE)) as answer:
        assert [2] == [entry["seq"] for entry in await answer.json()]
    async with web.get("/api/v1/audit/verify", headers=bearer(OPERATE)) as answer:
        verified = await answer.json()
    assert (2, [], []) == (verified["entries"], verified["broken"], verified["anchors"])
    lost = "3:" + "0" * 64
    async with web.get(f"/api/v1/audit/verify?anchor={lost}", headers=bearer(OPERATE)) as answer:
        assert ["the log ends with entry 2, but entry 3 was written once: the end was cut off"] == (
            await answer.json()
        )["broken"]
    for bad, words in (("audit?since=now", "expected a time"), ("audit/verify?anchor=1", "expected SEQ:HASH")):
        status, sentence = await ask(web, f"GET /api/v1/{bad}", bearer(OPERATE))
        assert (400, True) == (status, words in sentence)
    audit.path.unlink()
    assert 503 == (await ask(web, "GET /api/v1/audit", bearer(OPERATE)))[0]


# -- connections


def slow(port: int, count: int, said: bytes = b"") -> list[socket.socket]:
    """Return so many connections that say next to nothing."""
    made = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=5)
        one.sendall(said)
        made.append(one)
    return made


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Have room for both ends of a thousand connections, wherever the limit is lower to begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ROOM:
        pytest.skip(f"no more than {hard} descriptors can be had here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ROOM), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
async def test_a_thousand_idle_connections_keep_nobody_out(front: Front, web: aiohttp.ClientSession) -> None:
    """They take a bounded number of descriptors, those who ask are answered at once, and so are operators."""
    before = len(os.listdir("/proc/self/fd"))
    idle = await asyncio.to_thread(slow, front.port, 1000)
    begun = time.monotonic()
    assert (200, "") == await ask(web, "GET /api/v1/status", bearer(READ))
    taken = len(os.listdir("/proc/self/fd")) - before - len(idle)
    for one in idle:
        one.close()

    assert time.monotonic() - begun < 2
    assert taken <= connections.MOST + 10


async def test_slow_heads_and_bodies_are_cut_off(
    tmp_path: Path, audit: AuditFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that never ends closes the connection; a body that never comes is a 408."""
    monkeypatch.setattr(connections.Connections.__init__, "__kwdefaults__", {"most": 300, "head": 0.3, "idle": 0.3})
    monkeypatch.setattr(acting, "BODY_LIMIT", 0.3)
    async with serving(Front(RECORDS, SETTINGS, CLOSED, audit), tmp_path) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-")
        with contextlib.suppress(ConnectionError):
            assert b"" == await asyncio.wait_for(reader.read(), 3)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        head = f"Authorization: Bearer {SECRETS[OPERATE]}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n"
        writer.write(f"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{{".encode())
        assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 408 ")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)  # one answer, then a second slow head
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        with contextlib.suppress(ConnectionError):
            assert (await asyncio.wait_for(reader.read(), 3)).startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert [] == front.asked


async def test_who_asks_is_never_ended_for_who_waits(
    tmp_path: Path, audit: AuditFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the event stream keeps its place while idle connections push each other out."""
    monkeypatch.setattr(connections.Connections.__init__, "__kwdefaults__", {"most": 5, "head": 9.0, "idle": 9.0})
    async with (
        serving(Front(RECORDS, SETTINGS, Rules(), audit), tmp_path) as front,
        aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session,
        session.get("/api/v1/events") as stream,
    ):
        idle = await asyncio.to_thread(slow, front.port, 30)
        assert b"retry: 2000\n" == await asyncio.wait_for(stream.content.readline(), 3)
        assert 1 == front.server.events.readers
        assert (200, "") == await ask(session, "GET /healthz", {})
        for one in idle:
            one.close()
