"""What is kept of the past, so that it can be judged again: runs of results, and every edge of everything else.

Values only. `runtime/recorder.py` makes them, `store/history.py` keeps them, `sim/replay.py` plays them. Moments are
seconds since 1970 on a clock of the recorder's own: it starts at the wall time and then runs as the boot clock does, so
that a wall clock that somebody sets does not tear a run apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from supervisor.core.journal import Workflow
from supervisor.core.machine import Machine
from supervisor.core.model import (
    Change,
    Holder,
    Image,
    Incident,
    Instance,
    Permit,
    Quarantine,
    Record,
    Removal,
    Slot,
)
from supervisor.core.signals import SelfReported, SentinelReported
from supervisor.core.terms import Mode, Role, Seconds, Status

Moment: TypeAlias = float

HEARTBEAT = ""
"""The name under which signs of life are kept among the runs: no check has it."""

KEPT: tuple[type[Record], ...] = (
    Instance,
    Slot,
    Image,
    Holder,
    Permit,
    Change,
    Quarantine,
    Removal,
    Workflow,
    Incident,
)
"""The records whose changes are kept: what a past decision stood on, and what was decided."""


class Run(NamedTuple):
    """Results of one check on one machine that were alike and came at an even pace. A long run is kept in parts."""

    instance: str
    check: str  # HEARTBEAT for signs of life
    status: Status
    silent: bool
    text: str  # of its first result
    first: Moment  # sent
    last: Moment
    results: int
    mean: Seconds  # of the answers' latency
    slowest: Seconds


@dataclass(frozen=True, slots=True)
class CheckKept:
    """What must be known of a check to judge its results."""

    name: str
    role: Role
    interval: Seconds
    timeout: Seconds


@dataclass(frozen=True, slots=True)
class FleetKept:
    """A fleet as it was configured."""

    name: str
    desired: int
    checks: tuple[CheckKept, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings came into force: at a start, or by a reload."""

    at: Moment
    fingerprint: str
    mode: Mode
    fleets: tuple[FleetKept, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """A recorder began: what comes before it may be incomplete."""

    at: Moment


@dataclass(frozen=True, slots=True)
class MachinesChanged:
    """What a cloud's list shows that it did not show before."""

    at: Moment
    fleet: str
    machines: tuple[Machine, ...]  # new, or not as before
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloudLost:
    """From here on a cloud gave no list that can be used, until `CloudBack`."""

    at: Moment
    fleet: str
    reason: str


@dataclass(frozen=True, slots=True)
class CloudBack:
    """A cloud lists its machines again."""

    at: Moment
    fleet: str


@dataclass(frozen=True, slots=True)
class Sensed:
    """A sentinel changed its mind."""

    at: Moment
    said: SentinelReported


@dataclass(frozen=True, slots=True)
class Felt:
    """The supervisor was not well, or is again."""

    at: Moment
    said: SelfReported


@dataclass(frozen=True, slots=True)
class RecordKept:
    """A record was written: what was decided, or what a decision stood on."""

    at: Moment
    record: Record


@dataclass(frozen=True, slots=True)
class RecordDropped:
    """A record was deleted."""

    at: Moment
    record: Record


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's word that a later judgement must hear as well."""

    at: Moment
    verb: str  # the class of the verb
    words: tuple[tuple[str, str | int | float | None], ...]  # its fields
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class PauseFileSeen:
    """The pause file came or went."""

    at: Moment
    present: bool


Line: TypeAlias = (
    Began
    | Loaded
    | MachinesChanged
    | CloudLost
    | CloudBack
    | Sensed
    | Felt
    | RecordKept
    | RecordDropped
    | Asked
    | PauseFileSeen
)

LINES: tuple[type[Line], ...] = (
    Began,
    Loaded,
    MachinesChanged,
    CloudLost,
    CloudBack,
    Sensed,
    Felt,
    RecordKept,
    RecordDropped,
    Asked,
    PauseFileSeen,
)
"""Every kind of line. The name of a class is stored: for ever."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """What is written at once. `opening` begins a new segment, with all that must be known to read on from there."""

    at: Moment
    runs: tuple[Run, ...] = ()
    lines: tuple[Line, ...] = ()
    opening: bool = False
