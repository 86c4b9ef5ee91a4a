"""Whom a host's name stands for: asked for once for each question, and the connection goes there and nowhere else."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import TypeAlias

Place: TypeAlias = tuple[int, str]  # the family, and the address as text

MULTICAST = 224
LINK_LOCAL = 169


def is_forbidden(host: str) -> bool:
    """Return whether it is an address at which metadata services live, or several machines or none; a name never is."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast)


def refuse_forbidden(host: str) -> None:
    """Raise `PermissionError` for an address that no machine has."""
    if is_forbidden(host):
        raise PermissionError(f"{host} is no address of a machine: checks may not ask it")


def place_of(host: str) -> Place | None:
    """Return the place that an address names, None when it is a name. Raises `PermissionError` as above."""
    try:
        first = socket.inet_pton(socket.AF_INET, host)[0]
    except (OSError, ValueError):
        return _other_place(host)
    if first >= MULTICAST or first in (0, LINK_LOCAL):  # only then is it worth a closer look
        refuse_forbidden(host)
    return socket.AF_INET, host


def _other_place(host: str) -> Place | None:
    refuse_forbidden(host)
    try:
        socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return None
    return socket.AF_INET6, host


async def places_of(name: str) -> Sequence[Place]:
    """Resolve a name; return at least one place. Raises `PermissionError` when all are forbidden, and `OSError`."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(errno.EADDRNOTAVAIL, "the name does not resolve") from error
    places = list(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in found))
    allowed = [place for place in places if not is_forbidden(place[1])]
    if not allowed:
        refuse_forbidden(places[0][1])
    return allowed
