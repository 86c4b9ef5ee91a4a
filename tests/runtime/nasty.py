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
    """Signs certificates. `file` is what trusts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        builder = self._builder(self.name, self.key, days=1).add_extension(x509.BasicConstraints(True, None), True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def context(
        self, *names: str, days: int = 1, own: bool = False, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Return a server's settings with a certificate for these names; `own` signs it with its own key."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = (
            self._builder(subject, key, days=days)
            .add_extension(x509.SubjectAlternativeName(alternatives), False)
            .sign(key if own else self.key, hashes.SHA256())
        )
        file = self.folder / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
        return context
