"""One SSH connection to one instance, and the commands on it. The only module that imports asyncssh, which is an extra.

Of the account that runs us nothing is used: no configuration, no agent, no keys, no known hosts. The key of a check's
login is the only way in that is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import time
from functools import lru_cache
from typing import Any

import asyncssh
from asyncssh.constants import EXTENDED_DATA_STDERR

from supervisor.api import NoAnswer, ProgramAnswer, Refusal, SshLogin, Unrunnable
from supervisor.runtime.faults import OURS, meaning
from supervisor.runtime.lean.names import place_of, places_of
from supervisor.runtime.ssh import NoSession

KEPT = 64 * 1024
"""Bytes of each stream that are kept; the rest is read and forgotten."""
MOST_PRINTED = 1024 * 1024
"""Bytes after which a command is given up: reading costs us, and the machine decides how much."""
DRAINED_WITHIN = 1.0
"""Seconds that the streams may stay open when the command has ended: what it left behind may hold them."""
LARGEST_KEY = 64 * 1024
LINGER = 1.0


class Line:
    """An open connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, host: str) -> None:
        """Take it over."""
        self._connection = connection
        self._host = host

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it, as far as we know."""
        return not self._connection.is_closed()

    async def run(self, command: str) -> ProgramAnswer:
        """Run a line of shell, and leave nothing of it when cancelled. Raises `NoSession`, `Refusal`, `Unrunnable`."""
        session = _Session()
        try:
            try:
                await self._connection.create_session(lambda: session, command, encoding=None)
            except asyncssh.ChannelOpenError as error:
                remedy = "look at MaxSessions and at what the account may do"
                raise NoSession(Unrunnable(f"{self._host} begins no session ({error.reason}); {remedy}")) from error
            except (asyncssh.DisconnectError, OSError) as error:
                raise NoSession(Refusal("the connection was broken off")) from error
            return await session.ended
        finally:
            session.leave()

    async def close(self) -> None:
        """Take leave, and wait for it a moment. Never raises."""
        self._connection.close()
        try:
            async with asyncio.timeout(LINGER):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.abort()


class _Session(asyncssh.SSHClientSession[bytes]):
    """One command."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[ProgramAnswer] = asyncio.get_running_loop().create_future()
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._begun = time.monotonic()
        self._seconds = 0.0
        self._code: int | None = None
        self._kept = {None: bytearray(), EXTENDED_DATA_STDERR: bytearray()}
        self._printed = 0
        self._draining: asyncio.TimerHandle | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        self._begun = time.monotonic()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._printed += len(data)
        kept = self._kept.setdefault(datatype, bytearray())
        kept += data[: KEPT - len(kept)]
        if self._printed > MOST_PRINTED and not self.ended.done():
            self.ended.set_exception(Unrunnable("the command prints more than 1 MiB; have it print less"))

    def exit_status_received(self, status: int) -> None:
        self._exited(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # asyncssh's
        self._exited(-_number(signal))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def leave(self) -> None:
        """Kill what still runs, and close."""
        if self._draining is not None:
            self._draining.cancel()
        if self._channel is not None and not self._channel.is_closing():
            if self._code is None:
                with contextlib.suppress(OSError):
                    self._channel.kill()
            self._channel.close()
        if self.ended.done() and not self.ended.cancelled():
            self.ended.exception()  # retrieved, even where nobody waits any more

    def _exited(self, code: int) -> None:
        self._code = code
        self._seconds = time.monotonic() - self._begun
        self._draining = asyncio.get_running_loop().call_later(DRAINED_WITHIN, self._end)

    def _end(self) -> None:
        if self.ended.done():
            return
        if self._code is None:
            self.ended.set_exception(Refusal("the connection was broken off before the command ended"))
            return
        out, err = bytes(self._kept[None]), bytes(self._kept[EXTENDED_DATA_STDERR])
        self.ended.set_result(ProgramAnswer(self._code, out, err, self._seconds))


async def connect(host: str, login: SshLogin) -> Line:
    """Connect and log in. Raises `Refusal`, `NoAnswer`, `Unrunnable`, and `OSError` for faults of our own."""
    key = _key(login.key_file)
    known = _known_hosts(login.known_hosts)
    sock = await _connected(host, login.port)
    try:
        return Line(await _logged_in(sock, host, login, key, known), host)
    except asyncssh.HostKeyNotVerifiable as error:
        remedy = f"add its key, or the authority that signs host keys, to {login.known_hosts}"
        raise Unrunnable(f"{host} shows a host key that is not known; {remedy}") from error
    except (asyncssh.PermissionDenied, asyncssh.IllegalUserName) as error:
        remedy = "put its public key into that account's authorized_keys"
        raise Unrunnable(f"{host} does not let {login.user} in with {login.key_file}; {remedy}") from error
    except asyncssh.KeyExchangeFailed as error:
        raise Unrunnable(f"{host} and we have no way of SSH in common ({error.reason}); mend its server") from error
    except asyncssh.ConnectionLost as error:
        raise Refusal("the connection was closed before the login") from error
    except (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported) as error:
        raise Refusal("broken answer (not SSH)") from error
    except asyncssh.DisconnectError as error:
        raise Refusal(f"the connection was closed before the login ({error.reason})") from error
    except OSError as error:
        raise meaning(error) from error


async def _logged_in(
    sock: socket.socket,
    host: str,
    login: SshLogin,
    key: asyncssh.SSHKey,
    known: Any,  # Any: asyncssh's, or None
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        host,
        login.port,
        sock=sock,
        config=None,
        username=login.user,
        client_keys=[key],
        known_hosts=known,
        agent_path=None,
        preferred_auth="publickey",
        gss_host=None,
        x509_trusted_certs=None,
        compression_algs=None,
    )


async def _connected(host: str, port: int) -> socket.socket:
    place = place_of(host)
    places = [place] if place else list(await places_of(host))
    for left, (family, address) in zip(range(len(places) - 1, -1, -1), places, strict=True):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
            return sock
        except OSError as error:
            sock.close()
            if not left or error.errno in OURS:
                raise meaning(error) from error
        except BaseException:
            sock.close()
            raise
    raise NoAnswer("it has no address")


def _key(path: str) -> asyncssh.SSHKey:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                raise Unrunnable(f"everyone may read {path}; run `chmod o-rwx {path}`")
            data = file.read(LARGEST_KEY)
    except OSError as error:
        raise Unrunnable(f"{path} can't be read ({error.strerror}); put the private key there") from error
    try:
        return asyncssh.import_private_key(data)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise Unrunnable(
            f"{path} holds no private key without a passphrase; make one with `ssh-keygen -N ''`"
        ) from error


def _known_hosts(path: str) -> asyncssh.SSHKnownHosts | None:
    if not path:
        return None
    try:
        state = os.stat(path)
        return _read_known_hosts(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise Unrunnable(f"{path} can't be read ({error.strerror}); put the host keys there") from error
    except ValueError as error:
        raise Unrunnable(f"{path} is no file of known hosts ({error}); mend it") from error


@lru_cache(8)
def _read_known_hosts(path: str, _changed: int, _size: int) -> asyncssh.SSHKnownHosts:
    """Read once for each version of the file: it may hold thousands of keys."""
    return asyncssh.read_known_hosts(path)


def _number(name: str) -> int:
    found = getattr(signal, f"SIG{name}", signal.SIGKILL)
    return int(found)
