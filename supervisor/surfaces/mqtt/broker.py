"""Which broker, and what it knows us by. Two that are equal need no new connection: certificates are compared as read."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from supervisor.config import MqttTable
from supervisor.errors import ConfigError

AHEAD = 16 * 1024  # bytes: what one record of TLS holds
HUGE = 1024 * 1024
"""Bytes of one message that nobody needs: who is sent one hangs up, rather than hold it in memory."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker as it is configured, with its secrets."""

    host: str
    port: int
    tls: bool
    root: str
    client_id: str
    authorities: str  # PEM; '' for the system's
    certificate: str  # PEM; '' for none
    key: SecretStr
    user: str
    password: SecretStr

    def __str__(self) -> str:
        """Return its address."""
        return f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """Return how TLS is spoken to it. Raises `ssl.SSLError` and `ValueError` for what is no certificate or key."""
        made = ssl.create_default_context(cadata=self.authorities or None)
        made.sslsocket_class = _Socket
        if self.certificate:
            chain = os.memfd_create("certificate")  # the library wants a file; the key shall touch no disk
            try:
                os.write(chain, f"{self.certificate}\n{self.key.get_secret_value()}\n".encode())
                made.load_cert_chain(f"/proc/self/fd/{chain}", password=_no_password)
            finally:
                os.close(chain)
        return made


class _Socket(ssl.SSLSocket):
    """One for paho's manners: it asks for single bytes, and leaves a socket open whose handshake failed."""

    _ahead = b""
    _at = 0

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """Return at most so many bytes; what came with them is kept for the next call."""
        if size > HUGE:
            raise ConnectionAbortedError(f"a message of {size} bytes; set max_packet_size at the broker")
        if self._at >= len(self._ahead):
            self._ahead, self._at = super().recv(AHEAD, flags), 0
        begun = self._at
        self._at += size
        return self._ahead[begun : self._at]

    def pending(self) -> int:
        """Return how many bytes are here already, and wake nobody."""
        return max(0, len(self._ahead) - self._at) + super().pending()

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def read_broker(table: MqttTable, place: str, uid: str) -> Broker:
    """Read what a table refers to. Raises `ConfigError`; `place` is what its sentence begins with."""
    host, port, tls = table.address
    none = SecretStr("")
    broker = Broker(
        host=host,
        port=port,
        tls=tls,
        root=table.root,
        client_id=table.client_id or f"sickbay-{uid[:16]}",
        authorities=_pem(table.ca_file, f"{place} ca_file"),
        certificate=_pem(table.certificate, f"{place} certificate"),
        key=table.key.read(f"{place} key") if table.key else none,
        user=table.user,
        password=table.password.read(f"{place} password") if table.password else none,
    )
    if tls:
        try:
            broker.context()
        except (OSError, ValueError) as error:  # `ssl.SSLError` is an `OSError`
            why = getattr(error, "reason", None) or error
            raise ConfigError(f"{place} ca_file, certificate and key can't be used together: {why}") from error
    return broker


def _pem(path: str, place: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place}: {path} can't be read as PEM; put the certificate there") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; expected one without a passphrase")
