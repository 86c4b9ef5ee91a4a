"""What a check asks with: questions, the probes that put them, and the answers. All of it obeys the check's time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

KEPT_BODY = 64 * 1024
"""Bytes of an HTTP answer's body that are kept, unless a question asks for more."""

LARGEST_BODY = 1024 * 1024
"""More than this is never kept: whoever is asked sends what it likes, and hundreds may do so at once."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer.

    `body` is cut where the question says; `seconds` runs from the start of connecting to the last byte kept. Where the
    question was not `timed`, it may be 0.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class TcpAnswer:
    """A TCP exchange: what was read (cut at 64 KiB), and the seconds from connecting to the end of it.

    Where the question was not `timed`, `seconds` may be 0.
    """

    received: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """One HTTP request to an instance's own address.

    Without `whole` only the status is waited for, and the answer has neither headers nor body: that is cheaper. `keep`
    asks over a connection that stays open between two runs, and opens a new one where there is none: cheaper still, but
    it does not show whether the instance can accept connections. Without `timed` the answer need not tell how long it
    took, so that many answers are the same, and are judged once. How long a check took is known all the same. `most` is
    how many bytes of the body are kept, 1 MiB at most: it is memory for each instance that is being asked.
    """

    port: int
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    verify: bool = True
    whole: bool = True
    keep: bool = False
    timed: bool = True
    most: int = KEPT_BODY


@dataclass(frozen=True, slots=True)
class TcpQuestion:
    """Connect to a port of an instance, send `send` if any, and read until `until` appears, if given.

    With a `prefix` one message is read that follows its own length: an unsigned number of so many bytes, the highest first.

    Without `timed` the answer need not tell how long it took, as for an `HttpQuestion`.
    """

    port: int
    send: bytes = b""
    until: bytes = b""
    prefix: int = 0
    timed: bool = True


Question: TypeAlias = HttpQuestion | TcpQuestion

Answer: TypeAlias = HttpAnswer | TcpAnswer


class HttpProbe(Protocol):
    """HTTP to the instance, without redirects, proxies or cookies."""

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        verify: bool = True,
        most: int = KEPT_BODY,
    ) -> HttpAnswer:
        """Ask once; `most` bytes of the body are kept, 1 MiB at most. Raises `Refusal` or `NoAnswer`."""
        ...


class TcpProbe(Protocol):
    """TCP to the instance."""

    async def connect(
        self, host: str, port: int, *, send: bytes = b"", until: bytes = b"", prefix: int = 0
    ) -> TcpAnswer:
        """Connect, send `send` if any, read until `until` appears if given, or one message after its length of `prefix` bytes.

        Raises `Refusal` or `NoAnswer`.
        """
        ...


TlsVersion: TypeAlias = Literal["1.2", "1.3"]


@dataclass(frozen=True, slots=True)
class TlsAnswer:
    """A TLS handshake: the protocol's version, such as "1.3", and the certificates that were shown.

    `certificates` are in DER, the instance's own first. `untrusted` says why the chain is not trusted, in OpenSSL's words;
    '' where it is, or where nobody wanted to know. `seconds` runs from the start of connecting to the end of the handshake.
    """

    version: str
    certificates: tuple[bytes, ...]
    untrusted: str
    seconds: float


class TlsProbe(Protocol):
    """TLS handshakes with the instance."""

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
        """Connect, shake hands, and close; a bad certificate is no failure here, but told.

        `server_name` is asked for, and not compared with anything. With `verify` the chain, its dates included, is held
        against the authorities in `ca_file`, or against the system's; one that fails is asked for over a second
        connection. `least` is the oldest version that will do. Raises `Refusal` or `NoAnswer`, and `Unrunnable` when
        `ca_file` can't be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class UdpAnswer:
    """The datagram that came back, and the seconds from sending to it."""

    received: bytes
    seconds: float


class UdpProbe(Protocol):
    """UDP to the instance."""

    async def ask(
        self, host: str, port: int, payload: bytes, *, accept: Callable[[bytes], bool] | None = None
    ) -> UdpAnswer:
        """Send one datagram, once, and return the first that comes back from there and is accepted; any, by default.

        What else comes is passed over, up to 100 datagrams. Raises `Refusal`, also where nobody has the port, and
        `NoAnswer`.
        """
        ...


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """How many echoes were asked for, and the round trips in seconds of those that came, at least one, in order of asking."""

    sent: int
    round_trips: tuple[float, ...]


class IcmpProbe(Protocol):
    """ICMP and ICMPv6 echoes."""

    async def echo(self, host: str, *, count: int = 1, wait: float = 1.0) -> EchoAnswer:
        """Ask for `count` echoes, 20 ms apart, and wait for each at most `wait` seconds.

        Raises `NoAnswer` when none comes, and `Unrunnable` where the kernel allows us no echoes.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProgramAnswer:
    """How a program ended: its exit code, or the negative number of the signal that killed it.

    `stdout` and `stderr` are cut at 64 KiB each; `seconds` runs from the start to the exit.
    """

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float


class ProgramProbe(Protocol):
    """Programs on this machine, without a shell, a terminal or any secret of the supervisor's.

    Nothing of a program outlives its run: what it left in the background is killed with it. A check that ships with
    Sickbay and asks with this says `isolated = True`; a third-party one runs in the plugin host as it is.
    """

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        """Run once; `env` is added to a short environment. Raises `Unrunnable`."""
        ...


@dataclass(frozen=True, slots=True)
class SshLogin:
    """Who logs in on a machine, and how each side knows the other.

    `key_file` holds the private key, without a passphrase. `known_hosts` is a file as OpenSSH writes it, lines with
    `@cert-authority` included; "" takes any host key: then whoever answers at the address may tell us what they like.
    """

    user: str
    key_file: str
    known_hosts: str
    port: int = 22


class SshProbe(Protocol):
    """Commands on the instance itself, over SSH, without a terminal, forwarding or anybody's own configuration.

    A connection is kept for the next command, and shows nothing about whether new ones are accepted.
    """

    async def run(self, host: str, argv: Sequence[str], login: SshLogin) -> ProgramAnswer:
        """Run once. The words reach the program as they are, whatever is in them: each is quoted for the shell there.

        `seconds` runs from the command's sending to its end. Raises `Refusal` or `NoAnswer`, and `Unrunnable` for what
        says nothing of the instance: a key that can't be read, an unknown host key, a login that was refused.
        """
        ...


class Probe(Protocol):
    """What a check asks with. All of it obeys the check's time limit."""

    @property
    def http(self) -> HttpProbe:
        """HTTP."""
        ...

    @property
    def tcp(self) -> TcpProbe:
        """TCP."""
        ...

    @property
    def tls(self) -> TlsProbe:
        """TLS."""
        ...

    @property
    def udp(self) -> UdpProbe:
        """UDP."""
        ...

    @property
    def icmp(self) -> IcmpProbe:
        """ICMP."""
        ...

    @property
    def program(self) -> ProgramProbe:
        """Programs."""
        ...

    @property
    def ssh(self) -> SshProbe:
        """Commands on the instance."""
        ...
