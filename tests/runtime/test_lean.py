"""Questions over real sockets, to servers that behave, and to servers that do not."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic

import pytest
import uvloop

from supervisor.api import HttpAnswer, HttpQuestion, NoAnswer, Question, Refusal, TcpAnswer, TcpQuestion
from supervisor.runtime.asking import Outcome, TimedOut
from supervisor.runtime.lean import LeanAsker
from supervisor.runtime.lean.asker import AT_ONCE
from tests.runtime.nasty import ASKED, CLOSE, DRIP, HEARD, RESET, SILENCE, Authority, Nasty, Step

pytestmark = pytest.mark.acceptance

LIMIT = 0.15
GENEROUS = 5.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.fixture(autouse=True, scope="module")
def pipes_of_uvloop() -> None:
    """It opens a pair with its first loop, and keeps them."""
    uvloop.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
async def every_descriptor_is_closed() -> AsyncIterator[None]:
    """However a question ended; servers may take a moment."""
    before = descriptors()
    yield
    for _ in range(200):
        if before >= descriptors():
            break
        await asyncio.sleep(0.01)
    assert before >= descriptors()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
async def asker() -> AsyncIterator[LeanAsker]:
    asker = LeanAsker()
    yield asker
    await asker.close()
    assert 0 == asker.in_flight


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def ask(asker: LeanAsker, question: Question, host: str = "127.0.0.1", limit: float = GENEROUS) -> Outcome:
    """Wait for what comes of one question."""
    waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    asker.ask(asker.prepare(question), host, limit, waiting.set_result)
    assert not waiting.done()
    return await waiting


def told(outcome: Outcome) -> str:
    """Say it in one line."""
    match outcome:
        case HttpAnswer():
            return f"{outcome.status} {outcome.body[:20].decode()}".strip()
        case TcpAnswer():
            return f"open {outcome.received.decode()}".strip()
        case Refusal():
            return f"refused: {outcome}"
        case NoAnswer():
            return f"no answer: {outcome}"
        case OSError():
            return f"our fault: {outcome}"


def http(port: int, **kind: object) -> HttpQuestion:
    return HttpQuestion(port, **kind)  # type: ignore[arg-type]


SERVERS: dict[str, tuple[Sequence[Step], str, str]] = {
    # what it does: the steps, what a question for the status makes of it, and what one for the whole
    "answers": ((ASKED, OK), "200", "200 ok"),
    "answers in chunks": ((ASKED, CHUNKED), "200", "200 ok"),
    "answers, and ends with the connection": ((ASKED, b"HTTP/1.0 503 No\r\n\r\nsorry", CLOSE), "503", "503 sorry"),
    "answers without a body": ((ASKED, b"HTTP/1.1 204 No Content\r\n\r\n", SILENCE), "204", "204"),
    "says 100 first": ((ASKED, b"HTTP/1.1 100 Continue\r\n\r\n", OK), "200", "200 ok"),
    "sends ten megabytes": ((ASKED, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000), "200", "200 " + "x" * 20),
    "answers before it is asked": ((OK, SILENCE), "200", "200 ok"),
    "sends fields without end": (
        (ASKED, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000),
        "200",
        "refused: broken answer (too large a head)",
    ),
    "speaks another language": (
        (b"220 mail ESMTP\r\n", SILENCE),
        "refused: broken answer (not HTTP)",
        "refused: broken answer (not HTTP)",
    ),
    "accepts, and is silent": ((SILENCE,), "no answer: timed out", "no answer: timed out"),
    "drips": ((ASKED, DRIP), "no answer: timed out", "no answer: timed out"),
    "stops in the middle": ((ASKED, OK[:20], SILENCE), "200", "no answer: timed out"),
    "closes without a word": (
        (ASKED, CLOSE),
        "refused: broken answer (closed without one)",
        "refused: broken answer (closed without one)",
    ),
    "closes in the middle": ((ASKED, OK[:-1], CLOSE), "200", "refused: broken answer (cut short)"),
    "resets when it is asked": (
        (ASKED, RESET),
        "refused: connection reset by peer",
        "refused: connection reset by peer",
    ),
    "resets in the middle": (
        (ASKED, OK[:10], RESET),
        "refused: connection reset by peer",
        "refused: connection reset by peer",
    ),
}


@pytest.mark.parametrize("whole", [False, True], ids=["for the status", "for the whole"])
@pytest.mark.parametrize("name", SERVERS)
async def test_whatever_a_server_does_is_an_answer_a_refusal_or_none(asker: LeanAsker, name: str, whole: bool) -> None:
    steps, status, all_of_it = SERVERS[name]
    expected = all_of_it if whole else status
    limit = LIMIT if "timed out" in expected else GENEROUS
    async with Nasty(steps).listening() as server:
        begun = monotonic()

        assert expected == told(await ask(asker, http(server.port, whole=whole), limit=limit))
        assert monotonic() - begun < limit + 0.5


async def test_a_head_request_has_no_body_to_wait_for(asker: LeanAsker) -> None:
    async with Nasty((ASKED, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", SILENCE)).listening() as server:
        assert "200" == told(await ask(asker, http(server.port, method="HEAD")))
        assert server.requests[0].startswith(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("question", [HttpQuestion(1), HttpQuestion(1, whole=False), TcpQuestion(1)])
async def test_nobody_there_is_a_refusal(asker: LeanAsker, question: Question) -> None:
    assert "refused: connection refused" == told(await ask(asker, question, "127.0.0.77"))


CONVERSATIONS: dict[str, tuple[Sequence[Step], bytes, bytes, str]] = {
    "connect": ((SILENCE,), b"", b"", "open"),
    "a greeting": ((b"220 hello\r\n", SILENCE), b"", b"220", "open 220 hello"),
    "question and answer": ((ASKED, b"PONG\n", SILENCE), b"PING\r\n\r\n", b"PONG", "open PONG"),
    "a greeting in two pieces": ((b"22", b"0 hello", SILENCE), b"", b"220", "open 220 hello"),
    "another greeting": ((b"go away\n", CLOSE), b"", b"220", "open go away"),
    "silence": ((SILENCE,), b"PING\r\n\r\n", b"PONG", "no answer: timed out"),
    "a reset": ((ASKED, RESET), b"PING\r\n\r\n", b"PONG", "refused: connection reset by peer"),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_tcp_is_connected_to_and_talked_with(asker: LeanAsker, name: str) -> None:
    steps, send, until, expected = CONVERSATIONS[name]
    async with Nasty(steps).listening() as server:
        outcome = await ask(
            asker, TcpQuestion(server.port, send, until), limit=LIMIT if "timed" in expected else GENEROUS
        )

        assert expected == told(outcome).strip()


async def test_what_is_sent_without_waiting_for_an_answer_arrives(asker: LeanAsker) -> None:
    """A reset might overtake it."""
    async with Nasty((ASKED, SILENCE)).listening() as server:
        assert "open" == told(await ask(asker, TcpQuestion(server.port, b"x" * 50_000 + b"\r\n\r\n")))
        for _ in range(100):
            await asyncio.sleep(0.01)
            if server.requests:
                break

        assert [50_004] == [len(request) for request in server.requests]


async def test_ipv6_and_names_are_asked_too(asker: LeanAsker) -> None:
    """A name that has several addresses is asked at the next one when the first refuses."""
    async with Nasty((ASKED, OK)).listening("::1") as server:
        assert "200 ok" == told(await ask(asker, HttpQuestion(server.port), "::1"))
        assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]
    async with Nasty((ASKED, OK)).listening() as server:
        assert "200 ok" == told(await ask(asker, HttpQuestion(server.port), "localhost"))
        assert f"Host: localhost:{server.port}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "", "x" * 300])
async def test_a_name_that_does_not_resolve_says_nothing_of_anybody(asker: LeanAsker, host: str) -> None:
    outcome = await ask(asker, TcpQuestion(1), host)

    assert isinstance(outcome, OSError)
    assert "the name does not resolve" in str(outcome)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
        "::",
        "::ffff:169.254.169.254",
        "2852039166",
        "0",
        "ff02::1",
    ],
)
async def test_an_address_that_no_machine_has_is_never_asked(asker: LeanAsker, host: str) -> None:
    """However it is written: what the resolver makes of it counts."""
    assert isinstance(await ask(asker, TcpQuestion(1), host), PermissionError)


async def test_without_descriptors_it_is_our_fault(asker: LeanAsker) -> None:
    """And tells nothing of the instance."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
    try:
        outcome = await ask(asker, TcpQuestion(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)

    assert isinstance(outcome, OSError)
    assert errno.EMFILE == outcome.errno


async def test_one_that_is_given_up_is_not_told(asker: LeanAsker) -> None:
    """At whatever moment: connecting, waiting, looked up, or already ended."""
    outcomes: list[Outcome] = []
    async with Nasty((SILENCE,)).listening() as server:
        asks: list[tuple[HttpQuestion | TcpQuestion, str]] = [
            (HttpQuestion(server.port), "127.0.0.1"),
            (TcpQuestion(server.port), "localhost"),
            (TcpQuestion(1), "127.0.0.1"),
        ]
        for question, host in asks:
            for turns in range(4):
                give_up = asker.ask(asker.prepare(question), host, LIMIT, outcomes.append)
                for _ in range(turns if question.port != 1 and host != "localhost" else 0):
                    await asyncio.sleep(0)
                give_up()
                give_up()
        await asyncio.sleep(LIMIT + 0.05)

    assert [] == outcomes
    assert 0 == asker.in_flight


async def test_time_limits_end_in_their_order(asker: LeanAsker) -> None:
    """Each at its own time, and none before it."""
    ended: list[tuple[float, float]] = []
    async with Nasty((SILENCE,)).listening() as server:
        form = asker.prepare(HttpQuestion(server.port))
        begun = monotonic()

        def note(limit: float) -> Callable[[Outcome], None]:
            return lambda outcome: ended.append((limit, monotonic() - begun)) if isinstance(outcome, TimedOut) else None

        for limit in (0.2, 0.05, 0.1, 0.05):
            asker.ask(form, "127.0.0.1", limit, note(limit))
        assert 4 == asker.in_flight
        await asyncio.sleep(0.3)

    assert [0.05, 0.05, 0.1, 0.2] == [limit for limit, _ in ended]
    assert all(limit <= after < limit + 0.09 for limit, after in ended)


async def test_closing_gives_everything_up() -> None:
    asker = LeanAsker()
    outcomes: list[Outcome] = []
    async with Nasty((SILENCE,)).listening() as server:
        for host in ("127.0.0.1", "localhost"):
            asker.ask(asker.prepare(HttpQuestion(server.port)), host, GENEROUS, outcomes.append)
        await asyncio.sleep(0.01)
        asker.ask(asker.prepare(TcpQuestion(1)), "127.0.0.1", GENEROUS, outcomes.append)  # refused at once
        await asker.close()
        await asyncio.sleep(0.01)

    assert [] == outcomes


async def test_who_cannot_take_an_answer_takes_it_from_nobody_else(asker: LeanAsker) -> None:
    outcomes: list[Outcome] = []
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))

    def fail(_: Outcome) -> None:
        raise KeyError("nobody")

    form = asker.prepare(TcpQuestion(1))
    asker.ask(form, "127.0.0.1", GENEROUS, fail)
    asker.ask(form, "127.0.0.1", GENEROUS, outcomes.append)
    await asyncio.sleep(0.05)

    assert 1 == len(outcomes)
    assert ["KeyError('nobody')"] == [repr(error) for error in complaints]


def test_hundreds_at_once_are_all_answered_under_uvloop() -> None:
    """The loop of the check hosts. A third of them knocks where nobody listens."""

    async def story() -> Counter[str]:
        asker, counts, done = LeanAsker(), Counter[str](), asyncio.Event()

        def note(outcome: Outcome) -> None:
            counts[told(outcome)] += 1
            if counts.total() == 450:
                done.set()

        async with Nasty((ASKED, OK)).listening() as server:
            form = asker.prepare(HttpQuestion(server.port, whole=False))
            for n in range(450):  # with the server, within the usual limit of 1,024 descriptors
                asker.ask(form, "127.0.0.1" if n % 3 else "127.0.0.77", GENEROUS, note)
            await done.wait()
            await asker.close()
        return counts

    assert {"200": 300, "refused: connection refused": 150} == uvloop.run(story())


async def test_others_have_their_turn_between_some_answers(asker: LeanAsker) -> None:
    """Hundreds of sockets with news at once are seen to by and by."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        form = asker.prepare(TcpQuestion(listener.getsockname()[1]))
        for _ in range(300):
            asker.ask(form, "127.0.0.1", GENEROUS, lambda _: None)
        steps = []
        while before := asker.in_flight:
            await asyncio.sleep(0)
            steps.append(before - asker.in_flight)

    assert max(steps) <= AT_ONCE


KEEP = (ASKED, OK, ASKED, OK, ASKED, OK, SILENCE)


@pytest.mark.parametrize("whole", [False, True])
async def test_a_connection_is_kept_and_used_again(asker: LeanAsker, whole: bool) -> None:
    async with Nasty(KEEP).listening() as server:
        question = http(server.port, keep=True, whole=whole)
        answers = [told(await ask(asker, question)) for _ in range(3)]

        assert ["200 ok" if whole else "200"] * 3 == answers
        assert (1, 3) == (server.connections, len(server.requests))
        assert b"Connection" not in server.requests[0]


CLOSED: dict[str, Sequence[Step]] = {
    "while it waits": (ASKED, OK, CLOSE),
    "while it waits, with a reset": (ASKED, OK, RESET),
    "when it is asked": (ASKED, OK, ASKED, CLOSE),
    "when it is asked, with a reset": (ASKED, OK, ASKED, RESET),
}


@pytest.mark.parametrize("pause", [0, 0.02])
@pytest.mark.parametrize("name", CLOSED)
async def test_a_kept_connection_that_was_closed_is_nobodys_fault(asker: LeanAsker, name: str, pause: float) -> None:
    """One more question over a new one tells."""
    async with Nasty(CLOSED[name], KEEP).listening() as server:
        question = http(server.port, keep=True)
        first = await ask(asker, question)
        await asyncio.sleep(pause)
        second = await ask(asker, question)

        assert ["200 ok", "200 ok"] == [told(first), told(second)]
        assert 2 == server.connections


async def test_a_kept_connection_that_answers_badly_is_a_fault(asker: LeanAsker) -> None:
    """Once a byte of an answer was there, it is that answer."""
    async with Nasty((ASKED, OK, ASKED, OK[:5], RESET), KEEP).listening() as server:
        question = http(server.port, keep=True)
        answers = [told(await ask(asker, question)) for _ in range(2)]

        assert ["200 ok", "refused: connection reset by peer"] == answers


async def test_a_second_question_has_no_second_limit(asker: LeanAsker) -> None:
    """Who closes the kept connection and is silent on the new one has not answered, within the one limit."""
    async with Nasty((ASKED, OK, ASKED, CLOSE), (SILENCE,)).listening() as server:
        question = http(server.port, keep=True)
        await ask(asker, question)
        begun = monotonic()

        assert "no answer: timed out" == told(await ask(asker, question, limit=LIMIT))
        assert monotonic() - begun < LIMIT + 0.1


@pytest.mark.parametrize(
    "answer", [OK + b"more", OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"HTTP/1.0" + OK[8:]]
)
async def test_a_connection_of_which_one_cannot_be_sure_is_not_kept(asker: LeanAsker, answer: bytes) -> None:
    async with Nasty((ASKED, answer, SILENCE)).listening() as server:
        question = http(server.port, keep=True)
        for _ in range(2):
            assert "200 ok" == told(await ask(asker, question))

        assert 2 == server.connections


async def test_what_a_kept_connection_says_unasked_ends_it(asker: LeanAsker) -> None:
    async with Nasty((ASKED, OK, DRIP), (ASKED, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")).listening() as server:
        question = http(server.port, keep=True)
        first = await ask(asker, question)
        await asyncio.sleep(0.05)

        assert ["200 ok", "503"] == [told(first), told(await ask(asker, question))]


TLS: dict[str, tuple[Sequence[str], dict[str, object], str, str]] = {
    # the names of the certificate, what is special, what comes of it when it counts, and when it does not
    "good, for an address": (("127.0.0.1",), {}, "200 ok", "200 ok"),
    "good, TLS 1.2": (("127.0.0.1",), {"version": ssl.TLSVersion.TLSv1_2}, "200 ok", "200 ok"),
    "for another name": (("example.org",), {}, "refused: the certificate is not trusted", "200 ok"),
    "for another address": (("127.0.0.2",), {}, "refused: the certificate is not trusted", "200 ok"),
    "signed by itself": (("127.0.0.1",), {"own": True}, "refused: the certificate is not trusted", "200 ok"),
    "expired": (("127.0.0.1",), {"days": -1}, "refused: the certificate is not trusted", "200 ok"),
}


@pytest.mark.parametrize("verify", [True, False], ids=["it counts", "it does not count"])
@pytest.mark.parametrize("name", TLS)
async def test_a_certificate_counts_when_it_is_to(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, name: str, verify: bool
) -> None:
    """Twice: a session that is resumed says the same."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    names, special, counts, counts_not = TLS[name]
    asker = LeanAsker()
    context = authority.context(*names, **special)  # type: ignore[arg-type]
    async with Nasty((ASKED, OK)).listening(tls=context) as server:
        for _ in range(2):
            outcome = await ask(asker, http(server.port, tls=True, verify=verify))
            assert (counts if verify else counts_not) == told(outcome)
        await asker.close()
        await asyncio.sleep(0.05)


async def test_old_versions_of_tls_are_not_spoken(asker: LeanAsker, authority: Authority) -> None:
    async with Nasty((ASKED, OK)).listening(tls=authority.context("127.0.0.1", version=ssl.TLSVersion.TLSv1)) as server:
        assert isinstance(await ask(asker, http(server.port, tls=True, verify=False)), Refusal)


async def test_a_name_in_a_certificate_is_the_name_that_was_asked(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    asker = LeanAsker()
    async with Nasty((ASKED, OK)).listening(tls=authority.context("localhost")) as server:
        question = http(server.port, tls=True)
        answers = [told(await ask(asker, question, host)) for host in ("localhost", "127.0.0.1")]
    await asker.close()

    assert ["200 ok", "refused: the certificate is not trusted"] == answers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_second_handshake_is_a_short_one(
    asker: LeanAsker, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.context("127.0.0.1", version=version)
    async with Nasty((ASKED, OK)).listening(tls=context) as server:
        for _ in range(4):
            assert "200 ok" == told(await ask(asker, http(server.port, tls=True, verify=False)))

        assert (4, 3) == (server.connections, context.session_stats()["hits"])


async def test_tls_connections_are_kept_too(asker: LeanAsker, authority: Authority) -> None:
    async with Nasty(KEEP, KEEP).listening(tls=authority.context("127.0.0.1")) as server:
        question = http(server.port, tls=True, verify=False, keep=True)
        for _ in range(3):
            assert "200 ok" == told(await ask(asker, question))
        assert 1 == server.connections


HANDSHAKES: dict[str, tuple[Sequence[Step], str]] = {
    "closes": ((HEARD, CLOSE), "refused: broken answer (closed without one)"),
    "resets": ((RESET,), "refused: connection reset by peer"),
    "is silent": ((SILENCE,), "no answer: timed out"),
    "speaks HTTP": ((OK, SILENCE), "refused: broken answer (TLS: wrong version number)"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_a_server_without_tls_is_no_answer_to_a_handshake(asker: LeanAsker, name: str) -> None:
    steps, expected = HANDSHAKES[name]
    async with Nasty(steps).listening() as server:
        outcome = await ask(asker, http(server.port, tls=True), limit=LIMIT if "timed" in expected else GENEROUS)

        assert expected == told(outcome)


async def test_a_large_body_comes_through_tls(asker: LeanAsker, authority: Authority) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000
    async with Nasty((ASKED, answer)).listening(tls=authority.context("127.0.0.1")) as server:
        outcome = await ask(asker, http(server.port, tls=True, verify=False))

        assert isinstance(outcome, HttpAnswer)
        assert 60_000 == len(outcome.body)
