"""Lets a request in, or says in one sentence why not: who asks, what they may, by which name, from which page.

On the unix socket the kernel says who is there. On TCP a token does; whoever tries wrong ones is slowed down, never
whoever has a right one.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import pwd
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from supervisor.core.terms import AccessRole
from supervisor.surfaces.access import Rules, Token, digest, is_loopback
from supervisor.surfaces.web.routes import Handler, refuse

log = structlog.get_logger()

SO_PEERGROUPS: Final = 59
MOST_GROUPS: Final = 256  # as many as Python's getsockopt takes; of more, the user database is asked
WRONG_AT_ONCE = 10  # wrong tokens from one address
WRONG_EVERY = 6.0  # seconds until one more may be tried
REMEMBERED = 1024  # addresses


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and by which way: `via` tells more of it to the audit log. `role` is None for who may do nothing."""

    name: str
    way: str
    via: str
    role: AccessRole | None


_caller: ContextVar[Caller] = ContextVar("caller")  # of the request that this task answers


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a unix socket, as the kernel knows it."""

    pid: int
    uid: int
    groups: frozenset[int]


def role_of(peer: Peer, rules: Rules, own: int) -> AccessRole | None:
    """Return what a local user may; `own` is the user of this process."""
    if peer.uid in (0, own):
        return AccessRole.ADMIN
    if rules.operators is not None and rules.operators in peer.groups:
        return AccessRole.OPERATE
    return rules.others


def caller() -> Caller:
    """Return who asks. Only behind the gate."""
    return _caller.get()


class Attempts:
    """Wrong tokens by address: a bucket each, the oldest address forgotten first. An IPv6 network counts as one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._spent: OrderedDict[str, float] = OrderedDict()  # until when all of a bucket's drops are back

    def wrong(self, address: str) -> float:
        """Count a wrong token; return the seconds to wait before the next, 0 while there are some left."""
        now, place = self._clock(), _network(address)
        full = max(self._spent.pop(place, now), now) + WRONG_EVERY
        wait = full - now - WRONG_EVERY * WRONG_AT_ONCE
        self._spent[place] = full if wait <= 0 else full - WRONG_EVERY
        while len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)
        return max(0.0, wait)


class Gate:
    """Guards every path of one server. `rules` may be replaced while it runs."""

    def __init__(self, rules: Rules, clock: Callable[[], float] = time.monotonic) -> None:
        """Take who may do what."""
        self.rules = rules
        self._attempts = Attempts(clock)

    def guarded(self, needs: AccessRole | None, handler: Handler) -> Handler:
        """Return a handler that only answers who may ask; `needs` is None for what everybody may."""

        async def guard(request: web.Request) -> web.StreamResponse:
            local = _socket(request)
            if local is None and (strange := self._strange(request)):
                return strange
            asks, refusal = self._local(local) if local else self._remote(request, needs)
            if needs is not None:
                if refusal is not None:
                    return refusal
                if asks.role is None or not asks.role.covers(needs):
                    return self._too_little(asks, needs, local is not None)
            _caller.set(asks)
            return await handler(request)

        return guard

    def is_ours(self, host: str) -> bool:
        """Return whether a Host, or an origin's, is one of ours: a rebound DNS name must not read the API."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return is_loopback(name) or name in self.rules.names

    def _strange(self, request: web.Request) -> web.Response | None:
        """Refuse what a foreign page may have sent: by a name that is not ours, or from an origin that is not."""
        if not self.is_ours(request.host or ""):
            name = (request.host or "")[:100]
            sentence = f"this listener does not answer to '{name}', only to its own names; name it in [access] hosts"
            return refuse(421, sentence)
        if request.method == "POST":
            origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
            foreign = origin is not None and not self.is_ours(urlsplit(origin).netloc if "://" in origin else "")
            if foreign or site not in ("none", "same-origin"):
                return refuse(403, "another site's page sent this; only our own page and programs may act")
        return None

    def _local(self, connection: socket.socket) -> tuple[Caller, None]:
        peer = peer_of(connection)
        name = f"uid {peer.uid}"
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(peer.uid).pw_name
        role = role_of(peer, self.rules, os.geteuid())
        return Caller(name, "socket", f"unix socket (uid {peer.uid}, pid {peer.pid})", role), None

    def _remote(self, request: web.Request, needs: AccessRole | None) -> tuple[Caller, web.Response | None]:
        address = request.remote or "?"
        nobody = Caller("", "tcp", f"from {address}", self.rules.anonymous)
        given = bearer_of(request)
        if given is None:
            return nobody, None
        known = self._known(digest(given))
        if known is not None:
            return Caller(known.name, "token", f"token from {address}", known.role), None
        if needs is None:
            return nobody, None
        wait = self._attempts.wrong(address)
        if wait:
            log.warning("access.guessing", address=address)
            headers = {"Retry-After": f"{wait:.0f}", "Connection": "close"}
            return nobody, refuse(429, f"too many wrong tokens came from {address}; wait {wait:.0f} s", headers)
        return nobody, _unauthorized("this token is not known; a [[token]] in config.toml makes one known")

    def _known(self, given: bytes) -> Token | None:
        """Return whose token it is, in the same time whoever's it is and whether it is one."""
        found = None
        for token in self.rules.tokens:
            if hmac.compare_digest(token.digest, given):
                found = token
        return found

    def _too_little(self, asks: Caller, needs: AccessRole, local: bool) -> web.Response:
        if local or asks.name:
            return refuse(403, f"this needs the role {needs}, and {asks.name} has {asks.role or 'none'}")
        if self.rules.tokens:
            return _unauthorized(f"this needs the role {needs}: send a token of it as `Authorization: Bearer TOKEN`")
        sentence = (
            "this listener only reads" if self.rules.anonymous else "this listener answers nobody without a token"
        )
        return refuse(403, f"{sentence}; operators use the unix socket (`sickbay` does), or a [[token]]")


def bearer_of(request: web.Request) -> str | None:
    """Return the token that came with a request; None where none did."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if given and scheme.lower() == "bearer" else None


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a unix socket, as the kernel says."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MOST_GROUPS)
        more = set(struct.unpack(f"{len(raw) // 4}I", raw))
    except OSError:
        more = _listed(uid, gid)
    return Peer(pid, uid, frozenset({gid, *more}))


def _listed(uid: int, gid: int) -> set[int]:
    try:
        return set(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        return set()


def _socket(request: web.Request) -> socket.socket | None:
    """Return the unix socket that a request came by, None for TCP."""
    found = request.transport.get_extra_info("socket") if request.transport else None
    return found if found is not None and found.family == socket.AF_UNIX else None


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _unauthorized(sentence: str) -> web.Response:
    return refuse(401, sentence, {"WWW-Authenticate": 'Bearer realm="sickbay"'})
