"""What checks ask with: HTTP and TCP to the instance, and programs; bounded in time by the runner and in size here.

A refusal is an answer; silence is none: every way in which a connection can fail is put into one of the two. Nothing
here follows a redirect, a proxy or a cookie, and no check can be talked into asking a link-local address.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import time
from collections.abc import Mapping

import aiohttp
from yarl import URL

from supervisor.api import HttpAnswer, NoAnswer, Refusal, TcpAnswer
from supervisor.runtime.program import Programs

KEPT_BODY = 64 * 1024
SILENT = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def refuse_forbidden(host: str) -> None:
    """Raise `PermissionError` for a link-local address: metadata services live there, machines do not."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast:
        raise PermissionError(f"{host} is no address of a machine: checks may not ask it")


def _failed(error: OSError) -> Exception:
    """Turn an operating system's error into an answer, into silence, or into a fault of our own."""
    if error.errno in OURS:
        return error
    words = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    return NoAnswer(words) if error.errno in SILENT else Refusal(words)


class Http:
    """HTTP with a new connection for each request."""

    def __init__(self) -> None:
        """Nothing is opened before the first request."""
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
                auto_decompress=False,
                max_line_size=8190,
                max_field_size=8190,
                skip_auto_headers=("Accept-Encoding", "Accept"),
                headers={"User-Agent": "sickbay"},
            )
        return self._session

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", verify: bool = True
    ) -> HttpAnswer:
        """Ask once. Raises `Refusal` or `NoAnswer`."""
        target = URL(url, encoded=True)
        refuse_forbidden(target.host or "")
        begun = time.monotonic()
        try:
            async with self._open().request(
                method, target, headers=headers, allow_redirects=False, ssl=verify
            ) as answer:
                body = b""
                while len(body) < KEPT_BODY:
                    chunk = await answer.content.read(KEPT_BODY - len(body))
                    if not chunk:
                        break
                    body += chunk
                return HttpAnswer(answer.status, dict(answer.headers), body, time.monotonic() - begun)
        except aiohttp.ClientConnectorCertificateError as error:
            raise Refusal("the certificate is not trusted") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise OSError(errno.EADDRNOTAVAIL, "the name does not resolve") from error
        except aiohttp.ClientOSError as error:
            raise _failed(error) from error
        except aiohttp.ClientError as error:
            raise Refusal(f"broken answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()


class Tcp:
    """TCP."""

    async def connect(self, host: str, port: int, *, send: bytes = b"", until: bytes = b"") -> TcpAnswer:
        """Connect, send, read until `until` appears. Raises `Refusal` or `NoAnswer`."""
        refuse_forbidden(host)
        begun = time.monotonic()
        received = b""
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=KEPT_BODY)
            try:
                if send:
                    writer.write(send)
                    await writer.drain()
                while until and until not in received and len(received) < KEPT_BODY:
                    chunk = await reader.read(4096)
                    if not chunk:
                        break
                    received += chunk
            finally:
                writer.transport.abort()
        except socket.gaierror as error:
            raise OSError(errno.EADDRNOTAVAIL, "the name does not resolve") from error
        except OSError as error:
            raise _failed(error) from error
        return TcpAnswer(received, time.monotonic() - begun)


class NetworkProbe:
    """Everything a check may ask with."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._http = Http()
        self._tcp = Tcp()
        self._programs: Programs | None = None

    @property
    def http(self) -> Http:
        """HTTP."""
        return self._http

    @property
    def tcp(self) -> Tcp:
        """TCP."""
        return self._tcp

    @property
    def program(self) -> Programs:
        """Programs. Who asks for it adopts orphans: so the prober never does."""
        if self._programs is None:
            self._programs = Programs()
        return self._programs

    async def close(self) -> None:
        """Let go of the connections, and of the programs."""
        await self._http.close()
        if self._programs is not None:
            await self._programs.close()
