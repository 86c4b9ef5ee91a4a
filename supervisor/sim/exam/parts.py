"""What the site is made of: machines, links, zones, dependencies, and the supervisor's own host. State only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from supervisor.core.requests import Words
from supervisor.core.terms import BootTime, Seconds

NEVER: BootTime = float("inf")


class Process(StrEnum):
    """How a machine's application is."""

    RUNNING = "running"
    DEAD = "dead"
    HUNG = "hung"


class Power(StrEnum):
    """What the cloud says of a machine."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    TERMINATED = "terminated"


@dataclass(slots=True)
class Box:
    """One machine: its place, its parts, and what was done to it."""

    id: str
    zone: str
    subnet: str
    host: str
    type: str
    image: str
    version: str
    address: str
    launched: BootTime
    boots_at: BootTime
    token: str = ""
    tags: Words = ()
    power: Power = Power.RUNNING
    process: Process = Process.RUNNING
    crashed: bool = False  # the host is dead, and the cloud does not know
    cut: bool = False  # partitioned: neither questions nor orders reach it
    loss: float = 0.0
    burst_until: BootTime = 0.0
    burst_loss: float = 0.0
    slow: float = 1.0
    errors: float = 0.0
    lies: set[str] = field(default_factory=set)  # checks whose answer about it is wrong
    sick_of: set[str] = field(default_factory=set)  # dependencies that do not work for it
    mute: bool = False
    isolated: bool = False
    registered_at: BootTime | None = None
    worth_since: BootTime = 0.0  # when it last began, or ceased, to be of use
    worth: float = 0.0
    has_served: bool = False
    impaired: str = ""
    notices: tuple[str, ...] = ()
    reason: str = ""
    by_user: bool = False
    mark: str = ""
    gone_from_list: BootTime = NEVER
    at_fault: BootTime | None = None  # since when, if it is
    removed: BootTime | None = None  # when somebody set it aside or ended it
    pending: set[str] = field(default_factory=set)  # orders that could not reach it
    quirk: float = 1.0  # how its latency compares to the others'


@dataclass(slots=True)
class Place:
    """A zone or a subnet: whether anybody gets in."""

    cut: bool = False
    loss: float = 0.0


@dataclass(slots=True)
class Dependency:
    """What machines depend on."""

    down: bool = False
    slow: bool = False


@dataclass(slots=True)
class BadCheck:
    """A version of a check that answers wrongly, about these machines."""

    version: str
    about: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Post:
    """The supervisor's own host and the ways out of it."""

    loss: float = 0.0
    unseen: set[str] = field(default_factory=set)  # zones it has no way into
    names: bool = True
    late: Seconds = 0.0  # everything begins so much later, about
    asleep_until: BootTime = 0.0
    wall_offset: Seconds = 0.0
    pager: bool = True
    beats_late: Seconds = 0.0
    blind_since: BootTime | None = None
    paused_since: BootTime | None = None

    @property
    def is_odd(self) -> bool:
        """Whether what it asks may fare otherwise than what others ask."""
        return bool(self.loss or self.unseen or self.late or not self.names)


@dataclass(slots=True)
class Trouble:
    """What the cloud's API does wrong now."""

    down: bool = False
    throttled: float = 0.0
    empty: bool = False
    lost: float = 0.0
    no_capacity: bool = False
    quota: bool = False
