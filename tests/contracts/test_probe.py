"""The probe's contract, over the real one and the fake: what a check's author tests with is what production asks with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.api import HttpAnswer, NoAnswer, Probe, Refusal, TcpAnswer, Unrunnable
from supervisor.runtime.probe import NetworkProbe
from supervisor.testing import FakeProbe, http_answer, program_answer, tcp_answer, tls_answer, udp_answer
from tests.runtime.nasty import Authority
from tests.sshd import Sshd, running_sshd

pytestmark = pytest.mark.acceptance

BODY = b"x" * 70_000
SCRIPT: dict[str, HttpAnswer] = {
    "/well": http_answer(200, b"fine"),
    "/large": http_answer(200, BODY),
    "/bad": http_answer(503),
}

BROKEN = {"/closes": b"", "/stops": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "/garbage": b"hello\r\n"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one HTTP request from the same script, or one line of TCP."""
    first = await reader.readline()
    if first == b"PING\n":
        writer.write(b"PONG\n")
    elif first == b"LENGTH\n":
        writer.write(b"\0\4PONG and more")
    else:
        while await reader.readline() not in (b"\r\n", b""):
            pass
        path = first.split()[1].decode()
        if path in BROKEN:
            writer.write(BROKEN[path])
            writer.close()
            return
        body = BODY if path == "/large" else SCRIPT[path].body
        writer.write(f"HTTP/1.1 {SCRIPT[path].status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    writer.close()


@dataclass
class Side:
    """One implementation, and where its instance listens."""

    probe: Probe
    port: int
    closed: int


@pytest.fixture(params=["real", "fake"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """Return the real probe before a real server, or the fake with the same answers."""
    if request.param == "fake":
        yield Side(FakeProbe(), 80, 81)
        return
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        probe = NetworkProbe()
        yield Side(probe, server.sockets[0].getsockname()[1], unused.getsockname()[1])
        await probe.close()
        server.close()
        await server.wait_closed()


def scripted(side: Side, entry: HttpAnswer | TcpAnswer | Refusal | NoAnswer) -> Probe:
    """Return the probe; the fake gets its script."""
    if not isinstance(side.probe, FakeProbe):
        return side.probe
    if isinstance(entry, TcpAnswer):
        return FakeProbe(tcp=[entry])
    return FakeProbe(http=[entry]) if isinstance(entry, HttpAnswer) else FakeProbe(http=[entry], tcp=[entry])


@pytest.mark.parametrize("path", SCRIPT)
async def test_an_answer_has_status_and_body_cut_at_64_kib(side: Side, path: str) -> None:
    """Whatever the status, it is an answer."""
    answer = await scripted(side, SCRIPT[path]).http.get(f"http://127.0.0.1:{side.port}{path}")

    assert (SCRIPT[path].status, SCRIPT[path].body) == (answer.status, answer.body)
    assert answer.seconds > 0


async def test_tcp_returns_what_came_back(side: Side) -> None:
    """Up to what was waited for."""
    probe = scripted(side, tcp_answer("PONG\n"))

    assert b"PONG\n" == (await probe.tcp.connect("127.0.0.1", side.port, send=b"PING\n", until=b"\n")).received


async def test_tcp_returns_one_message_by_its_length(side: Side) -> None:
    """Without the length, and without what follows."""
    probe = FakeProbe(tcp=[lambda _: b"PONG"]) if isinstance(side.probe, FakeProbe) else side.probe

    assert b"PONG" == (await probe.tcp.connect("127.0.0.1", side.port, send=b"LENGTH\n", prefix=2)).received


class Echoing(asyncio.DatagramProtocol):
    """Answers twice: first to nobody's question."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as it is
        """Keep it."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        self.transport.sendto(b"late", addr)
        self.transport.sendto(b"re: " + data, addr)


async def test_udp_returns_the_first_answer_that_is_accepted(side: Side) -> None:
    """Whatever else comes is passed over."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echoing, ("127.0.0.1", 0))
    fake = FakeProbe(udp=[udp_answer("late"), lambda sent: b"re: " + sent, udp_answer("late")])
    probe = fake if isinstance(side.probe, FakeProbe) else side.probe
    port = transport.get_extra_info("sockname")[1]
    accepted = await probe.udp.ask("127.0.0.1", port, b"who?", accept=lambda data: data.startswith(b"re: "))
    any_one = await probe.udp.ask("127.0.0.1", port, b"who?")
    transport.close()

    assert (b"re: who?", b"late") == (accepted.received, any_one.received)
    assert accepted.seconds > 0


async def test_tls_tells_version_certificates_and_why_they_are_not_trusted(side: Side, tmp_path: Path) -> None:
    """A bad certificate is no failure."""
    authority = Authority(tmp_path)
    context = authority.context("127.0.0.1", own=True)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    fake = FakeProbe(tls=[tls_answer(b"der", untrusted="self-signed certificate"), tls_answer(b"der")])
    probe = fake if isinstance(side.probe, FakeProbe) else side.probe
    port = server.sockets[0].getsockname()[1]
    untrusted = await probe.tls.handshake("127.0.0.1", port)
    whatever = await probe.tls.handshake("127.0.0.1", port, verify=False)
    server.close()
    await asyncio.sleep(0.05)

    assert ("1.3", "self-signed certificate", 1) == (
        untrusted.version,
        untrusted.untrusted,
        len(untrusted.certificates),
    )
    assert ("1.3", "", untrusted.certificates) == (whatever.version, whatever.untrusted, whatever.certificates)


async def test_a_closed_port_is_a_refusal(side: Side) -> None:
    """An answer, and a bad one; in the same words."""
    probe = scripted(side, Refusal("connection refused"))
    with pytest.raises(Refusal, match="^connection refused$"):
        await probe.http.get(f"http://127.0.0.1:{side.closed}/")
    if not isinstance(probe, FakeProbe):
        with pytest.raises(Refusal, match="^connection refused$"):
            await probe.tcp.connect("127.0.0.1", side.closed)
        with pytest.raises(Refusal, match="^connection refused$"):
            await probe.tls.handshake("127.0.0.1", side.closed)
        with pytest.raises(Refusal, match="^connection refused$"):
            await probe.udp.ask("127.0.0.1", side.closed, b"?")


@pytest.mark.parametrize(
    ("path", "why"), [("/closes", "closed without one"), ("/stops", "cut short"), ("/garbage", "not HTTP")]
)
async def test_what_is_no_answer_is_a_refusal_that_says_why(side: Side, path: str, why: str) -> None:
    """In the same words."""
    probe = scripted(side, Refusal(f"broken answer ({why})"))
    with pytest.raises(Refusal, match=f"^broken answer \\({why}\\)$"):
        await probe.http.get(f"http://127.0.0.1:{side.port}{path}")


async def test_a_link_local_address_is_never_asked(side: Side) -> None:
    """Metadata services live there."""
    probe = scripted(side, http_answer())
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.http.get("http://169.254.169.254/")
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.tcp.connect("169.254.169.254", 80)
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.tls.handshake("169.254.169.254", 443)
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.udp.ask("169.254.169.254", 53, b"?")
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.icmp.echo("169.254.169.254")


async def test_a_program_has_a_code_and_its_two_outputs(side: Side) -> None:
    """What it printed, where it printed it, and how it ended."""
    fake = FakeProbe(program=[program_answer(3, b"out\n", stderr=b"err\n")])
    probe = fake if isinstance(side.probe, FakeProbe) else side.probe
    answer = await probe.program.run(["/bin/sh", "-c", "echo out; echo err >&2; exit $CODE"], {"CODE": "3"})

    assert (3, b"out\n", b"err\n") == (answer.code, answer.stdout, answer.stderr)
    assert answer.seconds > 0


async def test_a_program_that_is_not_there_is_no_answer_of_the_instance(side: Side) -> None:
    """It is the check that failed."""
    fake = FakeProbe(program=[Unrunnable("/none: no such file")])
    probe = fake if isinstance(side.probe, FakeProbe) else side.probe
    with pytest.raises(Unrunnable, match="/none"):
        await probe.program.run(["/none"])


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Run one SSH server."""
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


async def test_a_command_on_the_machine_has_a_code_and_its_two_outputs(side: Side, sshd: Sshd) -> None:
    """Each up to 64 KiB, and its words as they are."""
    fake = FakeProbe(ssh=[program_answer(3, b"; out\n" + BODY, stderr=b"err\n")])
    probe = fake if isinstance(side.probe, FakeProbe) else side.probe
    script = 'echo "$1"; head -c 70000 /dev/zero | tr "\\0" x; echo err >&2; exit 3'
    answer = await probe.ssh.run("127.0.0.1", ["sh", "-c", script, "sh", "; out"], sshd.login())

    assert (3, (b"; out\n" + BODY)[:65536], b"err\n") == (answer.code, answer.stdout, answer.stderr)
    assert answer.seconds > 0


async def test_a_login_that_fails_is_no_answer_of_the_machine(side: Side, sshd: Sshd) -> None:
    """A closed port is one; an address of nobody's is never asked."""
    script: list[Unrunnable | Refusal] = [Unrunnable("/none: no such file"), Refusal("connection refused")]
    probe = FakeProbe(ssh=script) if isinstance(side.probe, FakeProbe) else side.probe
    with pytest.raises(Unrunnable, match="/none"):
        await probe.ssh.run("127.0.0.1", ["true"], sshd.login(key_file="/none"))
    with pytest.raises(Refusal, match="^connection refused$"):
        await probe.ssh.run("127.0.0.1", ["true"], sshd.login(port=side.closed))
    with pytest.raises(PermissionError, match="no address of a machine"):
        await probe.ssh.run("169.254.169.254", ["true"], sshd.login())
