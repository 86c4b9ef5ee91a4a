"""What a cloud shows and offers: machines, what they leave behind, and where the next one may be launched. Seen, not judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from supervisor.core.requests import Words


class MachineState(StrEnum):
    """What a cloud says of a machine."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    TERMINATED = "terminated"


class TargetHealth(StrEnum):
    """What a load balancer says of a registered machine."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    INITIAL = "initial"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine as a cloud reports it now: seen, not stored."""

    id: str
    fleet: str
    state: MachineState
    zone: str
    image: str
    version: str
    address: str
    registered: bool | None = None  # None: the load balancer did not answer
    target: TargetHealth = TargetHealth.UNKNOWN
    isolated: bool = False
    reason: str = ""  # why it stopped, in the cloud's words
    stopped_by_user: bool = False
    tags: Words = ()
    impaired: str = ""  # what the cloud's own status checks find wrong, in its words
    notices: tuple[str, ...] = ()  # what the cloud announces: retirement, interruption
    held: str = ""  # why it must not be destroyed, written on the machine itself
    group: str = ""  # who else owns it and replaces it: an Auto Scaling group
    hopeless: bool = False  # it ended for a reason that another launch would meet again
    labels: Words = ()  # what it shares with others besides zone and image: subnet, type, host, pool

    def tag(self, name: str) -> str:
        """Return a tag's value, or ''."""
        return next((value for key, value in self.tags if key == name), "")


class LeftoverKind(StrEnum):
    """What a machine leaves behind, and somebody pays for."""

    VOLUME = "volume"
    INTERFACE = "interface"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of ours that belongs to no machine any more, as a cloud reports it now: seen, not stored."""

    id: str
    fleet: str
    kind: LeftoverKind
    instance: str  # whose it was; '' where nobody knows
    created_at: datetime
    held: str = ""  # as a machine's


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one machine may be launched: a zone, and the provider's own terms (subnet, type)."""

    zone: str
    spec: Words = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a fleet is launched from, resolved: an immutable image, how it is launched, and where, best first."""

    image: str
    version: str
    recipe: Words = ()
    placements: tuple[Placement, ...] = ()

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones of its placements, each once."""
        return tuple(dict.fromkeys(placement.zone for placement in self.placements))
