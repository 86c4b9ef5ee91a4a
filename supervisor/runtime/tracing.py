"""A probe that writes down what a check asks and what comes back, for the author who runs it by hand.

Values of headers and passwords in URLs are not written down: what is shown here is pasted into tickets.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from supervisor.api import (
    KEPT_BODY,
    Check,
    EchoAnswer,
    HttpAnswer,
    HttpProbe,
    IcmpProbe,
    Probe,
    ProgramAnswer,
    ProgramProbe,
    SshLogin,
    SshProbe,
    TcpAnswer,
    TcpProbe,
    TlsAnswer,
    TlsProbe,
    TlsVersion,
    UdpAnswer,
    UdpProbe,
)
from supervisor.core.terms import Seconds
from supervisor.core.text import clean

T = TypeVar("T")

FIRST = 160
"""Bytes of an answer that are shown."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and what came of it. `at` and `took` in seconds, `at` since the run began."""

    at: Seconds
    took: Seconds
    asked: str
    came: str


class Tracing:
    """Stands between a check and a probe. One for each run."""

    def __init__(self, probe: Probe) -> None:
        """Begin with nothing asked."""
        self.exchanges: list[Exchange] = []
        self._probe = probe
        self._begun = time.monotonic()

    @property
    def http(self) -> HttpProbe:
        """HTTP."""
        return _Http(self, self._probe.http)

    @property
    def tcp(self) -> TcpProbe:
        """TCP."""
        return _Tcp(self, self._probe.tcp)

    @property
    def tls(self) -> TlsProbe:
        """TLS."""
        return _Tls(self, self._probe.tls)

    @property
    def udp(self) -> UdpProbe:
        """UDP."""
        return _Udp(self, self._probe.udp)

    @property
    def icmp(self) -> IcmpProbe:
        """ICMP."""
        return _Icmp(self, self._probe.icmp)

    @property
    def ssh(self) -> SshProbe:
        """Commands on the instance."""
        return _Ssh(self, self._probe.ssh)

    @property
    def program(self) -> ProgramProbe:
        """Programs."""
        return _Program(self, self._probe.program)

    async def note(self, asked: str, asking: Awaitable[T], told: Callable[[T], str]) -> T:
        """Wait for an answer, and write it down; what is raised goes on to the check."""
        begun = time.monotonic()
        came = "given up: the check's time was over"
        try:
            answer = await asking
            came = told(answer)
        except Exception as error:
            came = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.exchanges.append(Exchange(begun - self._begun, time.monotonic() - begun, clean(asked), clean(came)))
        return answer


class _Http:
    def __init__(self, tracing: Tracing, probe: HttpProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        verify: bool = True,
        most: int = KEPT_BODY,
    ) -> HttpAnswer:
        named = f" with {', '.join(headers)}" if headers else ""
        unsure = "" if verify else ", any certificate"
        asking = self._probe.get(url, headers=headers, method=method, verify=verify, most=most)
        return await self._tracing.note(f"{method} {_plain(url)}{named}{unsure}", asking, _told_of_http)


class _Tcp:
    def __init__(self, tracing: Tracing, probe: TcpProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def connect(
        self, host: str, port: int, *, send: bytes = b"", until: bytes = b"", prefix: int = 0
    ) -> TcpAnswer:
        sent = f", send {shown(send)}" if send else ""
        ends = f", read until {shown(until)}" if until else f", read a message after {prefix} bytes" if prefix else ""
        asking = self._probe.connect(host, port, send=send, until=until, prefix=prefix)
        return await self._tracing.note(f"connect {host}:{port}{sent}{ends}", asking, _told_of_tcp)


class _Tls:
    def __init__(self, tracing: Tracing, probe: TlsProbe) -> None:
        self._tracing, self._probe = tracing, probe

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
        name = f" as {server_name}" if server_name else ""
        asking = self._probe.handshake(host, port, server_name=server_name, verify=verify, ca_file=ca_file, least=least)
        return await self._tracing.note(f"handshake {host}:{port}{name}, TLS {least} or newer", asking, _told_of_tls)


class _Udp:
    def __init__(self, tracing: Tracing, probe: UdpProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def ask(
        self, host: str, port: int, payload: bytes, *, accept: Callable[[bytes], bool] | None = None
    ) -> UdpAnswer:
        asking = self._probe.ask(host, port, payload, accept=accept)
        return await self._tracing.note(f"datagram to {host}:{port}, {shown(payload)}", asking, _told_of_udp)


class _Icmp:
    def __init__(self, tracing: Tracing, probe: IcmpProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def echo(self, host: str, *, count: int = 1, wait: float = 1.0) -> EchoAnswer:
        asking = self._probe.echo(host, count=count, wait=wait)
        return await self._tracing.note(f"{count} echoes of {host}, each within {wait:g}s", asking, _told_of_icmp)


class _Ssh:
    def __init__(self, tracing: Tracing, probe: SshProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def run(self, host: str, argv: Sequence[str], login: SshLogin) -> ProgramAnswer:
        asking = self._probe.run(host, argv, login)
        return await self._tracing.note(
            f"run {list(argv)} as {login.user} at {host}:{login.port}", asking, _told_of_program
        )


class _Program:
    def __init__(self, tracing: Tracing, probe: ProgramProbe) -> None:
        self._tracing, self._probe = tracing, probe

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        named = f" with {', '.join(env)}" if env else ""
        return await self._tracing.note(f"run {list(argv)}{named}", self._probe.run(argv, env), _told_of_program)


def _told_of_http(answer: HttpAnswer) -> str:
    return f"HTTP {answer.status}, {len(answer.headers)} headers, {shown(answer.body)}"


def _told_of_tcp(answer: TcpAnswer) -> str:
    return shown(answer.received)


def _told_of_tls(answer: TlsAnswer) -> str:
    trust = f"not trusted: {answer.untrusted}" if answer.untrusted else "nothing against them"
    return f"TLS {answer.version}, {len(answer.certificates)} certificates, {trust}"


def _told_of_udp(answer: UdpAnswer) -> str:
    return shown(answer.received)


def _told_of_icmp(answer: EchoAnswer) -> str:
    trips = ", ".join(f"{trip * 1000:.1f}ms" for trip in answer.round_trips)
    return f"{len(answer.round_trips)} of {answer.sent} came back: {trips}"


def _told_of_program(answer: ProgramAnswer) -> str:
    errors = f", on standard error {shown(answer.stderr)}" if answer.stderr else ""
    return f"exit {answer.code}, {shown(answer.stdout)}{errors}"


def _plain(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return url
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()


def shown(data: bytes) -> str:
    """Return how many bytes there are, and the first of them as Python writes them, without the b."""
    if not data:
        return "nothing"
    more = "…" if len(data) > FIRST else ""
    return f"{len(data)} byte{'s' if len(data) != 1 else ''}: {repr(data[:FIRST])[1:]}{more}"


def frames(check: Check, error: BaseException | None) -> list[str]:
    """Return where in the author's file an exception came from, outermost first: "mine.py:12 in run: answer.json()"."""
    if error is None:
        return []
    own = inspect.getfile(type(check))
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return [clean(f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}") for frame in found]
