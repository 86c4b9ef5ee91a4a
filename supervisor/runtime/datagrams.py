"""Questions of datagrams: UDP, and echoes through the kernel's ping sockets, which need no privilege.

A socket serves one question and is connected: its port or its identifier is a new one each time, and of UDP the kernel
passes on only what comes from whom it asked.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import struct
from collections.abc import Callable
from time import monotonic

from supervisor.api import EchoAnswer, NoAnswer, Refusal, UdpAnswer, Unrunnable
from supervisor.core.terms import Seconds
from supervisor.runtime.lean.names import Place
from supervisor.runtime.places import ask_in_turn

LARGEST = 64 * 1024
PASSED_OVER = 100
"""Datagrams that are no answer to a question, before they are one, and a bad one: nobody keeps us busy for long."""
MOST_ECHOES = 100
APART: Seconds = 0.02
ECHO = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence; the kernel fills in the third and the fourth."""
PINGS = {socket.AF_INET: (socket.IPPROTO_ICMP, 8, 0), socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, 129)}
"""Of each family: the protocol, and the types of a request and of its reply."""


class Udp:
    """UDP."""

    async def ask(
        self, host: str, port: int, payload: bytes, *, accept: Callable[[bytes], bool] | None = None
    ) -> UdpAnswer:
        """Ask once. Raises `Refusal` or `NoAnswer`, and `OSError` for our own faults."""
        if not 0 < port < 65536:
            raise ValueError(f"{port} is no port")
        return await ask_in_turn(host, lambda place: _ask(place, port, payload, accept))


class Icmp:
    """Echoes."""

    async def echo(self, host: str, *, count: int = 1, wait: float = 1.0) -> EchoAnswer:
        """Ask for them. Raises `NoAnswer` when none comes, `Unrunnable`, and `OSError` for our own faults."""
        if not 0 < count <= MOST_ECHOES:
            raise ValueError(f"expected 1 to {MOST_ECHOES} echoes, not {count}")
        return await ask_in_turn(host, lambda place: _echoes(place, count, wait))


async def _ask(place: Place, port: int, payload: bytes, accept: Callable[[bytes], bool] | None) -> UdpAnswer:
    family, address = place
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((address, port))
        sent = monotonic()
        sock.send(payload)
        for _ in range(PASSED_OVER):
            received, _whom = await _heard(sock)
            if accept is None or accept(received):
                return UdpAnswer(received, monotonic() - sent)
    raise Refusal(f"broken answer ({PASSED_OVER} datagrams, none of them to the question)")


async def _echoes(place: Place, count: int, wait: Seconds) -> EchoAnswer:
    """Ask, listen, ask again; all of them carry the same secret, so that nobody answers who has not heard the question."""
    family, address = place
    _, request, reply = PINGS[socket.AddressFamily(family)]
    secret = secrets.token_bytes(16)
    sent: list[Seconds] = []
    back: dict[int, Seconds] = {}  # round trips, by number
    with _ping_socket(family) as sock:
        sock.setblocking(False)
        sock.connect((address, 0))
        asked = socket.inet_ntop(family, socket.inet_pton(family, address))  # as it will be told
        strange = 0
        while len(back) < count and strange < PASSED_OVER:
            now = monotonic()
            if len(sent) < count and now >= (sent[-1] + APART if sent else now):
                sock.send(ECHO.pack(request, 0, 0, 0, len(sent)) + secret)
                sent.append(now)
            limit = sent[-1] + (wait if len(sent) == count else APART)
            try:
                async with asyncio.timeout(limit - now):
                    received, whom = await _heard(sock)
            except TimeoutError:
                if len(sent) == count:
                    break
                continue
            number = _number(received, reply, secret) if whom == asked else -1
            took = monotonic() - sent[number] if 0 <= number < len(sent) else wait
            if number in back or took >= wait:
                strange += 1
            else:
                back[number] = took
    if not back:
        raise NoAnswer("no echo came back" if count == 1 else f"none of {count} echoes came back")
    return EchoAnswer(count, tuple(back[number] for number in sorted(back)))


def _number(received: bytes, reply: int, secret: bytes) -> int:
    """Return which of our echoes that is; -1 for none."""
    if len(received) < ECHO.size or received[ECHO.size :] != secret:
        return -1
    kind, _, _, _, number = ECHO.unpack_from(received)
    return int(number) if kind == reply else -1


def _ping_socket(family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_DGRAM, PINGS[socket.AddressFamily(family)][0])
    except PermissionError as error:
        raise Unrunnable(
            'the kernel allows us no echoes; run `sysctl -w net.ipv4.ping_group_range="0 2147483647"`'
        ) from error
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            raise Unrunnable(
                f"this kernel has no ping sockets for {'IPv6' if family == socket.AF_INET6 else 'IPv4'}"
            ) from error
        raise


async def _heard(sock: socket.socket) -> tuple[bytes, str]:
    """Return the next datagram, and the address that it comes from."""
    while True:
        try:
            received, whom = sock.recvfrom(LARGEST)
        except BlockingIOError:
            await _readable(sock)
        else:
            return received, str(whom[0])


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
