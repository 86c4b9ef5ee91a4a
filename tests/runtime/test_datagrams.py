"""UDP and ICMP over real sockets: to servers that behave, and to servers that do not."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from supervisor.api import Instance, NoAnswer, Refusal, Status, UdpAnswer
from supervisor.plugins import discover
from supervisor.runtime.datagrams import PASSED_OVER, Udp
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import run_check

pytestmark = pytest.mark.acceptance

LIMIT = 0.15
GENEROUS = 5.0
Script = Callable[[socket.socket, bytes, tuple[str, int]], object]
"""What a server does with a datagram."""


@contextmanager
def serving(script: Script, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve in a thread, as a foreign program would, until the end of the block; return the port."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        port = int(sock.getsockname()[1])

        def serve() -> None:
            while (received := sock.recvfrom(2048))[0] != b"end":
                script(sock, *received)

        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        with socket.socket(sock.family, socket.SOCK_DGRAM) as other:
            other.sendto(b"end", (address, port))
        thread.join()


def echo(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
    sock.sendto(b"re: " + data, whom)


def strange_first(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
    sock.sendto(b"late answer to somebody else", whom)
    sock.sendto(b"", whom)
    sock.sendto(b"re: " + data, whom)


def from_elsewhere(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
    """From another port first, and from another address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.sendto(b"re: spoofed", whom)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"re: spoofed", whom)
    sock.sendto(b"re: " + data, whom)


def flood(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
    for _ in range(PASSED_OVER):
        sock.sendto(b"noise", whom)


def silence(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
    """Say nothing."""


async def told(port: int, host: str = "127.0.0.1", limit: float = GENEROUS) -> str:
    """Say what came of one question within the limit, and that nothing was left open."""
    before = len(os.listdir("/proc/self/fd"))
    try:
        async with asyncio.timeout(limit):
            answer = await Udp().ask(host, port, b"who?", accept=lambda data: data.startswith(b"re: "))
    except (Refusal, NoAnswer, TimeoutError, PermissionError) as error:
        outcome = f"{type(error).__name__} {error}".strip()
    else:
        assert 0 < answer.seconds < limit
        outcome = answer.received.decode()
    assert before == len(os.listdir("/proc/self/fd"))
    return outcome


OUTCOMES: dict[str, tuple[Script, str]] = {
    "an answer": (echo, "re: who?"),
    "what is no answer is passed over": (strange_first, "re: who?"),
    "who was not asked is not heard": (from_elsewhere, "re: who?"),
    "nothing but noise": (flood, f"Refusal broken answer ({PASSED_OVER} datagrams, none of them to the question)"),
    "silence": (silence, "TimeoutError"),
}


@pytest.mark.parametrize("name", OUTCOMES)
async def test_one_datagram_is_asked_and_its_answer_heard(name: str) -> None:
    """And nobody else's."""
    script, expected = OUTCOMES[name]
    with serving(script) as port:
        assert expected == await told(port, limit=LIMIT if script is silence else GENEROUS)


@pytest.mark.parametrize(("host", "address"), [("::1", "::1"), ("localhost", "127.0.0.1")])
async def test_ipv6_and_names_are_asked_too(host: str, address: str) -> None:
    """Where the first place of a name has nobody, the next is asked."""
    with serving(echo, address) as port:
        assert "re: who?" == await told(port, host)


async def test_without_a_question_of_its_own_any_answer_will_do() -> None:
    """Also an empty one, and one to an empty question."""
    with serving(lambda sock, _, whom: sock.sendto(b"", whom)) as port:
        answer = await Udp().ask("127.0.0.1", port, b"")

    assert UdpAnswer(b"", answer.seconds) == answer


async def test_a_port_that_nobody_has_is_a_refusal() -> None:
    """The machine says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    assert "Refusal connection refused" == await told(port)


async def test_forbidden_addresses_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as numbers, nor behind a name."""

    async def resolved(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 0, 0, "", ("169.254.169.254", 0))]

    assert "PermissionError" in await told(53, "169.254.169.254")
    assert "PermissionError" in await told(53, "::ffff:169.254.169.254")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    assert "PermissionError" in await told(53, "metadata.example")


def dns(change: Callable[[bytearray], bytes | None]) -> Script:
    """Answer a DNS question with itself, marked as an answer, and changed."""

    def script(sock: socket.socket, data: bytes, whom: tuple[str, int]) -> None:
        answer = bytearray(data)
        answer[2] |= 0x80
        changed = change(answer)
        if changed is not None:
            sock.sendto(changed, whom)

    return script


def with_rcode(number: int) -> Callable[[bytearray], bytes]:
    def change(answer: bytearray) -> bytes:
        answer[3] = number
        return bytes(answer)

    return change


def with_record(answer: bytearray) -> bytes:
    answer[7] = 1
    return bytes(answer) + bytes.fromhex("c00c 0001 0001 0000003c 0004 c0000207")


def renamed(answer: bytearray) -> bytes:
    return with_record(answer).replace(b"www", b"xxx")


def with_wrong_number(answer: bytearray) -> bytes:
    return bytes([answer[0] ^ 1]) + with_record(answer)[1:]


def truncated(answer: bytearray) -> bytes:
    answer[2] |= 0x02
    return bytes(answer)


NAMESERVERS: dict[str, tuple[Script, Status, bool, str]] = {
    "well": (dns(with_record), Status.OK, False, "192.0.2.7"),
    "another number": (dns(with_wrong_number), Status.CRITICAL, True, "no answer within 150ms"),
    "a question for an answer": (lambda s, data, whom: s.sendto(data, whom), Status.CRITICAL, True, "no answer within"),
    "another question": (dns(renamed), Status.CRITICAL, False, "broken answer (to another question)"),
    "garbage": (dns(lambda answer: bytes(answer[:12]) + b"\xff" * 40), Status.CRITICAL, False, "broken answer (not DNS)"),
    "half a record": (dns(lambda answer: with_record(answer)[:-3]), Status.CRITICAL, False, "broken answer (not DNS)"),
    "no records": (dns(bytes), Status.CRITICAL, False, "no A record"),
    "NXDOMAIN": (dns(with_rcode(3)), Status.CRITICAL, False, "NXDOMAIN, expected NOERROR"),
    "SERVFAIL": (dns(with_rcode(2)), Status.CRITICAL, False, "SERVFAIL, expected NOERROR"),
    "truncated, and no TCP": (dns(truncated), Status.CRITICAL, False, "connection refused"),
    "silence": (dns(lambda _: None), Status.CRITICAL, True, "no answer within 150ms"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMESERVERS)
async def test_the_check_dns_takes_whatever_a_server_says(name: str) -> None:
    """Number and question are compared; nonsense is an answer, and a bad one."""
    script, status, silent, text = NAMESERVERS[name]
    check = discover().checks["dns"].cls
    probe = NetworkProbe()
    with serving(script) as port:
        options = check.model_validate({"port": port, "domain": "www.example.org"})
        ran = await run_check(options, Instance("i-1", "web", "127.0.0.1"), probe, LIMIT if silent else GENEROUS)
    await probe.close()

    assert (status, silent) == (ran.result.status, ran.result.silent), ran.result.text
    assert text in ran.result.text


async def test_no_garbage_makes_the_check_fail_itself() -> None:
    """Whatever follows the number, and wherever a good answer is cut or turned."""

    def turned(answer: bytearray) -> bytes:
        data = bytearray(with_record(answer))
        for _ in range(1 + secrets.randbelow(6)):
            data[3 + secrets.randbelow(len(data) - 3)] = secrets.randbelow(256)
        return bytes(data[: 12 + secrets.randbelow(len(data))])

    check = discover().checks["dns"].cls
    probe = NetworkProbe()
    with serving(dns(turned)) as port:
        options = check.model_validate({"port": port, "domain": "www.example.org"})
        texts = [(await run_check(options, Instance("i-1", "web", "127.0.0.1"), probe, 2)).result for _ in range(200)]
    await probe.close()

    assert [] == [result.text for result in texts if result.status is Status.UNKNOWN]


def test_echoes_in_a_network_of_our_own() -> None:
    """Where we may say who is allowed to ping, and who answers."""
    command = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    settable = [*command, "test", "-w", "/proc/sys/net/ipv4/ping_group_range"]
    if subprocess.run(settable, capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespace can be made here, or nothing may be set in it")
    ran = subprocess.run(
        [*command, sys.executable, "-m", "tests.runtime.echoes"], capture_output=True, text=True, check=False
    )
    assert 0 == ran.returncode, ran.stderr

    remedy = 'run `sysctl -w net.ipv4.ping_group_range="0 2147483647"`'
    forbidden = {
        "127.0.0.1": f"Unrunnable: the kernel allows us no echoes; {remedy}",
        "the check": "unknown the kernel",
    }
    expected = {
        "127.0.0.1": "2 of 2",
        "::1": "2 of 2",
        "0:0:0:0:0:0:0:1": "2 of 2",
        "localhost": "2 of 2",
        "192.0.2.7": "NoAnswer: network is unreachable",
        "169.254.169.254": "PermissionError: 169.254.169.254 is no address of a machine: checks may not ask it",
        "the check": "ok round trip",
        "some lost": "some",
        "silent": "NoAnswer: none of 2 echoes came back",
        "one, silent": "NoAnswer: no echo came back",
        "descriptors left": "0",
    }
    assert {"nobody": forbidden, "asyncio": expected, "uvloop": expected} == json.loads(ran.stdout)
