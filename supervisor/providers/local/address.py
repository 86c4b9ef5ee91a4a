"""Addresses: each machine of the host gets one of its own in 127.0.0.0/8.

They are spread by fleet and folder, so that two fleets, or two supervisors on one host, rarely meet; and each is tried
before it is given away.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from supervisor.errors import ProviderError

TRIES = 512


def candidates(fleet: str, instance: str) -> Iterator[str]:
    """Yield addresses in the order in which they are tried: the same for the same names. Never 127.0.0.x."""
    home = hashlib.sha256(fleet.encode()).digest()
    second, third = 16 + home[0] % 224, home[1]
    start = int.from_bytes(hashlib.sha256(instance.encode()).digest()[:4], "big")
    for step in range(TRIES):
        number = start + step
        yield f"127.{second}.{(third + number // 254 % 4) % 256}.{1 + number % 254}"


def choose(fleet: str, instance: str, port: int, taken: AbstractSet[str]) -> str:
    """Return a free address. Raises `ProviderError` in one sentence when there is none."""
    refusal = ""
    for address in candidates(fleet, instance):
        if address in taken:
            continue
        refusal = why_taken(address, port)
        if not refusal:
            return address
    raise ProviderError(f"no loopback address is free for port {port}: {refusal or 'all are given away'}")


def why_taken(address: str, port: int) -> str:
    """Return '' if a process could listen there now, else one sentence."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do it: connections in TIME_WAIT don't count, listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                return f"{address}:{port} is taken by another process; free the port or choose another"
            case errno.EACCES:
                return f"{address}:{port} may not be used by this user; choose a port above 1023"
            case _:
                return f"{address}:{port} can't be used: {error.strerror}"
    return ""
