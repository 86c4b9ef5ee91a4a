"""The checker itself: a run without fault is clean, and each thing that may never happen is found when it is planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from supervisor.core.journal import Step, StepStatus, Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance, Quarantine, Record
from supervisor.core.requests import Done, Launch, Unclear
from supervisor.core.terms import Lifecycle
from tests.ec2.evidence import Evidence, Intent, Seen, Truth
from tests.ec2.invariants import BORN_WITH, check, quiescent
from tests.standins.aws import Entry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WELL, NEW, SICK, FOREIGN = "i-0000000a", "i-0000000b", "i-0000000c", "i-0000000f"
ISOLATION = "sg-isolation"


def entry(number: int, action: str, params: dict[str, object], answer: str = "") -> Entry:
    """Return a call that had its effect."""
    return Entry(number, "ec2", action, params, True, NOW.timestamp(), number + 1, answer == "", answer)


def call(number: int, action: str, verb: str, instance: str, **params: object) -> Seen:
    """Return a call about a machine, whose intent was there before it."""
    intents = (Intent(1, verb, 1, {"verb": verb, "instance": instance, "token": "t1"}),)
    return Seen(
        entry(number, action, params),
        1,
        frozenset({instance}),
        intents,
        served={WELL: 9, NEW: 9, SICK: 9},
        healthy=frozenset({WELL, NEW}),
    )


def launch(number: int, token: str = "t1", **more: object) -> Seen:
    """Return a launch that is as it should be."""
    tags = [{"Key": key, "Value": "x"} for key in sorted(BORN_WITH)]
    specs = [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")]
    intents = (Intent(1, "launch", 1, {"verb": "launch", "token": token}),)
    params: dict[str, object] = {"ClientToken": token, "TagSpecifications": specs} | more
    return Seen(entry(number, "RunInstances", params), 1, frozenset(), intents)


def machine(name: str, **changes: object) -> Truth:
    """Return a machine that serves."""
    base = Truth(name, "running", {}, (frozenset({"sg-web"}),), protected=False, target="healthy", snapshots=0)
    return replace(base, isolation=ISOLATION, **changes)  # type: ignore[arg-type]  # the rows name fields


def instance(name: str, lifecycle: Lifecycle, *, served: bool = True) -> Instance:
    """Return the journal's word on a machine."""
    return Instance(name, "web", lifecycle, None, "ami-1", "1.0.0", "a", "127.0.0.1", NOW, NOW, served)


def incident(number: int = 1, state: IncidentState = IncidentState.CLOSED) -> Incident:
    """Return the story of the sick one."""
    return Incident(number, "web", SICK, IncidentKind.SICK, state, "it errs", NOW, NOW)


def workflow(state: WorkflowState) -> Workflow:
    """Return a workflow without steps."""
    return Workflow(1, 1, "web", WorkflowKind.REMEDIATE, "replace", 0, SICK, "ami-1", "1.0.0", (), NOW, state=state)


def step(status: StepStatus = StepStatus.DONE, name: str = "launch", made: str = NEW) -> Step:
    """Return a launch of the one workflow."""
    outcome = Done(made) if status is StepStatus.DONE else Unclear("lost")
    return Step(1, name, 1, status, NOW, Launch("web", "ami-1", "1.0.0", "a", name), outcome)


KEPT = Quarantine(SICK, "web", 1, "it errs", NOW, NOW, NOW + timedelta(hours=1))
ISOLATED = machine(SICK, groups=(frozenset({ISOLATION}),), protected=True, target="", snapshots=1)
RECORDS: tuple[Record, ...] = (
    instance(WELL, Lifecycle.IN_SERVICE),
    instance(NEW, Lifecycle.PROBATION),
    instance(SICK, Lifecycle.QUARANTINED),
    incident(),
    workflow(WorkflowState.DONE),
    step(),
    KEPT,
)
TAGGED = {"sickbay:launch-id": "t1", "sickbay:incident": "1"}
CLEAN = Evidence(
    calls=(
        call(0, "DeregisterTargets", "deregister", SICK),
        launch(1),
        call(2, "RegisterTargets", "register", NEW),
        call(3, "ModifyInstanceAttribute", "isolate", SICK),
        call(4, "ModifyNetworkInterfaceAttribute", "isolate", SICK),
    ),
    machines={WELL: machine(WELL), NEW: machine(NEW, tags=TAGGED), SICK: ISOLATED, FOREIGN: machine(FOREIGN)},
    records=RECORDS,
    texts={"err.log": b"all is well"},
    desired=2,
    foreign=frozenset({FOREIGN}),
    ill=frozenset({SICK}),
)


def calls(*more: Seen) -> Evidence:
    """Return the clean run with some more calls."""
    return replace(CLEAN, calls=(*CLEAN.calls, *more))


def records(*more: Record, without: tuple[Record, ...] = ()) -> Evidence:
    """Return the clean run with some more in its journal."""
    return replace(CLEAN, records=tuple(r for r in CLEAN.records if r not in without) + more)


def machines(**changed: Truth) -> Evidence:
    """Return the clean run with other machines."""
    return replace(CLEAN, machines=dict(CLEAN.machines) | {m.id: m for m in changed.values()})


def test_a_clean_run_is_clean() -> None:
    """Nothing is found where nothing is wrong."""
    assert [] == check(CLEAN)


PLANTED: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "an incident stays open": ("I1", lambda: records(incident(2, IncidentState.OPEN))),
    "a launch makes two machines": ("I2", lambda: machines(twin=machine("i-0000000d", tags=TAGGED))),
    "a machine is not in the journal": (
        "I2",
        lambda: machines(stray=machine("i-0000000e", tags={"sickbay:launch-id": "t9"})),
    ),
    "an incident has two live replacements": ("I2", lambda: records(step(name="launch-2", made=WELL))),
    "a machine that is well is withdrawn": ("I3", lambda: calls(call(5, "DeregisterTargets", "deregister", WELL))),
    "a machine that is well is tagged out": ("I3", lambda: calls(call(5, "DeleteTags", "isolate", WELL))),
    "it is destroyed before its time": ("I4", lambda: calls(call(5, "TerminateInstances", "terminate", SICK))),
    "it is destroyed without having been kept": (
        "I4",
        lambda: replace(
            records(without=(KEPT,)), calls=(*CLEAN.calls, call(5, "TerminateInstances", "terminate", SICK))
        ),
    ),
    "it is destroyed before its snapshot is complete": (
        "I4",
        lambda: calls(
            replace(call(5, "TerminateInstances", "terminate", SICK), unsnapped=frozenset({SICK})),
        ),
    ),
    "a quarantined machine is not isolated": (
        "I5",
        lambda: machines(sick=replace(ISOLATED, groups=(frozenset({ISOLATION}), frozenset({"sg-web"})))),
    ),
    "a quarantined machine is not protected": ("I5", lambda: machines(sick=replace(ISOLATED, protected=False))),
    "a quarantined machine is in the load balancer": (
        "I5",
        lambda: machines(sick=replace(ISOLATED, target="unhealthy")),
    ),
    "a quarantined machine is registered again": (
        "I5",
        lambda: calls(replace(call(5, "RegisterTargets", "register", SICK), kept=frozenset({SICK}))),
    ),
    "a machine is registered unproved": (
        "I6",
        lambda: calls(replace(call(5, "RegisterTargets", "register", NEW), served={NEW: 4})),
    ),
    "the last one that serves is withdrawn": (
        "I7",
        lambda: calls(
            replace(call(5, "DeregisterTargets", "deregister", SICK), healthy=frozenset({SICK, FOREIGN})),
        ),
    ),
    "an effect comes before its intent": (
        "I8",
        lambda: calls(replace(call(5, "DeregisterTargets", "deregister", SICK), intents=())),
    ),
    "an intent explains another call": ("I8", lambda: calls(call(5, "TerminateInstances", "isolate", SICK))),
    "a launch has a token that is not in the journal": (
        "I8",
        lambda: calls(replace(launch(5, "t5"), intents=launch(6, "t6").intents)),
    ),
    "a call that nobody foresaw": ("I8", lambda: calls(call(5, "DeleteSecurityGroup", "sweep", SICK))),
    "a token is sent with other parameters": ("I9", lambda: calls(launch(5, SubnetId="subnet-b"))),
    "a launch has no token": ("I9", lambda: calls(launch(5, ""))),
    "AWS has seen a token with other parameters": (
        "I9",
        lambda: calls(replace(launch(5), entry=entry(5, "RunInstances", {}, "IdempotentParameterMismatch"))),
    ),
    "a volume is made without tags": ("I12", lambda: calls(launch(5, "t5", TagSpecifications=[]))),
    "a snapshot is made without tags": ("I12", lambda: calls(call(5, "CreateSnapshots", "isolate", SICK))),
    "a foreign machine is tagged": ("I13", lambda: calls(call(5, "CreateTags", "isolate", FOREIGN))),
    "a secret is in the log": ("I15", lambda: replace(CLEAN, texts={"err.log": b"key=CANARY-secret"})),
    "a step is unclear for ever": ("I18", lambda: records(step(StepStatus.UNCLEAR, "isolate"))),
    "a workflow never ends": ("I18", lambda: records(replace(workflow(WorkflowState.RUNNING), id=2))),
    "too few serve in the end": ("I18", lambda: machines(new=machine(NEW, tags=TAGGED, target="initial"))),
    "a volume has two snapshots": ("I21", lambda: machines(sick=replace(ISOLATED, snapshots=2))),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_may_never_happen_is_found(name: str) -> None:
    """Each by its own invariant."""
    invariant, plant = PLANTED[name]

    assert invariant in {violation.invariant for violation in check(plant())}


def test_a_converged_daemon_that_acts_is_found() -> None:
    """I19, even where AWS found nothing to change."""
    assert ["I19"] == [v.invariant for v in quiescent([call(0, "CreateTags", "isolate", SICK)])]
