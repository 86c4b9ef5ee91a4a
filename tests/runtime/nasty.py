"""A server that does as it is told, step by step, well or badly; and certificates for it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SILENCE, RESET, CLOSE, DRIP, ASKED, HEARD = "silence", "reset", "close", "drip", "asked", "heard"
Step: TypeAlias = bytes | str
"""Bytes are sent; `asked` waits for a request, `heard` for a byte; `drip` says a status line, slower than anybody waits."""


class Nasty:
    """Listens; plays one script for each connection, the last one again and again."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                for step in script:
                    await self._play(step, reader, writer)
        finally:
            writer.transport.abort()

    async def _play(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case "asked":
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            case "heard":
                await reader.read(1)
            case "silence":
                await reader.read()
            case "close":
                writer.close()
                await writer.wait_closed()
            case "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case "drip":
                for byte in b"HTTP/1.1 200 OK\r\n":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)

    @asynccontextmanager
    async def listening(self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Nasty]:
        """Listen until the end of the block."""
        server = await asyncio.start_server(self.serve, address, 0, ssl=tls, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


class Authority:
    """Signs certificates. `file` is what trusts it; `above`, if any, is who signed it."""

    def __init__(
        self, folder: Path, *, name: str = "authority", days: float = 1, above: Authority | None = None
    ) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = above or self
        builder = _builder(signer.name, self.name, self.key, days=days)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certificate(
        self,
        *names: str,
        days: float = 1,
        since: float = -10,
        own: bool = False,
        chain: bool = False,
        file: str = "server",
    ) -> Path:
        """Return a file with a key and a certificate for these names; `own` signs it with its own key.

        `chain` shows the authority's certificate with it; `days` is when it ends, `since` when it begins.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        builder = _builder(subject if own else self.name, subject, key, days=days, since=since)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        certificate = builder.sign(key if own else self.key, hashes.SHA256())
        path = self.folder / f"{file}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
            + (self.file.read_bytes() if chain else b"")
        )
        return path

    def context(
        self, *names: str, days: float = 1, own: bool = False, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Return a server's settings with such a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(*names, days=days, own=own))
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
        return context


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: float, since: float = -10
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=since))
        .not_valid_after(now + dt.timedelta(days=days))
    )
