"""What may be asked of a cloud, and the four answers a cloud can give.

A request is journalled whole before the first byte is sent, and replayed unchanged after a crash, so it holds
plain values only. `token` makes a request idempotent: the same token is the same effect, however often it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Words: TypeAlias = tuple[tuple[str, str], ...]
"""A provider's own terms, such as a template's version or a subnet: only it reads them."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Start one machine from an image. The answer names the instance.

    `spec` says in the provider's own terms what is launched (template, version) and where (subnet, type).
    """

    fleet: str
    image: str
    version: str
    zone: str
    token: str
    tags: Words = ()
    spec: Words = ()
    verb: Literal["launch"] = "launch"


@dataclass(frozen=True, slots=True)
class Register:
    """Put an instance into its load balancer."""

    fleet: str
    instance: str
    token: str
    verb: Literal["register"] = "register"


@dataclass(frozen=True, slots=True)
class Deregister:
    """Take an instance out of its load balancer; its machine is not touched."""

    fleet: str
    instance: str
    token: str
    verb: Literal["deregister"] = "deregister"


@dataclass(frozen=True, slots=True)
class Capture:
    """Keep what people need to understand the fault: log tail, states. At least once, found by its token."""

    fleet: str
    instance: str
    token: str
    verb: Literal["capture"] = "capture"


@dataclass(frozen=True, slots=True)
class Isolate:
    """Cut an instance off and protect it from deletion; its memory and disk stay. Reversible by `Restore`."""

    fleet: str
    instance: str
    token: str
    tags: tuple[tuple[str, str], ...] = ()
    verb: Literal["isolate"] = "isolate"


@dataclass(frozen=True, slots=True)
class Restore:
    """Undo `Isolate` (and `Stop`) exactly; the instance stays out of the load balancer."""

    fleet: str
    instance: str
    token: str
    verb: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the instance in place, once per token."""

    fleet: str
    instance: str
    token: str
    verb: Literal["restart"] = "restart"


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a quarantined instance; its disk stays."""

    fleet: str
    instance: str
    token: str
    verb: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Terminate:
    """Destroy an instance that is ours, out of the load balancer and no longer wanted.

    `waived` says who wants it although evidence may not be complete; '' for nobody.
    """

    fleet: str
    instance: str
    token: str
    waived: str = ""
    verb: Literal["terminate"] = "terminate"


@dataclass(frozen=True, slots=True)
class Mark:
    """Write on an instance what it is now: `expired` and `failed-candidate` permit its end, '' takes that back."""

    fleet: str
    instance: str
    token: str
    state: str
    verb: Literal["mark"] = "mark"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Destroy what an instance of ours left behind: a volume, an interface, a snapshot (`kind`)."""

    fleet: str
    instance: str  # the id of what is left: in the journal it is the subject
    token: str
    kind: str
    verb: Literal["sweep"] = "sweep"


Request: TypeAlias = (
    Launch | Register | Deregister | Capture | Isolate | Restore | Restart | Stop | Mark | Terminate | Sweep
)

DESTRUCTIVE = (Deregister, Isolate, Restart, Stop, Terminate, Sweep)
"""Requests that take something away: the kill switch is read again immediately before each of these."""


@dataclass(frozen=True, slots=True)
class Done:
    """The effect is there (now, or since an earlier try). `instance` answers a launch; `detail` is for people."""

    instance: str = ""
    detail: str = ""
    outcome: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite no, without any effect.

    `capacity` means that another placement may say yes; `hopeless`, that none will until a person has changed something
    (a limit of the account, a key, an image that is gone).
    """

    reason: str
    capacity: bool = False
    hopeless: bool = False
    outcome: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True)
class Throttled:
    """No effect: come back later, and slow down."""

    reason: str
    outcome: Literal["throttled"] = "throttled"


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody can say whether the effect is there. Only the identical request or a look may resolve it."""

    reason: str
    outcome: Literal["unclear"] = "unclear"


Outcome: TypeAlias = Done | Refused | Throttled | Unclear
