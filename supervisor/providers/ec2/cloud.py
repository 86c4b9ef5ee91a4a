"""The `Cloud` port of a fleet on AWS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supervisor.core.model import Leftover, Machine, Offer
from supervisor.core.requests import Outcome, Request
from supervisor.providers.ec2.options import Ec2Options


class Ec2Cloud:
    """One fleet on AWS."""

    @classmethod
    def open(cls, fleet: str, options: Ec2Options, version: str, state: Path, uid: str) -> Ec2Cloud:
        """Open a fleet."""
        raise NotImplementedError

    async def offer(self) -> Offer:
        """Return what the fleet is launched from now."""
        raise NotImplementedError

    async def inventory(self) -> Sequence[Machine]:
        """Return every machine of the fleet."""
        raise NotImplementedError

    async def leftovers(self) -> Sequence[Leftover]:
        """Return what machines left behind."""
        raise NotImplementedError

    async def perform(self, request: Request) -> Outcome:
        """Carry out one request."""
        raise NotImplementedError

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return the last lines of the console."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go."""
        raise NotImplementedError
