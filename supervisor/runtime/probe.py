"""What checks ask with: the network, and programs; bounded in time by the runner and in size here.

A refusal is an answer; silence is none: every way in which a connection can fail is put into one of the two. Nothing
here follows a redirect, a proxy or a cookie, and no check can be talked into asking a link-local address.
"""

from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections.abc import Mapping
from string import punctuation
from urllib.parse import quote, unquote, urlsplit

from supervisor.api import KEPT_BODY, Answer, HttpAnswer, HttpQuestion, Question, TcpAnswer, TcpQuestion
from supervisor.runtime.asking import Asker, Outcome
from supervisor.runtime.datagrams import Icmp, Udp
from supervisor.runtime.handshake import Tls
from supervisor.runtime.lean import LeanAsker
from supervisor.runtime.program import Programs
from supervisor.runtime.ssh import Ssh

PORTS = {"http": 80, "https": 443}


class Network:
    """Questions with a coroutine for each, for whoever writes a check as one."""

    def __init__(self, asker: Asker | None) -> None:
        """Take an asker, or open one with the first question."""
        self._asker = asker
        self._own: LeanAsker | None = None

    async def ask(self, question: Question, host: str) -> Answer:
        """Ask once; the time limit is the caller's. Raises `Refusal` or `NoAnswer`, and `OSError` for our own faults."""
        if self._asker is None:
            self._asker = self._own = LeanAsker()
        waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not waiting.done():  # cancelled a moment ago
                waiting.set_result(outcome)

        give_up = self._asker.ask(self._asker.prepare(question), host, math.inf, done)
        try:
            outcome = await waiting
        finally:
            give_up()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Let go of what we opened ourselves."""
        if self._own is not None:
            await self._own.close()


class Http:
    """HTTP with a new connection for each request."""

    def __init__(self, network: Network) -> None:
        """Ask there."""
        self._network = network

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        verify: bool = True,
        most: int = KEPT_BODY,
    ) -> HttpAnswer:
        """Ask once. Raises `Refusal` or `NoAnswer`, and `ValueError` for what is no URL."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no http or https URL")
        fields = dict(headers or {})
        if parts.username is not None or parts.password is not None:
            words = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            fields.setdefault("Authorization", f"Basic {b64encode(words.encode()).decode()}")
        question = HttpQuestion(
            port=PORTS[parts.scheme] if parts.port is None else parts.port,
            path=quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=punctuation),
            method=method,
            headers=fields,
            tls=parts.scheme == "https",
            verify=verify,
            most=most,
        )
        answer = await self._network.ask(question, parts.hostname)
        if not isinstance(answer, HttpAnswer):
            raise TypeError(f"{type(answer).__name__} is no answer to an HTTP request")
        return answer


class Tcp:
    """TCP."""

    def __init__(self, network: Network) -> None:
        """Ask there."""
        self._network = network

    async def connect(
        self, host: str, port: int, *, send: bytes = b"", until: bytes = b"", prefix: int = 0
    ) -> TcpAnswer:
        """Connect, send, read until `until` appears or the message is whole. Raises `Refusal` or `NoAnswer`."""
        answer = await self._network.ask(TcpQuestion(port, send, until, prefix), host)
        if not isinstance(answer, TcpAnswer):
            raise TypeError(f"{type(answer).__name__} is no answer to a TCP connection")
        return answer


class NetworkProbe:
    """Everything a check may ask with."""

    def __init__(self, asker: Asker | None = None) -> None:
        """Open nothing yet; an `asker` of one's own is not closed with this."""
        self._network = Network(asker)
        self._http = Http(self._network)
        self._tcp = Tcp(self._network)
        self._tls = Tls()
        self._programs: Programs | None = None
        self._ssh = Ssh()

    @property
    def http(self) -> Http:
        """HTTP."""
        return self._http

    @property
    def tcp(self) -> Tcp:
        """TCP."""
        return self._tcp

    @property
    def tls(self) -> Tls:
        """TLS."""
        return self._tls

    @property
    def udp(self) -> Udp:
        """UDP."""
        return Udp()

    @property
    def icmp(self) -> Icmp:
        """ICMP."""
        return Icmp()

    @property
    def program(self) -> Programs:
        """Programs. Who asks for it adopts orphans: so the prober never does."""
        if self._programs is None:
            self._programs = Programs()
        return self._programs

    @property
    def ssh(self) -> Ssh:
        """Commands on the instance."""
        return self._ssh

    async def close(self) -> None:
        """Let go of the connections, and of the programs."""
        await self._network.close()
        await self._ssh.close()
        if self._programs is not None:
            await self._programs.close()
