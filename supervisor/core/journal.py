"""The journal of acting: plans frozen when they begin, and each step with its whole request and its answer.

A value of a `StrEnum` here is stored, so it is for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from supervisor.core.requests import Outcome, Request


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
    RESCUE = "rescue"  # a machine more than wanted, while a storm may remove none
    WITHDRAW = "withdraw"
    RETURN = "return"
    ADOPT = "adopt"  # finish bringing in a machine that a lost journal launched
    RELEASE = "release"  # out of quarantine
    STOP = "stop"  # quarantine outlived its running time
    PURGE = "purge"  # end of a quarantine
    KEEP = "keep"  # an announced end is called off
    FENCE = "fence"  # out of the load balancer again, and isolated: it came back after it had been set aside
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

    @property
    def fills(self) -> bool:
        """Whether something is still to be done to the new machine; once it serves, it and its slot are free again."""
        return any(step.subject is Subject.CANDIDATE for step in self.plan[self.position :])


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
