"""The options of a local fleet: the table `[fleet.NAME.local]`."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

from supervisor.core.duration import Duration
from supervisor.providers.local.image import WEB


def _pace(value: timedelta) -> timedelta:
    if not timedelta(milliseconds=50) <= value <= timedelta(hours=1):
        raise ValueError("expected 50ms to 1h")
    return value


Pace = Annotated[Duration, AfterValidator(_pace)]


_LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_LABELS: JsonDict = {"minItems": 1, "uniqueItems": True, "items": {"type": "string", "pattern": f"^{_LABEL}$"}}


class LocalOptions(BaseModel):
    """A fleet of processes on this host, each on a loopback address of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image: Path
    """The golden image: a folder with an executable `start`; "builtin:web" is the one that ships."""
    zones: Annotated[tuple[str, ...], Field(json_schema_extra=_LABELS)] = ("a", "b")
    """Labels; machines are spread over them."""
    port: int = Field(default=8080, ge=1, le=65535)
    """The port on which each machine listens, at its own address."""
    front_door: Annotated[str, Field(json_schema_extra={"pattern": r"^$|^.+:[0-9]{1,5}$"})] = "127.0.0.1:8080"
    """Where the load balancer listens; "" for a fleet without one."""
    health_path: str = Field(default="/healthz", pattern=r"^/[!-~]*$")
    """What the load balancer asks each machine for; a 2xx answer is well."""
    health_interval: Pace = timedelta(seconds=1)
    """How often the load balancer asks each machine: 50ms to 1h."""
    health_timeout: Pace = timedelta(seconds=1)
    """No answer within this time counts as a failure: 50ms to 1h."""

    @field_validator("image", mode="before")
    @classmethod
    def _image_may_be_builtin(cls, value: object) -> object:
        return WEB if value == "builtin:web" else value

    @field_validator("zones")
    @classmethod
    def _zones_are_labels(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if not zones:
            raise ValueError("no zone; expected at least one label")
        for zone in zones:
            if not re.fullmatch(_LABEL, zone):
                raise ValueError(f"{zone!r} is not a label; expected letters, digits, '.', '_' and '-'")
        if len(set(zones)) != len(zones):
            raise ValueError("a zone is named twice")
        return zones

    @field_validator("front_door")
    @classmethod
    def _front_door_is_an_address(cls, value: str) -> str:
        if value:
            split_listen(value)
        return value


def split_listen(value: str) -> tuple[str, int]:
    """Split "127.0.0.1:8080" or "[::1]:8080". Raises `ValueError`."""
    host, _, port = value.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port)
    except ValueError:
        raise ValueError(
            f'{value!r} is not ADDRESS:PORT; expected one such as "127.0.0.1:8080", or "" for none'
        ) from None
    if not 0 < number < 65536:
        raise ValueError("expected a port from 1 to 65535")
    return address, number
