"""Makes the rules of access from a configuration: reads what its references point to, once at a start or a reload.

Also makes tokens. Knows files, groups and certificates; who asks for what is the gate's business.
"""

from __future__ import annotations

import grp
import hashlib
import secrets
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from supervisor.config import Config, TokenTable
from supervisor.core.terms import AccessRole
from supervisor.errors import ConfigError

LEAST = 43  # characters of a token: 256 bits as base64
PREFIX = "sickbay_"  # so that scanners for leaked secrets can find one


@dataclass(frozen=True, slots=True)
class Token:
    """Who has it and what they may; of itself only the SHA-256."""

    name: str
    role: AccessRole
    digest: bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may do what. `operators` is a group's number; `anonymous` is who asks over TCP without a token."""

    operators: int | None = None
    others: AccessRole | None = AccessRole.READ
    anonymous: AccessRole | None = AccessRole.READ
    tokens: tuple[Token, ...] = ()
    names: frozenset[str] = frozenset()
    """By which people reach the TCP listener, in lower case; an address of loopback always is one."""


def rules(config: Config) -> Rules:
    """Return the rules of a configuration. Raises `ConfigError` for a group or a secret that is not there."""
    access, host = config.access, config.listen[0] if config.listen else ""
    loopback = not host or is_loopback(host)
    allowed = {*access.hosts, host, urlsplit(config.url).hostname or ""}
    return Rules(
        operators=_group(access.operators, f"{config.path}: [access] operators") if access.operators else None,
        others=_anyone(access.others),
        anonymous=_anyone(access.loopback) if loopback else None,
        tokens=tuple(_token(config, table) for table in config.tokens),
        names=frozenset(name.lower() for name in allowed if name),
    )


def load_certificate(config: Config, context: ssl.SSLContext | None = None) -> ssl.SSLContext | None:
    """Return how the TCP listener speaks TLS, None for plain HTTP; a `context` that is given takes the files anew.

    Raises `ConfigError`.
    """
    access = config.access
    if access.key is None:
        return None
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    where = f"{config.path}: [access] key"
    access.key.read(where)  # that others may not read it, and that it is there
    certificate = (config.path.parent / access.certificate).resolve()
    try:
        context.load_cert_chain(certificate, access.key.path(where), password="")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = error.strerror if not isinstance(error, ssl.SSLError) and isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"{config.path}: [access] certificate = {access.certificate} — can't be used with its key ({why}); "
            "expected a PEM certificate and its own unencrypted key"
        ) from error
    return context


def new_token(name: str, role: AccessRole) -> tuple[str, str]:
    """Return a new token of 256 bits, and the table for config.toml that knows it by its SHA-256."""
    token = PREFIX + secrets.token_urlsafe(32)
    table = f'[[token]]\nname = "{name}"\nrole = "{role}"\nsha256 = "{digest(token).hex()}"\n'
    return token, table


def digest(token: str) -> bytes:
    """Return what is kept of a token. It is random and long, so a plain hash gives nothing away."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def is_loopback(host: str) -> bool:
    """Return whether a host is this one's own loopback, written as an address or as `localhost`."""
    if host.lower() == "localhost" or host == "::1":
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(p.isascii() and p.isdecimal() and len(p) < 4 for p in parts)


def _anyone(word: str) -> AccessRole | None:
    return AccessRole.READ if word == "read" else None


def _group(name: str, key: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"{key} = {name} — there is no such group here; make it, or name another one") from None


def _token(config: Config, table: TokenTable) -> Token:
    if table.sha256 is not None:
        return Token(table.name, table.role, bytes.fromhex(table.sha256))
    key = f"{config.path}: [[token]] {table.name}: secret"
    found = table.secret.read(key).get_secret_value() if table.secret else ""
    if len(found) < LEAST:
        raise ConfigError(
            f"{key}: has {len(found)} characters, expected at least {LEAST}; take one of `sickbay token new`"
        )
    return Token(table.name, table.role, digest(found))
