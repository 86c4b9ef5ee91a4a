"""The provider `local`: on loopback, with real processes, it does what a cloud does.

A golden image is a folder with an executable `start`. An instance is a process group on an address of its own, with
its own copy of the image. A small HTTP load balancer, the front door, stands before them. All of it outlives the
supervisor. Linux only: processes are known by what /proc says.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from supervisor.core.machine import Offer
from supervisor.ports import Provider
from supervisor.providers.local.cloud import LocalCloud, offered
from supervisor.providers.local.image import WEB
from supervisor.providers.local.options import LocalOptions

__all__ = ["PROVIDER", "WEB", "LocalCloud", "LocalOptions", "LocalProvider"]


class LocalProvider:
    """Fleets of processes on this host."""

    kind: ClassVar[str] = "local"
    Options: ClassVar[type[BaseModel]] = LocalOptions

    @classmethod
    def balanced(cls, options: LocalOptions) -> bool:
        """Return whether a front door says who serves."""
        return bool(options.front_door)

    @classmethod
    def claims(cls, options: LocalOptions) -> tuple[str, ...]:
        """Return the addresses that nobody else can have: the front door's."""
        return (options.front_door,) if options.front_door else ()

    @classmethod
    def offline(cls, options: LocalOptions, version: str) -> Offer:
        """Name the golden image by its content, and the places by their labels. Raises `ProviderError`."""
        return offered(options, version)

    @classmethod
    def open(cls, fleet: str, options: LocalOptions, version: str, state: Path, uid: str) -> LocalCloud:
        """Open one fleet. Raises `ProviderError`, also when the front door's port is taken."""
        return LocalCloud.open(fleet, options, version, state, uid)


PROVIDER: type[Provider] = LocalProvider
