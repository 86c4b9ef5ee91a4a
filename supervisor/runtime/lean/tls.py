"""TLS over bytes, without I/O; and the sessions with which the next handshake is a short one.

A resumed session has its certificate not looked at again: so none is used for longer than five minutes after a whole
handshake, and a certificate that has gone bad is seen by then.
"""

from __future__ import annotations

import errno
import ssl
from time import monotonic
from typing import TypeAlias

from supervisor.api import Refusal
from supervisor.core.terms import Seconds
from supervisor.runtime.lean.reading import broken

Key: TypeAlias = tuple[str, int, bool | None]
"""A host, its port, and whether its certificate counts; None without TLS."""

MOST_SESSIONS = 10_000
SESSION_LIFE: Seconds = 300.0
SIZE = 16 * 1024


class Channel:
    """One connection's cipher: bytes of the wire on one side, plain ones on the other."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "_told", "key", "open")

    def __init__(self, context: ssl.SSLContext, key: Key, session: ssl.SSLSession | None) -> None:
        """Begin; `open` once the handshake is over."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=key[0], session=session)
        self.key = key
        self.open = False
        self._told = False

    def shake(self, received: bytes = b"") -> bool:
        """Go on with the handshake; return whether it is over. Raises `Refusal`."""
        self._incoming.write(received)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise _refused(error) from None
        self.open = True
        return True

    def seal(self, plain: bytes = b"") -> bytes:
        """Return what is to be sent: what is due anyhow, and this."""
        if plain:
            self._tls.write(plain)
        return self._outgoing.read()

    def unseal(self, received: bytes = b"") -> bytes | None:
        """Return what that says: None for nothing yet, and b"" at the end. Raises `Refusal`."""
        self._incoming.write(received)
        plain = b""
        try:
            while data := self._tls.read(SIZE):
                plain += data
                if not self._incoming.pending and not self._tls.pending():
                    return plain
        except ssl.SSLWantReadError:
            return plain or None
        except ssl.SSLError as error:
            raise _refused(error) from None
        return plain

    def session(self) -> ssl.SSLSession | None:
        """Return, once, what a later handshake can resume; None where this one was resumed itself."""
        told, self._told = self._told, True
        return None if told or self._tls.session_reused else self._tls.session


class Sessions:
    """The two ways to look at a certificate, and the sessions of five minutes."""

    def __init__(self) -> None:
        """Read no certificates before somebody wants them."""
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._known: dict[Key, tuple[ssl.SSLSession, Seconds]] = {}  # the oldest first

    def context(self, *, verify: bool) -> ssl.SSLContext:
        """Return the settings; the first call reads the system's certificates, which takes tens of milliseconds."""
        if verify not in self._contexts:
            made = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.check_hostname = verify
            made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
            made.minimum_version = ssl.TLSVersion.TLSv1_2
            made.set_alpn_protocols(["http/1.1"])
            self._contexts[verify] = made
        return self._contexts[verify]

    def channel(self, host: str, port: int, *, verify: bool) -> Channel:
        """Return a channel to a host; it resumes where there is a session."""
        key = (host, port, verify)
        session, since = self._known.get(key, (None, 0.0))
        if session is not None and since + SESSION_LIFE < monotonic():
            del self._known[key]
            session = None
        try:
            return Channel(self.context(verify=verify), key, session)
        except ValueError as error:
            raise OSError(errno.EADDRNOTAVAIL, "no certificate can be for that name") from error

    def keep(self, channel: Channel) -> None:
        """Keep the session of a channel that has had its answer, while there is room: whoever is in, stays in."""
        session = channel.session()
        if session is None:
            return
        now = monotonic()
        self._known.pop(channel.key, None)
        if len(self._known) >= MOST_SESSIONS:
            oldest = next(iter(self._known))
            if self._known[oldest][1] + SESSION_LIFE >= now:
                return
            del self._known[oldest]
        self._known[channel.key] = (session, now)


def _refused(error: ssl.SSLError) -> Refusal:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal("the certificate is not trusted")
    return broken(f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}")
