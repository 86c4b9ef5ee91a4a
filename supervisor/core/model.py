"""The records: what Sickbay knows for certain and keeps across restarts.

Frozen values, one per noun, each stored as one row. A value of a `StrEnum` here is stored, so it is for ever.
Wall-clock times (`*_at`, UTC) are for people and for deadlines that outlive the process; the core measures durations
on the boot clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias

from supervisor.core.journal import Step, Workflow
from supervisor.core.machine import Offer
from supervisor.core.requests import Words
from supervisor.core.terms import Cause, ChangeKind, Lifecycle, Standing


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
    standing: Standing = Standing.GOOD
    standing_why: str = ""


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
    SHARED = "shared"  # many are sick of one cause, named by `about`


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
    """The story of one trouble. At most one per instance (or fleet, or `about` in it) is not closed."""

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
    about: str = ""  # of a shared one: what its machines have in common, such as "zone a"
    verdict: Cause = Cause.INSTANCE  # what is wrong, as it was last judged
    sure: float = 0.0  # how likely that is; 0: not yet judged
    acknowledged_by: str = ""  # who said to be looking into it
    held_ever: tuple[str, ...] = ()  # every guard that has held it
    accused: tuple[str, ...] = ()  # the checks that failed when it was opened
    fingerprint: str = ""  # the kind of trouble; '' while it is not known


class Moment(StrEnum):
    """When a dossier was put together."""

    OPENING = "opening"  # of the incident
    REMOVAL = "removal"  # right before its machine was set aside


@dataclass(frozen=True, slots=True)
class CheckSeen:
    """What a check said last, and since when it says so."""

    name: str
    status: str
    since: datetime | None
    text: str


@dataclass(frozen=True, slots=True)
class Dossier:
    """What a person would look up first about an incident, as it was at one moment. Cleaned, masked and bounded."""

    TABLE: ClassVar[str] = "dossier"
    KEY: ClassVar[tuple[str, ...]] = ("incident", "moment")

    incident: int
    moment: Moment
    at: datetime
    why: str  # one sentence
    signature: str  # how the machine fails, without what varies
    checks: tuple[CheckSeen, ...] = ()
    cloud: str = ""  # what the cloud and the load balancer say
    changes: tuple[str, ...] = ()
    log: tuple[str, ...] = ()  # the last lines of its log or console, oldest first
    log_at: datetime | None = None  # None: it was not read yet
    log_trouble: str = ""  # why there is none
    telling: str = ""  # the line of it that says most


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
    labels: Words = ()  # what it shared with others besides zone and image


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was changed, and by whom: what breaks soon after is likelier to come of it."""

    TABLE: ClassVar[str] = "change"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: int
    at: datetime
    kind: ChangeKind
    target: str
    text: str
    actor: str
    fleet: str = ""  # '' for every fleet


@dataclass(frozen=True, slots=True)
class CheckStanding:
    """Whether a check may vote, by its version."""

    TABLE: ClassVar[str] = "check_standing"
    KEY: ClassVar[tuple[str, ...]] = ("fleet", "check")

    fleet: str
    check: str
    version: str
    standing: Standing
    since: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Learnt:
    """Numbers that were learnt of a fleet and outlive a restart: blip rates, failure rate, boot times."""

    TABLE: ClassVar[str] = "learnt"
    KEY: ClassVar[tuple[str, ...]] = ("fleet", "name")

    fleet: str
    name: str  # dotted: what of whom, such as blip.alive
    values: tuple[float, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Permit:
    """A person's word that so many removals may happen although the cause is not understood. Used up, or it ends."""

    TABLE: ClassVar[str] = "permit"
    KEY: ClassVar[tuple[str, ...]] = ("fleet",)

    fleet: str
    removals: int
    actor: str
    reason: str
    since: datetime
    until: datetime


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
    """Who did or asked what, and why, and what it was before and after. Append-only; the store chains the hashes.

    A step of ours is written before it is sent, so it has no `after`: the incident's story tells what came of it.
    """

    TABLE: ClassVar[str] = "audit"
    KEY: ClassVar[tuple[str, ...]] = ("seq",)

    seq: int
    at: datetime
    actor: str
    via: str
    action: str
    target: str
    reason: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this supervisor is. `uid` is made once with the state file; `counter` numbers everything it creates."""

    TABLE: ClassVar[str] = "identity"
    KEY: ClassVar[tuple[str, ...]] = ("uid",)

    uid: str
    counter: int
    created_at: datetime
    seen_at: datetime | None = None  # of the last start
    digest_at: datetime | None = None  # up to when the digests were told


Record: TypeAlias = (
    Instance
    | Slot
    | Image
    | Offering
    | Incident
    | Dossier
    | Workflow
    | Step
    | Quarantine
    | Holder
    | Removal
    | Change
    | CheckStanding
    | Learnt
    | Permit
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
    Dossier,
    Workflow,
    Step,
    Quarantine,
    Holder,
    Removal,
    Change,
    CheckStanding,
    Learnt,
    Permit,
    OutboxMessage,
    Thread,
    AuditEntry,
)
"""Every kind of record, in an order that a reader of the database would choose."""


def key_of(record: Record) -> tuple[str | int, ...]:
    """Return the record's primary key."""
    return tuple(getattr(record, name) for name in record.KEY)
