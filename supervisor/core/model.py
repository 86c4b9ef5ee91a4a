"""The records: what Sickbay knows for certain and keeps across restarts.

Frozen values, one per noun, each stored as one row. A value of a `StrEnum` here is stored, so it is for ever.
Wall-clock times (`*_at`, UTC) are for people and for deadlines that outlive the process; the core measures durations
on the boot clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, TypeAlias

from supervisor.core.requests import Outcome, Request, Words

Seconds: TypeAlias = float
"""A duration in seconds. Only inside the core and its shell; people write "30s" in config.toml."""

BootTime: TypeAlias = float
"""Seconds on CLOCK_BOOTTIME: never jumps, runs on while the machine is suspended, restarts at boot."""


@dataclass(frozen=True, slots=True)
class Now:
    """The present moment: `boot` for durations, `wall` (UTC) for people and for stored deadlines."""

    boot: BootTime
    wall: datetime

    def ago(self, boot: BootTime) -> datetime:
        """Return the wall time of an earlier moment of the boot clock."""
        return self.wall - timedelta(seconds=self.boot - boot)


class Status(StrEnum):
    """One answer of a check."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"  # the check itself failed: it says nothing about the instance


class Role(StrEnum):
    """What a check may cause."""

    STARTUP = "startup"  # gates entry
    READINESS = "readiness"  # may only take out of the load balancer
    LIVENESS = "liveness"  # may condemn
    ADVISORY = "advisory"  # only reports


class Health(StrEnum):
    """Judged from results."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    SICK = "sick"


class Lifecycle(StrEnum):
    """Where an instance is on its way through the fleet."""

    LAUNCHING = "launching"  # -> WARMING, BOOT_FAILED
    WARMING = "warming"  # running, startup checks -> PROBATION, BOOT_FAILED
    PROBATION = "probation"  # serves, watched -> IN_SERVICE, WITHDRAWN
    IN_SERVICE = "in_service"  # -> WITHDRAWN
    WITHDRAWN = "withdrawn"  # out of the load balancer, else untouched -> PROBATION (parole), QUARANTINED
    QUARANTINED = "quarantined"  # isolated and kept -> WARMING (an operator releases it), RETIRING
    RETIRING = "retiring"  # being destroyed -> RETIRED
    RETIRED = "retired"
    BOOT_FAILED = "boot_failed"  # never served -> RETIRING


GONE = frozenset({Lifecycle.RETIRED})
COMING = frozenset({Lifecycle.LAUNCHING, Lifecycle.WARMING})
SERVING = frozenset({Lifecycle.PROBATION, Lifecycle.IN_SERVICE})


class FleetState(StrEnum):
    """A fleet in one word."""

    OPTIMAL = "optimal"  # every wanted machine serves and is healthy, no open incident
    DEGRADED = "degraded"
    DOWN = "down"  # nothing serves


class Mode(StrEnum):
    """How much Sickbay may do by itself."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


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


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine of a fleet, from launch to retirement."""

    TABLE: ClassVar[str] = "instance"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    fleet: str
    lifecycle: Lifecycle
    slot: int | None  # None: a spare, or an instance that has left its slot
    image: str
    version: str
    zone: str
    address: str
    created_at: datetime
    since: datetime  # when it entered this lifecycle
    served: bool = False  # it has been in the load balancer under our eyes
    held_until: datetime | None = None
    hold_reason: str = ""
    held_by: str = ""
    ended: str = ""  # why its machine is gone, in the cloud's words
    hopeless: bool = False  # it is gone for a reason that another launch would meet again


@dataclass(frozen=True, slots=True)
class Slot:
    """The place that a lineage of instances fills."""

    TABLE: ClassVar[str] = "slot"
    KEY: ClassVar[tuple[str, ...]] = ("fleet", "number")

    fleet: str
    number: int
    occupant: str | None = None
    lineage: tuple[datetime, ...] = ()  # launches of *replacements* here, newest last, as far back as the window
    failures: int = 0  # launches in a row here that never served
    served_at: datetime | None = None  # when a replacement last began to serve here
    retry_at: datetime | None = None
    needs_human: str = ""  # why no machine launches here any more until `retry`


@dataclass(frozen=True, slots=True)
class Image:
    """A golden image of a fleet: immutable id and human version. Healing launches the last known good."""

    TABLE: ClassVar[str] = "image"
    KEY: ClassVar[tuple[str, ...]] = ("fleet", "id")

    fleet: str
    id: str
    version: str
    last_known_good: bool
    first_seen_at: datetime
    recipe: Words = ()  # how it is launched, in the provider's own terms


@dataclass(frozen=True, slots=True)
class Offering:
    """The last offer that a fleet's cloud made: what counts when it does not answer at a start.

    `terms` is the configuration that it answers, so that an offer to other terms is not taken.
    """

    TABLE: ClassVar[str] = "offering"
    KEY: ClassVar[tuple[str, ...]] = ("fleet",)

    fleet: str
    terms: str
    offer: Offer
    seen_at: datetime


class IncidentKind(StrEnum):
    """What an incident is about."""

    SICK = "sick"  # an instance fails its checks, or its machine stopped
    VANISHED = "vanished"  # an instance is no longer in the cloud's list
    MISSING = "missing"  # the fleet has fewer machines than wanted, nobody is sick


class IncidentState(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ESCALATED = "escalated"  # needs a human; still open
    RESOLVED = "resolved"  # service is restored, tidying up goes on
    CLOSED = "closed"


class Resolution(StrEnum):
    """How an incident ended."""

    NONE = ""
    REPLACED = "replaced"
    RESTARTED = "restarted"
    SET_ASIDE = "set_aside"
    FILLED = "filled"
    RECOVERED = "recovered"  # by itself
    RELEASED = "released"  # by an operator's word


@dataclass(frozen=True, slots=True)
class Note:
    """One line of an incident's story."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word for one incident: bound to what they saw, and it expires."""

    actor: str
    at: datetime
    expires_at: datetime
    granted: bool


@dataclass(frozen=True, slots=True)
class Incident:
    """The story of one trouble. At most one per instance (or fleet, when `instance` is '') is not closed."""

    TABLE: ClassVar[str] = "incident"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    fleet: str
    instance: str
    kind: IncidentKind
    state: IncidentState
    cause: str  # one sentence: what is wrong
    opened_at: datetime
    suspected_at: datetime  # the first sign
    resolved_at: datetime | None = None  # service restored
    closed_at: datetime | None = None
    resolution: Resolution = Resolution.NONE
    replacement: str = ""
    rung: int = 0  # of the remediation ladder
    held: tuple[str, ...] = ()  # guards that hold it now
    held_why: tuple[str, ...] = ()  # the same as sentences, with value and threshold as they were when it began
    version: int = 1  # rises when the answer to "what will you do?" changes; approvals are bound to it
    approval: Approval | None = None
    notes: tuple[Note, ...] = ()


class Verb(StrEnum):
    """What a planned step does. Acts go to the cloud, waits are judged by the engine."""

    WITHDRAW = "withdraw"
    CAPTURE = "capture"
    LAUNCH = "launch"
    WARM = "warm"  # wait: startup checks
    REGISTER = "register"
    CONFIRM = "confirm"  # wait: the load balancer and our checks call it healthy
    ISOLATE = "isolate"
    RESTORE = "restore"
    RESTART = "restart"
    STOP = "stop"
    MARK = "mark"  # expired: the machine's end is announced on it
    LAPSE = "lapse"  # wait: the notice has run out
    UNMARK = "unmark"  # the announced end is called off
    TERMINATE = "terminate"
    SWEEP = "sweep"


class Subject(StrEnum):
    """Whom a step concerns."""

    PATIENT = "patient"  # the instance the workflow is about
    CANDIDATE = "candidate"  # the one it launches


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One named step of a frozen plan. `optional`: a floor that forbids it is noted, and the plan goes on."""

    name: str
    verb: Verb
    subject: Subject
    optional: bool = False


class WorkflowKind(StrEnum):
    """Why a workflow runs."""

    REMEDIATE = "remediate"  # a rung of the ladder, for a sick instance
    FILL = "fill"
    WITHDRAW = "withdraw"
    RETURN = "return"
    ADOPT = "adopt"  # finish bringing in a machine that a lost journal launched
    RELEASE = "release"  # out of quarantine
    STOP = "stop"  # quarantine outlived its running time
    PURGE = "purge"  # end of a quarantine
    KEEP = "keep"  # an announced end is called off
    SWEEP = "sweep"  # of what a machine left behind


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"  # no longer needed


@dataclass(frozen=True, slots=True)
class Workflow:
    """A frozen plan on its way. Exactly one runs per instance and per slot."""

    TABLE: ClassVar[str] = "workflow"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    incident: int
    fleet: str
    kind: WorkflowKind
    remediation: str  # the plugin that planned it; '' for the engine's own
    slot: int | None
    patient: str  # '' where there is none
    image: str
    version: str
    plan: tuple[PlannedStep, ...]
    opened_at: datetime
    position: int = 0
    attempt: int = 1
    candidate: str = ""
    zone: str = ""
    state: WorkflowState = WorkflowState.RUNNING
    retry_at: datetime | None = None
    actor: str = "sickbay"
    ended_at: datetime | None = None
    outcome: str = ""
    leftover: str = ""  # what kind of thing a sweep destroys; its id is the patient

    @property
    def step(self) -> PlannedStep | None:
        """The step it stands at; None at the end."""
        return self.plan[self.position] if self.position < len(self.plan) else None


class StepStatus(StrEnum):
    """What the journal knows of one step."""

    INTENT = "intent"  # committed before the first byte is sent
    UNCLEAR = "unclear"  # replayed unchanged until the answer is definite
    DONE = "done"
    FAILED = "failed"  # a definite no
    SKIPPED = "skipped"  # optional, and a guard forbade it


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the journal: the whole request before, the answer after."""

    TABLE: ClassVar[str] = "step"
    KEY: ClassVar[tuple[str, ...]] = ("workflow", "name", "attempt")

    workflow: int
    name: str
    attempt: int
    status: StepStatus
    intent_at: datetime
    request: Request | None = None  # None: a wait
    outcome: Outcome | None = None
    done_at: datetime | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A machine set aside and kept. Has its own life, longer than its incident's."""

    TABLE: ClassVar[str] = "quarantine"
    KEY: ClassVar[tuple[str, ...]] = ("instance",)

    instance: str
    fleet: str
    incident: int
    cause: str
    isolated_at: datetime
    stop_at: datetime
    expires_at: datetime
    stopped: bool = False
    ended_at: datetime | None = None
    ended_by: str = ""  # released, purged, expired
    results: tuple[str, ...] = ()  # the last answers of its checks, one line each
    capture: str = ""  # where its log and states are kept
    marked_at: datetime | None = None  # its end was announced on it; None: not, or called off


@dataclass(frozen=True, slots=True)
class Holder:
    """Someone who pauses all acting, by name."""

    TABLE: ClassVar[str] = "holder"
    KEY: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    reason: str
    actor: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """One entry of the budget ledger: a machine taken away, until its replacement has proved itself."""

    TABLE: ClassVar[str] = "removal"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    fleet: str
    zone: str
    slot: int | None
    instance: str
    workflow: int
    at: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One thing to tell on one surface, kept until told. `dedup` is the same for the same thing, for ever."""

    TABLE: ClassVar[str] = "outbox"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    surface: str
    dedup: str
    kind: str  # dotted event name
    at: datetime
    fleet: str = ""
    incident: int = 0
    text: str = ""  # for people
    tries: int = 0
    dead: bool = False  # given up: kept as a dead letter


@dataclass(frozen=True, slots=True)
class Thread:
    """Where a surface began an incident's story, so that a restart goes on there."""

    TABLE: ClassVar[str] = "thread"
    KEY: ClassVar[tuple[str, ...]] = ("surface", "incident")

    surface: str
    incident: int
    ref: str  # the surface's own name for the place
    at: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did or asked what, and why. Append-only; the store chains the hashes."""

    TABLE: ClassVar[str] = "audit"
    KEY: ClassVar[tuple[str, ...]] = ("seq",)

    seq: int
    at: datetime
    actor: str
    via: str
    action: str
    target: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this supervisor is. `uid` is made once with the state file; `counter` numbers everything it creates."""

    TABLE: ClassVar[str] = "identity"
    KEY: ClassVar[tuple[str, ...]] = ("uid",)

    uid: str
    counter: int
    created_at: datetime
    seen_at: datetime | None = None  # of the last start


Record: TypeAlias = (
    Instance
    | Slot
    | Image
    | Offering
    | Incident
    | Workflow
    | Step
    | Quarantine
    | Holder
    | Removal
    | OutboxMessage
    | Thread
    | AuditEntry
    | Identity
)

RECORDS: tuple[type[Record], ...] = (
    Identity,
    Image,
    Offering,
    Slot,
    Instance,
    Incident,
    Workflow,
    Step,
    Quarantine,
    Holder,
    Removal,
    OutboxMessage,
    Thread,
    AuditEntry,
)
"""Every kind of record, in an order that a reader of the database would choose."""


def key_of(record: Record) -> tuple[str | int, ...]:
    """Return the record's primary key."""
    return tuple(getattr(record, name) for name in record.KEY)
