"""What AWS's answers mean, row by row. What it does not know never speaks against a machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.errors import ProviderError
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.region import Look
from supervisor.providers.ec2.seen import at_balancer, impaired, machines, notices, target_health

HEALTHY, UNHEALTHY, INITIAL, UNKNOWN = (
    TargetHealth.HEALTHY,
    TargetHealth.UNHEALTHY,
    TargetHealth.INITIAL,
    TargetHealth.UNKNOWN,
)
ISOLATION, SERVING = "sg-00000001", "sg-00000002"
OPTIONS = Ec2Options(
    region="eu-central-1",
    launch_template="lt-00000001",
    subnets=("subnet-00000001",),
    isolation_group=ISOLATION,
)
GROUPED = OPTIONS.model_copy(update={"auto_scaling_group": "web"})
SHOWN = {
    "InstanceId": "i-1",
    "State": {"Name": "running"},
    "Placement": {"AvailabilityZone": "eu-central-1a"},
    "ImageId": "ami-1",
    "PrivateIpAddress": "10.0.0.1",
    "NetworkInterfaces": [{"Groups": [{"GroupId": SERVING}]}],
}


def answer(state: str = "running", reason: str = "", tags: dict[str, str] | None = None, **other: Any) -> Any:
    """Return an instance as EC2 shows it."""
    tags = {"sickbay:fleet": "web"} | (tags or {})
    told = {"StateReason": {"Code": reason, "Message": f"{reason}: as it says"}} if reason else {}
    shown: Any = SHOWN | {"State": {"Name": state}, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
    return shown | told | other


def seen(shown: Any, options: Ec2Options = OPTIONS, **look: Any) -> Machine:
    """Return the machine that an answer shows."""
    (machine,) = machines(replace(Look((shown,)), **look), "web", options)
    return machine


def test_a_machine_with_all_that_is_known_of_it() -> None:
    """Field by field."""
    tags = {"sickbay:version": "1.2.3", "sickbay:launch-id": "t1", "sickbay:role": "serving"}
    expected = Machine(
        id="i-1",
        fleet="web",
        state=MachineState.RUNNING,
        zone="eu-central-1a",
        image="ami-1",
        version="1.2.3",
        address="10.0.0.1",
        registered=True,
        target=HEALTHY,
        tags=tuple(sorted((tags | {"sickbay:fleet": "web"}).items())),
    )
    assert expected == seen(answer(tags=tags))


def test_what_it_shares_with_others_is_named_as_a_launch_names_it() -> None:
    """So that the sick of one subnet, type or host are told apart, and new machines go elsewhere."""
    placed = {"AvailabilityZone": "eu-central-1a", "GroupName": "rack-1", "HostId": "h-1"}
    machine = seen(answer(SubnetId="subnet-1", InstanceType="m7i.large", Placement=placed))
    expected = (("subnet", "subnet-1"), ("type", "m7i.large"), ("placement group", "rack-1"), ("host", "h-1"))
    assert expected == machine.labels


def test_machines_without_our_tag_are_not_ours() -> None:
    """Also those of the same template, and of other fleets."""
    foreign = [
        answer(tags={"sickbay:fleet": "db"}),
        answer(Tags=[{"Key": "aws:ec2launchtemplate:id", "Value": "lt-1"}]),
    ]
    assert [] == machines(Look(tuple(foreign)), "web", OPTIONS)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("pending", MachineState.PENDING),
        ("running", MachineState.RUNNING),
        ("stopping", MachineState.STOPPED),
        ("stopped", MachineState.STOPPED),
        ("shutting-down", MachineState.TERMINATED),
        ("terminated", MachineState.TERMINATED),
    ],
)
def test_states(state: str, expected: MachineState) -> None:
    """AWS has two more than we need."""
    assert expected is seen(answer(state)).state


@pytest.mark.parametrize("missing", ["State", "Placement"])
def test_half_an_answer_is_none(missing: str) -> None:
    """The whole list is then unknown."""
    with pytest.raises(ProviderError, match="AWS's answer about i-1 is not whole"):
        seen({k: v for k, v in answer().items() if k != missing})
    with pytest.raises(ProviderError, match="no state that we know"):
        seen(answer("hibernating"))


ENDS: dict[str, tuple[str, str, dict[str, str], bool, bool]] = {
    # what:                                   state, reason, tags, by a user, hopeless
    "a user stopped it": ("stopped", "Client.UserInitiatedShutdown", {}, True, False),
    "a user stops it": ("stopping", "Client.UserInitiatedShutdown", {}, True, False),
    "a user hibernated it": ("stopped", "Client.UserInitiatedHibernate", {}, True, False),
    "we stopped it": ("stopped", "Client.UserInitiatedShutdown", {"sickbay:state": "quarantined"}, False, False),
    "we stopped it, and its time is over": (
        "stopped",
        "Client.UserInitiatedShutdown",
        {"sickbay:state": "expired"},
        False,
        False,
    ),
    "it shut itself down": ("stopped", "Client.InstanceInitiatedShutdown", {}, False, False),
    "it shut itself down for good": ("terminated", "Client.InstanceInitiatedShutdown", {}, False, False),
    "it runs again": ("running", "Client.UserInitiatedShutdown", {}, False, False),
    "somebody terminated it": ("terminated", "Client.UserInitiatedShutdown", {}, False, False),
    "it died at once: too many volumes": ("terminated", "Client.VolumeLimitExceeded", {}, False, True),
    "it died at once: the key": ("terminated", "Client.InternalError", {}, False, True),
    "it died at once: no snapshot": ("terminated", "Client.InvalidSnapshot.NotFound", {}, False, True),
    "it died at once: AWS's fault": ("terminated", "Server.InternalError", {}, False, False),
    "it died at once: no capacity": ("terminated", "Server.InsufficientInstanceCapacity", {}, False, False),
    "a spot machine was taken back": ("terminated", "Server.SpotInstanceTermination", {}, False, False),
    "nobody says why": ("terminated", "", {}, False, False),
}


@pytest.mark.parametrize(("state", "reason", "tags", "by_user", "hopeless"), ENDS.values(), ids=ENDS)
def test_why_it_ended(state: str, reason: str, tags: dict[str, str], by_user: bool, hopeless: bool) -> None:
    """A user's wish is respected; what the next launch would meet again is not tried again."""
    machine = seen(answer(state, reason, tags))
    assert (by_user, hopeless) == (machine.stopped_by_user, machine.hopeless)
    assert (f"{reason}: as it says" if reason and state != "running" else "") == machine.reason


def test_an_old_reason_is_better_than_none() -> None:
    """Terminated machines keep only this one sometimes."""
    assert (
        "User initiated (2026-01-01)"
        == seen(answer("stopped", StateTransitionReason="User initiated (2026-01-01)")).reason
    )


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([[ISOLATION]], True),
        ([[ISOLATION], [ISOLATION]], True),
        ([[ISOLATION], [SERVING]], False),
        ([[ISOLATION, SERVING]], False),
        ([[]], False),
        ([], False),
    ],
    ids=["one card", "two cards", "one of two", "another group besides", "no group", "no card"],
)
def test_isolated_is_who_has_that_group_alone(cards: list[list[str]], expected: bool) -> None:
    """On every interface: one door is enough."""
    shown = answer(NetworkInterfaces=[{"Groups": [{"GroupId": g} for g in groups]} for groups in cards])
    assert expected is seen(shown).isolated


SINCE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
FAILED: Any = [{"Name": "reachability", "Status": "failed", "ImpairedSince": SINCE}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ""),
        ({"InstanceStatus": {"Status": "ok"}, "SystemStatus": {"Status": "ok"}}, ""),
        ({"InstanceStatus": {"Status": "initializing"}, "SystemStatus": {"Status": "initializing"}}, ""),
        ({"InstanceStatus": {"Status": "insufficient-data"}}, ""),
        ({"InstanceStatus": {"Status": "not-applicable"}}, ""),
        (
            {"InstanceStatus": {"Status": "impaired", "Details": FAILED}},
            "instance reachability failed since 2026-01-02 03:04 UTC",
        ),
        ({"SystemStatus": {"Status": "impaired"}}, "system status impaired"),
        (
            {"SystemStatus": {"Status": "impaired"}, "InstanceStatus": {"Status": "impaired", "Details": FAILED}},
            "system status impaired, instance reachability failed since 2026-01-02 03:04 UTC",
        ),
    ],
    ids=["unknown", "well", "young", "no data", "off", "the machine", "the host", "both"],
)
def test_impaired(status: Any, expected: str) -> None:
    """Only what AWS finds wrong, never what it does not know yet."""
    assert expected == impaired(status)
    assert expected == seen(answer(), statuses={"i-1": status}).impaired
    assert "" == seen(answer("stopped"), statuses={"i-1": status}).impaired


def test_notices() -> None:
    """What lies ahead, not what is over."""
    events = [
        {"Code": "instance-retirement", "Description": "The instance is on degraded hardware", "NotBefore": SINCE},
        {"Code": "system-reboot", "Description": "[Completed] reboot"},
        {"Code": "instance-stop", "Description": "[Canceled] stop"},
        {"Code": "system-maintenance", "Description": ""},
    ]
    expected = (
        "instance-retirement: The instance is on degraded hardware (not before 2026-01-02 03:04 UTC)",
        "system-maintenance",
    )
    assert expected == notices({"Events": events}, {})
    assert () == notices({}, {})


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("fulfilled", ()),
        ("marked-for-termination", ("spot: marked-for-termination: AWS takes it back within minutes",)),
        ("marked-for-stop", ("spot: marked-for-stop: AWS takes it back within minutes",)),
    ],
)
def test_a_spot_machine_that_aws_takes_back_is_announced(code: str, told: tuple[str, ...]) -> None:
    """It is no sickness; who asks is told all the same."""
    shown = answer(SpotInstanceRequestId="sir-1", InstanceLifecycle="spot")
    assert told == seen(shown, spots={"sir-1": {"Status": {"Code": code}}}).notices
    assert () == seen(shown, spots=None).notices


@pytest.mark.parametrize(
    ("tags", "expected"),
    [({}, ""), ({"sickbay:hold": "Ada looks at it"}, "Ada looks at it"), ({"sickbay:hold": ""}, "tag sickbay:hold")],
    ids=["free", "with a reason", "without"],
)
def test_held(tags: dict[str, str], expected: str) -> None:
    """The tag holds; its value is only the reason."""
    assert expected == seen(answer(tags=tags)).held


TAGGED = {"aws:autoscaling:groupName": "old"}


@pytest.mark.parametrize(
    ("options", "tags", "members", "expected"),
    [
        (OPTIONS, {}, None, ""),
        (OPTIONS, TAGGED, None, "old"),
        (GROUPED, TAGGED, {"i-1": {"AutoScalingGroupName": "web"}}, "web"),
        (GROUPED, TAGGED, {}, ""),
        (GROUPED, TAGGED, None, "old"),
    ],
    ids=["nobody's", "somebody's", "the group says so", "the group says no", "the group is silent"],
)
def test_whose_it_is(options: Ec2Options, tags: dict[str, str], members: Any, expected: str) -> None:
    """Auto Scaling itself is believed first, then the tag that it leaves."""
    assert expected == seen(answer(tags=tags), options, members=members).group


# ---------------------------------------------------------------------------------------------- how it serves


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("healthy", "", HEALTHY),
        ("unhealthy", "Target.FailedHealthChecks", UNHEALTHY),
        ("unhealthy", "Target.Timeout", UNHEALTHY),
        ("unhealthy", "Target.ResponseCodeMismatch", UNHEALTHY),
        ("unhealthy.draining", "Target.FailedHealthChecks", UNHEALTHY),
        ("unhealthy", "Elb.InternalError", UNKNOWN),
        ("unhealthy", "", UNKNOWN),
        ("unavailable", "Target.HealthCheckDisabled", UNKNOWN),
        ("unavailable", "Elb.InternalError", UNKNOWN),
        ("initial", "Elb.RegistrationInProgress", INITIAL),
        ("initial", "Elb.InitialHealthChecking", INITIAL),
        ("draining", "Target.DeregistrationInProgress", INITIAL),
        ("unused", "Target.NotInUse", UNKNOWN),
        ("novel", "Target.Novelty", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)
def test_what_a_target_group_says(state: str, reason: str, expected: TargetHealth) -> None:
    """Only the target's own reasons count against it."""
    assert expected is target_health({"State": state, "Reason": reason})


def group(*states: str, id: str = "i-1") -> list[Any]:
    """Return a target group's answer: a machine on several ports."""
    reasons = {"unhealthy": "Target.Timeout", "broken": "Elb.InternalError"}
    return [
        {
            "Target": {"Id": id, "Port": 80 + n},
            "TargetHealth": {"State": s.replace("broken", "unhealthy"), "Reason": reasons.get(s, "")},
        }
        for n, s in enumerate(states)
    ]


STANDINGS: dict[str, tuple[list[Any], bool | None, TargetHealth]] = {
    "in one group": ([group("healthy")], True, HEALTHY),
    "in both": ([group("healthy"), group("healthy")], True, HEALTHY),
    "in neither": ([group(), group()], False, UNKNOWN),
    "others are": ([group("healthy", id="i-2")], False, UNKNOWN),
    "in one of two: it gets requests, but not all": ([group("healthy"), group()], True, INITIAL),
    "on two ports, one of them bad": ([group("healthy", "unhealthy")], True, UNHEALTHY),
    "healthy in one, unhealthy in the other": ([group("healthy"), group("unhealthy")], True, UNHEALTHY),
    "healthy in one, new in the other": ([group("healthy"), group("initial")], True, INITIAL),
    "the load balancer is in trouble": ([group("broken")], True, UNKNOWN),
    "it drains": ([group("draining")], False, UNKNOWN),
    "it drains from one of two": ([group("draining"), group("healthy")], True, INITIAL),
    "it is stopped": ([group("unused")], False, UNKNOWN),
    "no answer": ([None], None, UNKNOWN),
    "no answer from one, not in the other": ([None, group()], None, UNKNOWN),
    "no answer from one, in the other": ([None, group("healthy")], True, UNKNOWN),
    "no answer from one, bad in the other": ([None, group("unhealthy")], True, UNKNOWN),
}


@pytest.mark.parametrize(("groups", "registered", "target"), STANDINGS.values(), ids=STANDINGS)
def test_several_groups_are_summed_up(groups: list[Any], registered: bool | None, target: TargetHealth) -> None:
    """Registered in any, healthy in all."""
    found = at_balancer("i-1", groups)
    assert (registered, target) == (found.registered, found.target)


@pytest.mark.parametrize(
    ("state", "role", "registered", "target"),
    [
        ("running", "serving", True, HEALTHY),
        ("stopped", "serving", True, UNHEALTHY),
        ("running", "", False, UNKNOWN),
        ("running", "candidate", False, UNKNOWN),
    ],
)
def test_without_a_load_balancer_a_tag_is_the_note(
    state: str, role: str, registered: bool, target: TargetHealth
) -> None:
    """As the local provider does."""
    machine = seen(answer(state, tags={"sickbay:role": role} if role else {}))
    assert (registered, target) == (machine.registered, machine.target)


@pytest.mark.parametrize(
    ("members", "registered", "target"),
    [
        ({"i-1": {"LifecycleState": "InService", "HealthStatus": "HEALTHY"}}, True, HEALTHY),
        ({"i-1": {"LifecycleState": "InService", "HealthStatus": "UNHEALTHY"}}, True, UNKNOWN),
        ({"i-1": {"LifecycleState": "Standby", "HealthStatus": "HEALTHY"}}, False, UNKNOWN),
        ({"i-1": {"LifecycleState": "Pending:Wait", "HealthStatus": "HEALTHY"}}, False, UNKNOWN),
        ({}, False, UNKNOWN),
        (None, None, UNKNOWN),
    ],
    ids=["in service", "marked", "standby", "pending", "detached", "silent"],
)
def test_without_a_load_balancer_the_group_says_who_serves(
    members: Any, registered: bool | None, target: TargetHealth
) -> None:
    """Auto Scaling's word."""
    machine = seen(answer(), GROUPED, members=members)
    assert (registered, target) == (machine.registered, machine.target)
