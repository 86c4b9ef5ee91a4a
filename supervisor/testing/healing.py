"""For the authors of remediations: a simulated fleet, a machine of it that falls sick, and the production engine.

What `heal` returns is read from the journal that the engine wrote: the steps in their order, the guards that held the
plan, and what became of the machine. Time is virtual: an hour of it costs less than a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache

from structlog.testing import capture_logs

from supervisor.api import Remediation, Subject, Verb
from supervisor.core.journal import Step, StepStatus, Workflow, WorkflowKind
from supervisor.core.model import Incident, IncidentState, Instance, Record
from supervisor.core.requests import Outcome, Refused, Request, Restart
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.terms import FleetState, Lifecycle, Mode, Role, Seconds
from supervisor.errors import PluginError
from supervisor.plugins import discover, planned
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.cloud import Fault as Refusing
from supervisor.sim.failpoints import Life
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.time import START, VirtualClock
from supervisor.sim.world import Behaviour, World
from supervisor.store import MemoryStore

FLEET = "web"
CHECKS = tuple(CheckPolicy(name, name, Role.LIVENESS, 10.0, 3.0) for name in ("http", "tcp"))
LONGEST: Seconds = 1800.0
"""Virtual seconds until `heal` returns, healed or not."""
VERBS = {Verb.WITHDRAW: "deregister"}
"""What a step asks of the cloud, where that has another name."""


class Fault(StrEnum):
    """How a machine falls sick."""

    ERRORS = "errors"  # every check is answered badly
    HANG = "hang"  # no check is answered
    CRASH = "crash"  # its processes are gone, and the cloud says so


@dataclass(frozen=True, slots=True)
class Did:
    """One step that was begun. `result` is "done", "skipped", "failed" or, if it had no answer in the end, "intent"."""

    name: str
    verb: Verb
    subject: Subject
    result: str
    why: str
    """Of a step that was skipped or failed, in a sentence."""
    seconds: float
    """From the fault to the step's beginning."""


@dataclass(frozen=True, slots=True)
class Healing:
    """What became of one sick machine.

    `resolution` is how its incident ended: "restarted", "replaced", "set_aside" or "recovered"; "" where it is still
    open. `steps` are those of your plans, in the order in which they began; `held` the guards that held one of them for a
    while, each as the sentence that people read; `story` every line of the incident. `served` is how many machines served
    at the least while it was open, and `seconds` how long it took from the fault to the end.
    """

    resolution: str
    steps: tuple[Did, ...]
    held: tuple[str, ...]
    story: tuple[str, ...]
    served: int
    seconds: float

    @property
    def names(self) -> list[str]:
        """The steps that were done, by name and in order."""
        return [step.name for step in self.steps if step.result == "done"]


def heal(
    *ladder: Remediation | str,
    fault: Fault = Fault.ERRORS,
    machines: int = 6,
    sick: int = 1,
    stubborn: bool = False,
    refused: Collection[Verb] = (),
) -> Healing:
    """Let a machine of a fleet fall sick, and have it healed by your ladder; return what happened.

    A rung is a remediation of yours, or the kind of a built-in one, which then has no options, such as "replace".
    The fleet is called "web" and has so many `machines` in two zones, each with two liveness checks, and every number as
    it is shipped. With more than one `sick`, they fall sick together, and what is told is about the first of them. A
    restart cures, but a `stubborn` machine falls sick again at once; the cloud says no to each step of `refused`. Raises
    `PluginError` for a plan that Sickbay would refuse to load, and `AssertionError` where a plan that it takes breaks
    what must always be true.
    """
    policy = FleetPolicy(
        name=FLEET,
        desired=machines,
        image="img-1",
        version="1.0.0",
        zones=("a", "b"),
        checks=CHECKS,
        ladder=tuple(planned(_built_in(rung) if isinstance(rung, str) else rung) for rung in ladder),
        inventory_interval=10.0,
    )
    trial = _Trial(fault, sick, stubborn, {VERBS.get(verb, str(verb)) for verb in refused})
    world = World(VirtualClock())
    stage = Stage(world, MemoryStore(), Settings(Mode.AUTO, {FLEET: policy}), make_cloud=trial.cloud)
    with capture_logs():
        stage.live(trial.play)
    broken = check(Evidence(stage.records(), world, stage.commits, stage.settings), ended=False)
    if broken:
        raise AssertionError("; ".join(violation.sentence for violation in broken))
    return trial.told(stage.records())


@cache
def _built_in(kind: str) -> Remediation:
    known = discover().remediations
    if kind not in known:
        raise PluginError(f"there is no remediation '{kind}'; known: {', '.join(sorted(known))}")
    return known[kind].cls()


class _Trial:
    """The story of one fault, and what is read while it is played."""

    def __init__(self, fault: Fault, sick: int, stubborn: bool, refused: Collection[str]) -> None:
        self._fault = fault
        self._sick = sick
        self._stubborn = stubborn
        self._refused = refused
        self._patient = ""
        self._begun = START
        self._seconds = 0.0
        self._served = 0

    def cloud(self, world: World, fleet: str, life: Life) -> FakeCloud:
        """Return a cloud that can be told to say no, and whose restarts may not cure."""

        def refuse(request: Request) -> Outcome | None:
            sick = getattr(request, "instance", "") == self._patient or request.verb == "launch"
            no = self._patient and sick and request.verb in self._refused
            return Refused("the test says no") if no else None

        return _Cloud(self, world, fleet, life, refuse=refuse)

    def restarted(self, world: World, instance: str) -> None:
        """Let a stubborn machine fall sick again."""
        if self._stubborn and instance == self._patient:
            self._break(world, instance)

    async def play(self, service: Service, world: World) -> None:
        """Wait for a fleet that is well, break a machine of it, and look on."""
        ctx = service.engine.ctx

        def is_well() -> bool:
            serving = [i for i in ctx.world.all(Instance) if i.lifecycle is Lifecycle.IN_SERVICE]
            return len(serving) == ctx.fleets[FLEET].policy.desired and ctx.fleets[FLEET].state is FleetState.OPTIMAL

        await until(is_well, 4 * LONGEST)
        sick = sorted(i.id for i in ctx.world.all(Instance))[: self._sick]
        self._patient = sick[0]
        self._begun, begun, self._served = ctx.now.wall, world.clock.boot, world.serving(FLEET)
        for each in sick:
            self._break(world, each)

        def is_over() -> bool:
            self._served = min(self._served, world.serving(FLEET))
            self._seconds = world.clock.boot - begun
            found = [i for i in ctx.world.all(Incident) if i.instance == self._patient]
            return bool(found) and all(i.state is IncidentState.CLOSED for i in found)

        try:
            await until(is_over, LONGEST)
        except TimeoutError:
            return
        await asyncio.sleep(1.0)  # what the last step has told is written down

    def _break(self, world: World, instance: str) -> None:
        match self._fault:
            case Fault.ERRORS:
                world.behave(instance, Behaviour.ERRORS)
            case Fault.HANG:
                world.behave(instance, Behaviour.HANG)
            case Fault.CRASH:
                world.crash(instance)

    def told(self, records: Sequence[Record]) -> Healing:
        """Read the journal."""
        incidents = [r for r in records if isinstance(r, Incident) and r.instance == self._patient]
        numbers = {i.id for i in incidents}
        plans = {
            r.id: r
            for r in records
            if isinstance(r, Workflow) and r.incident in numbers and r.kind is WorkflowKind.REMEDIATE
        }
        rows = [r for r in records if isinstance(r, Step) and r.workflow in plans]
        notes = [note.text for i in incidents for note in i.notes]
        held = [text.partition("but holds: ")[2] for text in notes if "but holds: " in text]
        return Healing(
            resolution=str(incidents[-1].resolution) if incidents else "",
            steps=tuple(self._did(row, plans[row.workflow]) for row in sorted(rows, key=lambda r: _order(r, plans))),
            held=tuple(dict.fromkeys(held)),
            story=tuple(notes),
            served=self._served,
            seconds=self._seconds,
        )

    def _did(self, row: Step, plan: Workflow) -> Did:
        step = next(step for step in plan.plan if step.name == row.name)
        why = getattr(row.outcome, "reason", "") if row.status in (StepStatus.SKIPPED, StepStatus.FAILED) else ""
        seconds = (row.intent_at - self._begun).total_seconds()
        return Did(row.name, step.verb, step.subject, str(row.status), why, seconds)


class _Cloud(FakeCloud):
    """A simulated cloud that tells the trial of each restart."""

    def __init__(self, trial: _Trial, world: World, fleet: str, life: Life, *, refuse: Refusing) -> None:
        super().__init__(world, fleet, life, refuse=refuse)
        self._trial = trial
        self._machines = world

    async def perform(self, request: Request) -> Outcome:
        outcome = await super().perform(request)
        if isinstance(request, Restart):
            self._trial.restarted(self._machines, request.instance)
        return outcome


def _order(row: Step, plans: dict[int, Workflow]) -> tuple[datetime, int, int, int]:
    plan = plans[row.workflow]
    place = next(number for number, step in enumerate(plan.plan) if step.name == row.name)
    return row.intent_at, row.workflow, row.attempt, place
