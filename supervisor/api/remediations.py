"""A remediation: a pure plan of named steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict

from supervisor.core.journal import PlannedStep, Subject, Verb
from supervisor.core.terms import Lifecycle


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A named step of a plan: what is done, and to whom. Names are unique within the plan.

    `optional` steps are skipped, and noted, where a floor forbids them; any other step waits for its guard.
    """

    verb: Verb
    subject: Subject = Subject.PATIENT
    name: str = ""
    optional: bool = False

    def planned(self) -> PlannedStep:
        """Freeze it for the journal."""
        return PlannedStep(self.name or str(self.verb), self.verb, self.subject, self.optional)


Plan: TypeAlias = tuple[StepPlan, ...]


class Remediation(BaseModel, ABC):
    """A way to heal. Subclass with `kind="…"`; the fields are the keys of its rung in the ladder.

    Its plan is made when the configuration is read, and frozen in the journal when an incident begins to act. It restarts
    the patient or isolates it; who is started (`RESTART` of the patient, `LAUNCH` of the candidate) goes through `WARM`,
    `REGISTER` and `CONFIRM`, each once and in this order. Any other plan is refused in one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    kind_name: ClassVar[str] = ""
    starts_from: ClassVar[frozenset[Lifecycle]] = frozenset(
        {Lifecycle.PROBATION, Lifecycle.IN_SERVICE, Lifecycle.WITHDRAWN}
    )
    """Lifecycles that it may start from."""
    removes: ClassVar[bool] = True
    """Whether the patient leaves the fleet: such a remediation costs a credit."""

    def __init_subclass__(cls, *, kind: str = "", **kwargs: object) -> None:
        """Name the kind."""
        super().__init_subclass__(**kwargs)  # type: ignore[arg-type]  # pydantic's own signature is wider
        if kind:
            cls.kind_name = kind

    @abstractmethod
    def plan(self) -> Plan:
        """Return the steps in order, at least one. Pure: the same every time; what it raises refuses the configuration."""
