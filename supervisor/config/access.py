"""The shape of `[access]` and `[[token]]`: who may do what. What the rules mean is the surfaces' business."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from supervisor.config.models import NAME, Model
from supervisor.config.secrets import SecretRef
from supervisor.core.terms import AccessRole

Anyone = Literal["read", "none"]


class AccessTable(Model):
    """Who may do what: on the unix socket by user and group, on TCP by token. Root and the daemon's user are admins."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"certificate": ["key"], "key": ["certificate"]}})
    operators: str = ""
    """A group: its members have the role `operate` on the unix socket, which is given to it; "" for none."""
    others: Anyone = "read"
    """What others may who can open the unix socket: `read` or `none`."""
    loopback: Anyone = "read"
    """What may be asked on a loopback address without a token: `read` or `none`. Elsewhere nothing may."""
    hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")], ...] = ()
    """Names, without a port, by which people reach the TCP listener, beside its address and that of `url`."""
    certificate: str = ""
    """A PEM file with the listener's certificate and its chain: it speaks TLS then; "" for plain HTTP."""
    key: SecretRef | None = None
    """The certificate's private key: a file or a credential."""

    @model_validator(mode="after")
    def _whole(self) -> AccessTable:
        if bool(self.certificate) != (self.key is not None):
            raise ValueError("expected both of certificate and key, or neither")
        if self.key is not None and self.key.env is not None:
            raise ValueError("the key can't be an environment variable; expected a file or a credential")
        return self


class TokenTable(Model):
    """A token for the TCP listener; `sickbay token new NAME` makes one."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["sha256"]}, {"required": ["secret"]}]})
    name: Annotated[str, Field(pattern=NAME)]
    """Whose it is: it stands in the audit log. One of its own."""
    role: AccessRole = AccessRole.READ
    """What it may: `read`, `operate` or `admin`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The token's SHA-256, in hexadecimal."""
    secret: SecretRef | None = None
    """Where the token itself is kept, instead of `sha256`: at least 43 characters."""

    @model_validator(mode="after")
    def _one_way(self) -> TokenTable:
        if (self.sha256 is None) == (self.secret is None):
            raise ValueError("expected exactly one of sha256 and secret")
        return self
