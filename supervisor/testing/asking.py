"""For the authors of checks: a scripted instance, and the production runner on virtual time.

What a check makes of an answer is its own; what becomes of a refusal, of silence, of a crash of the check and of a slow
one is Sickbay's, and `run` asks the production runner. An answer takes as long as it says, and a check may sleep: both
cost virtual seconds only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NoReturn, TypeAlias, TypeVar

from yarl import URL

from supervisor.api import (
    KEPT_BODY,
    Check,
    CheckResult,
    EchoAnswer,
    HttpAnswer,
    Instance,
    NoAnswer,
    ProgramAnswer,
    Refusal,
    SshLogin,
    TcpAnswer,
    TlsAnswer,
    TlsVersion,
    UdpAnswer,
    Unrunnable,
)
from supervisor.runtime.lean.names import refuse_forbidden
from supervisor.runtime.lean.reading import KEPT
from supervisor.runtime.runner import run_check
from supervisor.sim.time import VirtualLoop

A = TypeVar("A")


def run(
    check: Check, instance: Instance, probe: FakeProbe, *, timeout: float = 3.0, real_time: bool = False
) -> CheckResult:
    """Ask once, and return what Sickbay would note: `timeout` in seconds, as in the check's table.

    Time is virtual: what the check waits for costs nothing. A check that waits for a thread, a process or a socket of its
    own needs `real_time`. Raises `AssertionError` when the check asks for more answers than the probe has; a check that
    raises anything else has failed itself, and is UNKNOWN. From a coroutine, call it in a thread.
    """
    with asyncio.Runner(loop_factory=None if real_time else _Loop) as runner:
        result = runner.run(run_check(check, instance, probe, timeout)).result
    if probe.overrun:
        raise AssertionError(probe.overrun)
    return result


class _Loop(VirtualLoop):
    """Virtual time, which nobody outside of it keeps."""

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> NoReturn:
        """Refuse: virtual time passes before the thread has begun."""
        raise RuntimeError("virtual time waits for no thread; test this check with run(…, real_time=True)")


def instance(address: str = "192.0.2.1", *, zone: str = "a", version: str = "1.0.0") -> Instance:
    """Return a machine of a fleet `web`; its address is one that nobody has (RFC 5737)."""
    return Instance("i-1", "web", address, zone, "img-1", version)


def http_answer(
    status: int = 200,
    body: bytes | str = b"",
    *,
    headers: Mapping[str, str] | None = None,
    seconds: float = 0.01,
    most: int = KEPT_BODY,
) -> HttpAnswer:
    """Return an HTTP answer, cut as the real probe cuts it for who asks for `most` bytes; `seconds` is how long it took."""
    return HttpAnswer(status, headers or {}, _bytes(body)[:most], seconds)


def tcp_answer(received: bytes | str = b"", *, seconds: float = 0.01) -> TcpAnswer:
    """Return what came back over TCP, cut as the real probe cuts it; `seconds` is how long it took."""
    return TcpAnswer(_bytes(received)[:KEPT], seconds)


def tls_answer(*certificates: bytes, version: str = "1.3", untrusted: str = "", seconds: float = 0.01) -> TlsAnswer:
    """Return a handshake in which these certificates were shown, in DER, the instance's own first."""
    return TlsAnswer(version, certificates, untrusted, seconds)


def udp_answer(received: bytes | str = b"", *, seconds: float = 0.01) -> UdpAnswer:
    """Return the datagram that came back; `seconds` is how long it took."""
    return UdpAnswer(_bytes(received), seconds)


def echo_answer(*round_trips: float, lost: int = 0) -> EchoAnswer:
    """Return the echoes that came, with how long each took in seconds; `lost` more were asked for."""
    return EchoAnswer(len(round_trips) + lost, round_trips)


def program_answer(
    code: int = 0, stdout: bytes | str = b"", *, stderr: bytes | str = b"", seconds: float = 0.01
) -> ProgramAnswer:
    """Return how a program ended, its output cut as the real probe cuts it; `seconds` is how long it took."""
    return ProgramAnswer(code, _bytes(stdout)[:KEPT], _bytes(stderr)[:KEPT], seconds)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What the check asked over HTTP, and when: seconds since it began."""

    method: str
    url: str
    headers: Mapping[str, str]
    verify: bool
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TcpRequest:
    """What the check asked over TCP: `send` is what it sent, `until` what it waited for, or `prefix` how long the length is."""

    host: str
    port: int
    send: bytes
    until: bytes
    prefix: int = 0
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TlsRequest:
    """With whom the check shook hands, and on which terms."""

    host: str
    port: int
    server_name: str
    verify: bool
    ca_file: str
    least: TlsVersion
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class UdpRequest:
    """What the check asked over UDP."""

    host: str
    port: int
    payload: bytes
    at: float = field(default=0.0, compare=False)


Reply: TypeAlias = Callable[[bytes], bytes]
"""Makes a datagram of the one that was sent: for protocols whose answers repeat something of the question."""


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """How many echoes the check asked for, and how long it would have waited for each, in seconds."""

    host: str
    count: int
    wait: float
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class ProgramRequest:
    """What the check ran, and with which additions to the environment; `at` as with HTTP."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class SshRequest:
    """What the check ran on the machine, and as whom."""

    host: str
    argv: tuple[str, ...]
    login: SshLogin
    at: float = field(default=0.0, compare=False)


class FakeProbe:
    """A probe that answers from a script, in order.

    Each entry is an answer, or what the real probe would raise: `Refusal("connection refused")` for an instance that
    turns the check away, `NoAnswer("timed out")` for one that says nothing, `Unrunnable("no such file")` for a program
    that can't be run. An answer comes after its own `seconds`, a failure at once. `http.asked`, `tcp.asked` and so on tell
    afterwards what the check asked, and when. Like the real one it refuses link-local addresses. Where an answer depends on
    the question, an entry of `tcp` or `udp` may be a function of what was sent.
    """

    def __init__(
        self,
        *,
        http: Sequence[HttpAnswer | Refusal | NoAnswer] = (),
        tcp: Sequence[TcpAnswer | Reply | Refusal | NoAnswer] = (),
        tls: Sequence[TlsAnswer | Refusal | NoAnswer | Unrunnable] = (),
        udp: Sequence[UdpAnswer | Reply | Refusal | NoAnswer] = (),
        icmp: Sequence[EchoAnswer | NoAnswer | Unrunnable] = (),
        program: Sequence[ProgramAnswer | Unrunnable] = (),
        ssh: Sequence[ProgramAnswer | Refusal | NoAnswer | Unrunnable] = (),
    ) -> None:
        """Take the script."""
        self._ssh = FakeSsh(_Script("SSH", ssh))
        self._program = FakeProgram(_Script("program", program))
        self._http = FakeHttp(_Script("HTTP", http))
        self._tcp = FakeTcp(_Script("TCP", tcp))
        self._tls = FakeTls(_Script("TLS", tls))
        self._udp = FakeUdp(_Script("UDP", udp))
        self._icmp = FakeIcmp(_Script("ICMP", icmp))

    @property
    def http(self) -> FakeHttp:
        """HTTP."""
        return self._http

    @property
    def tcp(self) -> FakeTcp:
        """TCP."""
        return self._tcp

    @property
    def tls(self) -> FakeTls:
        """TLS."""
        return self._tls

    @property
    def udp(self) -> FakeUdp:
        """UDP."""
        return self._udp

    @property
    def icmp(self) -> FakeIcmp:
        """ICMP."""
        return self._icmp

    @property
    def program(self) -> FakeProgram:
        """Programs."""
        return self._program

    @property
    def ssh(self) -> FakeSsh:
        """Commands on the instance."""
        return self._ssh

    @property
    def overrun(self) -> str:
        """Say that the check asked for more than the script has; '' when it did not."""
        scripts = [
            side.script for side in (self._http, self._tcp, self._tls, self._udp, self._icmp, self._program, self._ssh)
        ]
        return next((script.overrun for script in scripts if script.overrun), "")


class FakeHttp:
    """The HTTP side of a `FakeProbe`."""

    def __init__(self, script: _Script[HttpAnswer]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[HttpRequest] = []

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        verify: bool = True,
        most: int = KEPT_BODY,
    ) -> HttpAnswer:
        """Answer from the script."""
        refuse_forbidden(URL(url, encoded=True).host or "")
        self.asked.append(HttpRequest(method, url, dict(headers or {}), verify, self.script.now()))
        answer = await self.script.next()
        return replace(answer, body=answer.body[:most])


class FakeTcp:
    """The TCP side of a `FakeProbe`."""

    def __init__(self, script: _Script[TcpAnswer | Reply]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[TcpRequest] = []

    async def connect(
        self, host: str, port: int, *, send: bytes = b"", until: bytes = b"", prefix: int = 0
    ) -> TcpAnswer:
        """Answer from the script; a message that follows its length is scripted without it."""
        refuse_forbidden(host)
        self.asked.append(TcpRequest(host, port, send, until, prefix, self.script.now()))
        entry = await self.script.next()
        return entry if isinstance(entry, TcpAnswer) else tcp_answer(entry(send))


class FakeTls:
    """The TLS side of a `FakeProbe`."""

    def __init__(self, script: _Script[TlsAnswer]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[TlsRequest] = []

    async def handshake(
        self,
        host: str,
        port: int,
        *,
        server_name: str = "",
        verify: bool = True,
        ca_file: str = "",
        least: TlsVersion = "1.2",
    ) -> TlsAnswer:
        """Answer from the script."""
        refuse_forbidden(host)
        self.asked.append(TlsRequest(host, port, server_name, verify, ca_file, least, self.script.now()))
        return await self.script.next()


class FakeUdp:
    """The UDP side of a `FakeProbe`."""

    def __init__(self, script: _Script[UdpAnswer | Reply]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[UdpRequest] = []

    async def ask(
        self, host: str, port: int, payload: bytes, *, accept: Callable[[bytes], bool] | None = None
    ) -> UdpAnswer:
        """Answer from the script: with the next datagram that is accepted."""
        refuse_forbidden(host)
        self.asked.append(UdpRequest(host, port, payload, self.script.now()))
        while True:
            entry = await self.script.next()
            answer = entry if isinstance(entry, UdpAnswer) else udp_answer(entry(payload))
            if accept is None or accept(answer.received):
                return answer


class FakeIcmp:
    """The ICMP side of a `FakeProbe`."""

    def __init__(self, script: _Script[EchoAnswer]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[EchoRequest] = []

    async def echo(self, host: str, *, count: int = 1, wait: float = 1.0) -> EchoAnswer:
        """Answer from the script."""
        refuse_forbidden(host)
        self.asked.append(EchoRequest(host, count, wait, self.script.now()))
        return await self.script.next()


class FakeProgram:
    """The program side of a `FakeProbe`."""

    def __init__(self, script: _Script[ProgramAnswer]) -> None:
        """Nothing was run yet."""
        self.script = script
        self.asked: list[ProgramRequest] = []

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        """Answer from the script."""
        self.asked.append(ProgramRequest(tuple(argv), dict(env or {}), self.script.now()))
        return await self.script.next()


class FakeSsh:
    """The SSH side of a `FakeProbe`."""

    def __init__(self, script: _Script[ProgramAnswer]) -> None:
        """Nothing was run yet."""
        self.script = script
        self.asked: list[SshRequest] = []

    async def run(self, host: str, argv: Sequence[str], login: SshLogin) -> ProgramAnswer:
        """Answer from the script."""
        refuse_forbidden(host)
        self.asked.append(SshRequest(host, tuple(argv), login, self.script.now()))
        return await self.script.next()


class _Script(Generic[A]):
    """What is left to be answered."""

    def __init__(self, what: str, entries: Sequence[A | Refusal | NoAnswer | Unrunnable]) -> None:
        self._what = what
        self._entries = tuple(entries)
        self._place = 0
        self._begun: float | None = None
        self.overrun = ""

    def now(self) -> float:
        """Return the seconds since the check first asked."""
        now = asyncio.get_running_loop().time()
        if self._begun is None:
            self._begun = now
        return now - self._begun

    async def next(self) -> A:
        """Return the next answer once its time has passed, or raise the next failure."""
        self._place += 1
        if self._place > len(self._entries):
            self.overrun = (
                f"the check asked over {self._what} {self._place} times, but the probe has {len(self._entries)} answers; "
                f"give FakeProbe({self._what.lower()}=[…]) one for each"
            )
            raise AssertionError(self.overrun)
        entry = self._entries[self._place - 1]
        if isinstance(entry, Refusal | NoAnswer | Unrunnable):
            raise entry
        await asyncio.sleep(_took(entry))
        return entry


def _took(entry: object) -> float:
    """Return how long an answer takes; one that is made by a function comes at once."""
    if isinstance(entry, EchoAnswer):
        return max(entry.round_trips)
    return float(getattr(entry, "seconds", 0.0))


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
