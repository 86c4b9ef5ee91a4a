"""TLS handshakes of which the certificates are the answer: whoever shows a bad one is heard to the end."""

from __future__ import annotations

import _ssl
import asyncio
import os
import socket
import ssl
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import TypeAlias

from supervisor.api import Refusal, TlsAnswer, TlsVersion, Unrunnable
from supervisor.runtime.lean.names import Place
from supervisor.runtime.lean.reading import KEPT, broken
from supervisor.runtime.places import ask_in_turn

SIZE = 16 * 1024
LEAST = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
TOO_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})

Authorities: TypeAlias = tuple[str, int]
"""The file, '' for the system's, and when it was changed, in nanoseconds."""


class _Untrusted(Exception):
    """The chain is not trusted, and why."""


class Tls:
    """Handshakes over a connection of their own, none resumed: so each certificate is looked at."""

    def __init__(self) -> None:
        """Read no authorities before somebody wants them."""
        self._contexts: dict[tuple[str, TlsVersion], tuple[int, ssl.SSLContext]] = {}

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
        """Shake hands. Raises `Refusal`, `NoAnswer` or `Unrunnable`, and `OSError` for our own faults."""

        async def shake(context: ssl.SSLContext, untrusted: str) -> TlsAnswer:
            return await ask_in_turn(host, lambda place: _handshake(place, port, context, server_name, untrusted))

        untrusted = ""
        if verify:
            try:
                return await shake(self._strict(ca_file, least), "")
            except _Untrusted as why:
                untrusted = str(why)
        return await shake(_lenient(least), untrusted)

    def _strict(self, ca_file: str, least: TlsVersion) -> ssl.SSLContext:
        """Return the settings that hold a chain against these authorities, read anew when their file has changed."""
        try:
            changed = os.stat(ca_file).st_mtime_ns if ca_file else 0
            since, context = self._contexts.get((ca_file, least), (-1, None))
            if context is None or since != changed:
                context = _settings(least)
                context.verify_mode = ssl.CERT_REQUIRED
                if ca_file:
                    context.load_verify_locations(ca_file)
                else:
                    context.load_default_certs()
                self._contexts[ca_file, least] = changed, context
        except ssl.SSLError as error:
            raise Unrunnable(f"{ca_file} holds no certificates in PEM; mend `ca_file`") from error
        except OSError as error:
            words = os.strerror(error.errno or 0).lower()
            raise Unrunnable(f"{ca_file} can't be read: {words}; mend `ca_file`") from error
        return context


def _settings(least: TlsVersion) -> ssl.SSLContext:
    """Return settings that take any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = LEAST[least]
    return context


_lenient = lru_cache(_settings)


async def _handshake(place: Place, port: int, context: ssl.SSLContext, server_name: str, untrusted: str) -> TlsAnswer:
    """Shake hands at one place. Raises `_Untrusted`, `Refusal` and `OSError`."""
    family, address = place
    begun = monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        tls = await _shaken(sock, context, server_name)
        seconds = monotonic() - begun
        return TlsAnswer((tls.version() or "").removeprefix("TLSv"), _certificates(tls), untrusted, seconds)


async def _shaken(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> ssl.SSLObject:
    """Return the other side's word; the last one of ours is that it was all we wanted."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name.rstrip(".") or None)
    heard = 0
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(sock, outgoing.read())
        except ssl.SSLCertVerificationError as error:
            raise _Untrusted(error.verify_message) from None
        except ssl.SSLError as error:
            raise _refusal(error, context) from None
        else:
            break
        received = await loop.sock_recv(sock, SIZE)
        heard += len(received)
        if not received:
            raise broken("TLS: closed within the handshake")
        if heard > KEPT:
            raise broken("TLS: the handshake has no end")
        incoming.write(received)
    with suppress(ssl.SSLError):
        tls.unwrap()  # says farewell; who waits for theirs?
    await loop.sock_sendall(sock, outgoing.read())
    return tls


def _refusal(error: ssl.SSLError, context: ssl.SSLContext) -> Refusal:
    reason = error.reason or "failed"
    if reason in TOO_OLD:
        return Refusal(
            f"it does not speak TLS {context.minimum_version.name.removeprefix('TLSv').replace('_', '.')} or newer"
        )
    if reason in NO_TLS:
        return Refusal("what answers does not speak TLS")
    return broken(f"TLS: {reason.lower().replace('_', ' ')}")


def _certificates(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return what was shown, in DER. Before Python 3.13 the method is there, but under the object's surface."""
    if hasattr(tls, "get_unverified_chain"):
        return tuple(tls.get_unverified_chain())
    shown = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001  # as above
    return tuple(one.public_bytes(_ssl.ENCODING_DER) for one in shown or ())
