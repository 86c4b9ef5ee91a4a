"""A cloud for the bench: it lists as many running machines as it was told, and does nothing to any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from supervisor.core.machine import Leftover, Machine, MachineState, Offer, Placement, TargetHealth
from supervisor.core.requests import Outcome, Refused, Request

ZONES = ("a", "b", "c")
OFFER = Offer("image", "1.0.0", (), tuple(Placement(zone) for zone in ZONES))


def name_of(number: int) -> str:
    """Return a machine's id, as long as those of a well-known cloud."""
    return f"i-{number:017x}"


def address_of(number: int) -> str:
    """Return a machine's address: from 127.1.0.0 on."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


class Options(BaseModel):
    """How many."""

    machines: int


class ListedCloud:
    """One fleet, all of it running, registered and well, as far as the cloud knows."""

    def __init__(self, fleet: str, machines: int) -> None:
        """Know the machines by number."""
        self._fleet = fleet
        self._machines = machines

    async def offer(self) -> Offer:
        """Return the only one."""
        return OFFER

    async def inventory(self) -> Sequence[Machine]:
        """Describe everyone afresh, as an answer over the network would; in a thread, as any cloud's client."""
        return await asyncio.to_thread(lambda: [self._machine(number) for number in range(self._machines)])

    def _machine(self, number: int) -> Machine:
        zone = ZONES[number % len(ZONES)]
        labels = (("subnet", f"subnet-{zone}{number // 3 % 3}"), ("type", "m7g.large"))
        return Machine(
            name_of(number),
            self._fleet,
            MachineState.RUNNING,
            zone,
            OFFER.image,
            OFFER.version,
            address_of(number),
            registered=True,
            target=TargetHealth.HEALTHY,
            labels=labels,
        )

    async def leftovers(self) -> Sequence[Leftover]:
        """Return nothing."""
        return ()

    async def perform(self, request: Request) -> Outcome:
        """Refuse."""
        return Refused(f"{request.verb}: this cloud does nothing")

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return nothing."""
        return ()

    async def close(self) -> None:
        """Nothing is held."""


class Provider:
    """Fleets of any size."""

    kind: ClassVar[str] = "listed"
    Options: ClassVar[type[BaseModel]] = Options

    @classmethod
    def offline(cls, options: Any, version: str) -> Offer | None:  # noqa: ARG003  # the contract's
        """Return the only offer."""
        return OFFER

    @classmethod
    def open(cls, fleet: str, options: Any, version: str, state: Path, uid: str) -> ListedCloud:  # noqa: ARG003  # as above
        """Open a fleet."""
        return ListedCloud(fleet, options.machines)


PROVIDER = Provider
