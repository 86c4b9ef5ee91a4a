"""What goes into the engine (signals) and what comes out (commands and events). Facts in, never orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from supervisor.core.journal import Step, Workflow
from supervisor.core.machine import Leftover, Machine
from supervisor.core.model import Incident, Moment, Record
from supervisor.core.requests import Outcome, Request
from supervisor.core.settings import Settings
from supervisor.core.terms import BootTime, ChangeKind, Lifecycle, Seconds, Status

NO_METRICS: Mapping[str, float] = MappingProxyType({})

# ---------------------------------------------------------------------------------------------- signals


class Result(NamedTuple):
    """One answer of one check. `sent` and `done` are on the boot clock; `silent` marks a time-out: no answer at all.

    `metrics` are numbers for plots, in base units; nothing is judged by them.
    """

    instance: str
    check: str
    status: Status
    silent: bool
    sent: BootTime
    done: BootTime
    text: str = ""
    metrics: Mapping[str, float] = NO_METRICS


class ResultsReported(NamedTuple):
    """A batch of results, as a check host sends them."""

    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class InventorySeen:
    """A whole and trusted list of a fleet's machines, by id, asked for at `asked` (boot clock).

    Who sends one list after another may say what is new in it: `before` is the list it sent last, the same object, and
    `news` names everyone who was not in that, is described otherwise in it, or is in this one no more. All others are the
    same objects in both.
    """

    fleet: str
    machines: Mapping[str, Machine]
    asked: BootTime
    before: Mapping[str, Machine] | None = None
    news: tuple[str, ...] = ()

    @classmethod
    def of(cls, fleet: str, machines: Iterable[Machine], asked: BootTime) -> InventorySeen:
        """Return a list of which nobody knows what is new in it."""
        return cls(fleet, {machine.id: machine for machine in machines}, asked)


@dataclass(frozen=True, slots=True)
class InventoryFailed:
    """The cloud did not answer, or only in part: unknown, never gone."""

    fleet: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeftoversSeen:
    """A whole list of what a fleet's machines left behind, asked for at `asked` (boot clock)."""

    fleet: str
    leftovers: tuple[Leftover, ...]
    asked: BootTime


@dataclass(frozen=True, slots=True)
class StepFinished:
    """An executor's answer to a `Perform`."""

    workflow: int
    step: str
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LogRead:
    """The answer to a `ReadLog`: the last lines, cleaned and masked, or why there are none."""

    incident: int
    moment: Moment
    lines: tuple[str, ...]
    trouble: str = ""


class Beat(NamedTuple):
    """One sign of life that a machine sent by itself, received at `at` (boot clock)."""

    instance: str
    at: BootTime


class HeartbeatsReported(NamedTuple):
    """A batch of signs of life, which came by another way than the checks go."""

    beats: Sequence[Beat]


@dataclass(frozen=True, slots=True)
class HeartbeatsDeaf:
    """Why nobody's signs of life can be heard now, '' once they can be again: silence says nothing meanwhile."""

    why: str


class Sense(StrEnum):
    """What a sentinel stands for."""

    SIGHT = "sight"  # must work if we can see at all
    ZONE = "zone"  # one fixed thing in a zone: whether the way there is open
    DEPENDENCY = "dependency"  # what machines depend on, asked directly


@dataclass(frozen=True, slots=True)
class SentinelReported:
    """Something that must work if we can see (`sense`); `of` names the zone or the dependency that it speaks for.

    One that is `gone` is asked no more: what it said last speaks neither for nor against anybody.
    """

    name: str
    ok: bool
    detail: str = ""
    sense: Sense = Sense.SIGHT
    of: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class SelfReported:
    """How the supervisor itself is doing, every few seconds: worst of the time since the last report."""

    lag: Seconds  # of its loops
    start_delay: float  # of probes, as a share of their interval
    names_resolve: bool = True


@dataclass(frozen=True, slots=True)
class SettingsLoaded:
    """A new configuration, already checked whole. `images` says which ids exist: (fleet, id, version)."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class KillSwitchSeen:
    """Whether the pause file exists; the file is one more named holder."""

    present: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something of the shell's that people should be told, such as a refused configuration."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class DigestDue:
    """The moment `at`, at which people want a digest, has come; the same one may be posted again."""

    at: datetime


@dataclass(frozen=True, slots=True)
class MessageTold:
    """A surface took an outbox message, can't now, or `refused` it for good. `thread` is where it was told."""

    message: int
    ok: bool
    refused: bool = False
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Woke:
    """A timer: look again."""


# -- what an operator may ask


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold all acting, by a named holder."""

    name: str
    seconds: Seconds | None = None  # None: until resumed


@dataclass(frozen=True, slots=True)
class Resume:
    """End one named holder."""

    name: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Never touch this instance for a while. On a quarantined one: never purge it."""

    instance: str
    seconds: Seconds | None = None  # None: the configured time


@dataclass(frozen=True, slots=True)
class Unhold:
    """End a hold."""

    instance: str


@dataclass(frozen=True, slots=True)
class Approve:
    """Let an incident's remediation go ahead, in `approve` mode. Bound to the incident's version."""

    incident: int
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Forbid an incident's remediation until it changes."""

    incident: int
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Say that somebody is looking into an incident. It changes nothing else."""

    incident: int


@dataclass(frozen=True, slots=True)
class ReleaseFromQuarantine:
    """Bring a quarantined machine back, through the startup checks."""

    instance: str


@dataclass(frozen=True, slots=True)
class Purge:
    """Destroy a quarantined machine now."""

    instance: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Let a slot that needs a human launch again."""

    fleet: str
    slot: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Make the configured image the last known good one; `absolve` one that was condemned."""

    fleet: str
    absolve: bool = False


@dataclass(frozen=True, slots=True)
class TellChange:
    """Tell of a deploy or a push of configuration: what breaks soon after is likelier to come of it.

    `target` is what was changed (an image, a check, a dependency, a zone or subnet); `fleet` '' means every fleet.
    """

    kind: ChangeKind
    target: str
    text: str
    fleet: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """Let so many machines of a fleet be healed although the cause is not understood or a storm blows, for a while."""

    fleet: str
    removals: int
    seconds: Seconds


OperatorVerb: TypeAlias = (
    Pause
    | Resume
    | Hold
    | Unhold
    | Approve
    | Reject
    | Acknowledge
    | ReleaseFromQuarantine
    | Purge
    | Retry
    | Promote
    | TellChange
    | Allow
)


class Choice(StrEnum):
    """What may be offered to a person beside an incident's card."""

    ACKNOWLEDGE = "acknowledge"
    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    RELEASE = "release"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Seen:
    """The offer that a person took: whose, and of which incident in which version."""

    supervisor: str
    incident: int
    version: int
    choice: Choice


@dataclass(frozen=True, slots=True)
class OperatorAsked:
    """An operator's request. The answer comes back as the `Reply` with the same `request`, after the commit.

    One that comes of an offer (`seen`) is carried out only while that is still offered, and told in the incident's story.
    """

    request: str
    verb: OperatorVerb
    actor: str
    via: str
    reason: str = ""
    seen: Seen | None = None


Signal: TypeAlias = (
    ResultsReported
    | InventorySeen
    | InventoryFailed
    | LeftoversSeen
    | StepFinished
    | LogRead
    | HeartbeatsReported
    | HeartbeatsDeaf
    | SelfReported
    | SentinelReported
    | SettingsLoaded
    | KillSwitchSeen
    | MessageTold
    | Noticed
    | DigestDue
    | Woke
    | OperatorAsked
)

# ---------------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry out one journalled step. Sent again after a crash, unchanged. `delay` waits before a replay."""

    workflow: int
    step: str
    attempt: int
    request: Request
    delay: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Observe:
    """Run a fleet's checks on this instance; `fast` asks for the suspect's pace. Replaces an earlier one."""

    instance: str
    fleet: str
    address: str
    zone: str
    image: str
    version: str
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """Run no more checks on this instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class AskNow:
    """Run every check of these instances at once, besides their schedule: a challenge waits for the answers."""

    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Give every check so many times its time limit: the supervisor itself is slow."""

    factor: float


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read the end of a machine's log for an incident's dossier. It changes nothing, and nothing waits for it."""

    incident: int
    moment: Moment
    fleet: str
    instance: str


Command: TypeAlias = Perform | Observe | Forget | AskNow | Stretch | ReadLog

# ---------------------------------------------------------------------------------------------- events (for log and page)


@dataclass(frozen=True, slots=True)
class IncidentTold:
    """An incident's story went on."""

    kind: str  # incident.opened, incident.joined (its cause was told already), incident.held, incident.acting, incident.resolved, incident.closed, …
    incident: Incident
    text: str


@dataclass(frozen=True, slots=True)
class InstanceMoved:
    """An instance changed its lifecycle."""

    instance: str
    fleet: str
    old: Lifecycle | None
    new: Lifecycle


@dataclass(frozen=True, slots=True)
class StepMoved:
    """A row of the journal was written: a step was begun, answered, left out or ended."""

    step: Step
    workflow: Workflow


@dataclass(frozen=True, slots=True)
class Said:
    """Anything else worth telling: amnesty, blindness, pauses, fleet states. `kind` is a dotted constant."""

    kind: str
    text: str
    fleet: str = ""


Event: TypeAlias = IncidentTold | InstanceMoved | StepMoved | Said


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to an operator."""

    request: str
    ok: bool
    text: str


@dataclass(slots=True)
class Turn:
    """What one step of the engine decided. Nothing of it is true before `changes` are committed."""

    changes: list[Record] = field(default_factory=list)
    deletes: list[Record] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    next_look: BootTime | None = None
