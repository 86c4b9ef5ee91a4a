"""Launches: one token is one machine, and every no of AWS's means what it means."""

from __future__ import annotations

import pytest

from supervisor.core.requests import Deregister, Done, Mark, Refused, Terminate, Unclear
from tests.providers.ec2_acts.bench import Bench

pytestmark = pytest.mark.acceptance


def machines(bench: Bench, token: str) -> list[str]:
    """Return the machines that carry a token."""
    bench.aws.forward(60)
    return [
        one["InstanceId"]
        for found in bench.aws.do("ec2", "DescribeInstances")["Reservations"]
        for one in found["Instances"]
        if {"Key": "sickbay:launch-id", "Value": token} in one.get("Tags", [])
    ]


def test_all_that_a_launch_makes_is_tagged_at_once(bench: Bench) -> None:
    """The machine, its disks, its interfaces: from the request's tags, the template's, and the version."""
    outcome = bench.perform(bench.launch("t1"))
    assert isinstance(outcome, Done)
    bench.aws.forward(60)
    tags = {
        "sickbay:fleet": "web",
        "sickbay:incident": "7",
        "sickbay:launch-id": "t1",
        "sickbay:supervisor": "uid/1",
        "sickbay:version": "1.0.0",
    }
    shown = bench.shown(outcome.instance)
    volume = bench.aws.do("ec2", "DescribeVolumes", VolumeIds=[shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]])
    card = bench.aws.do(
        "ec2", "DescribeNetworkInterfaces", NetworkInterfaceIds=[shown["NetworkInterfaces"][0]["NetworkInterfaceId"]]
    )

    assert tags == bench.tags(outcome.instance)
    assert tags == {t["Key"]: t["Value"] for t in volume["Volumes"][0]["Tags"]}
    assert tags == {t["Key"]: t["Value"] for t in card["NetworkInterfaces"][0]["TagSet"]}
    assert ["RunInstances"] == bench.called()


def test_a_replay_sends_the_same_bytes(bench: Bench) -> None:
    """Made of the request alone: before AWS shows the machine, the token alone keeps it from being two."""
    bench.aws.clock.rate = 0.001
    answers = [bench.perform(bench.launch("t1")) for _ in range(3)]
    first, *others = bench.aws.log.daemons

    assert 1 == len({str(answer) for answer in answers})
    assert 2 == len(others)
    assert all(first.params == entry.params for entry in others)
    assert 1 == len(machines(bench, "t1"))
    assert answers[0] == bench.perform(bench.launch("t1"))
    assert 3 == len(bench.called())


def test_a_launch_whose_machine_has_died_since_is_that_machine(bench: Bench) -> None:
    """The engine finds it terminated; a second one under this token there never is."""
    outcome = bench.perform(bench.launch("t1"))
    assert isinstance(outcome, Done)
    bench.aws.forward(60)
    bench.aws.do("ec2", "TerminateInstances", InstanceIds=[outcome.instance])
    bench.aws.forward(60)

    assert outcome == bench.perform(bench.launch("t1"))
    assert ["RunInstances"] == bench.called()


def test_a_token_of_the_long_dead_is_refused(bench: Bench) -> None:
    """AWS knows the token still, and shows the machine no longer: a definite no, so that a new attempt may begin."""
    outcome = bench.perform(bench.launch("t1"))
    assert isinstance(outcome, Done)
    bench.aws.forward(60)
    bench.aws.do("ec2", "TerminateInstances", InstanceIds=[outcome.instance])
    bench.aws.forward(4000)
    bench.aws.launches.refuses_dead_tokens = True
    outcome = bench.perform(bench.launch("t1"))

    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("the machine of this launch is terminated already, and no longer shown")


def test_another_request_under_the_token_is_looked_for_and_never_answered_by_a_new_token(bench: Bench) -> None:
    """As long as AWS shows nothing, nobody can say; as soon as it does, that is the machine."""
    bench.aws.clock.rate = 0.001  # so that it is not shown meanwhile
    request = bench.world.request("t1", InstanceType="t3.small")
    bench.aws.do("ec2", "RunInstances", **request)
    outcome = bench.perform(bench.launch("t1"))

    assert isinstance(outcome, Unclear)
    assert "IdempotentParameterMismatch" in outcome.reason
    (made,) = machines(bench, "t1")
    assert Done(instance=made) == bench.perform(bench.launch("t1"))
    assert ["RunInstances"] == bench.called()


def test_one_token_in_another_zone_is_refused(bench: Bench) -> None:
    """AWS would take it for another token, and launch: the look before finds the first one."""
    bench.done(bench.launch("t1"))
    (made,) = machines(bench, "t1")
    outcome = bench.perform(bench.launch("t1", bench.world.zones[1]))

    assert isinstance(outcome, Refused)
    assert f"IdempotentParameterMismatch: this token launched {made} in eu-central-1a" in outcome.reason
    assert [made] == machines(bench, "t1")


@pytest.mark.parametrize(
    ("code", "capacity", "hopeless", "says"),
    [
        ("InsufficientInstanceCapacity", True, False, "no capacity in eu-central-1a"),
        ("InsufficientFreeAddressesInSubnet", True, False, "no capacity"),
        ("InsufficientHostCapacity", True, False, "no capacity"),
        ("Unsupported", True, False, "no capacity"),
        ("UnfulfillableCapacity", True, False, "no capacity"),
        ("MaxSpotInstanceCountExceeded", True, False, "no capacity"),
        ("VcpuLimitExceeded", False, True, "a limit of the account is reached"),
        ("InstanceLimitExceeded", False, True, "a limit of the account is reached"),
        ("VolumeLimitExceeded", False, True, "a limit of the account is reached"),
        ("InvalidAMIID.NotFound", False, True, "mend the launch template"),
        ("InvalidAMIID.Unavailable", False, True, "mend the launch template"),
        ("InvalidLaunchTemplateId.VersionNotFound", False, True, "mend the launch template"),
        ("InvalidSubnetID.NotFound", False, True, "mend the launch template or the subnets"),
        ("AuthFailure", False, True, "this launch is not permitted"),
        ("UnauthorizedOperation", False, True, "this launch is not permitted"),
        ("OptInRequired", False, True, "this launch is not permitted"),
        ("IncorrectState", False, False, "AWS says no to this launch"),
        ("RequestExpired", False, False, "clock differs"),
    ],
)
def test_a_definite_no_says_what_may_come_next(
    bench: Bench, code: str, capacity: bool, hopeless: bool, says: str
) -> None:
    """Another place, nothing until a person has acted, or simply another attempt."""
    bench.aws.faults.add("RunInstances", f"error:{code}", times=2)
    outcome = bench.perform(bench.launch("t1"))

    assert isinstance(outcome, Refused)
    assert (capacity, hopeless) == (outcome.capacity, outcome.hopeless)
    assert says in outcome.reason
    assert code in outcome.reason or "clock" in outcome.reason
    assert [] == bench.effects()


def test_a_launch_without_its_terms_is_refused(bench: Bench) -> None:
    """What a journal of another provider would hold."""
    whole = bench.launch("t1")
    bare = type(whole)(whole.fleet, whole.image, whole.version, whole.zone, whole.token, whole.tags)
    outcome = bench.perform(bare)

    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("the launch names no template and no template_version and no subnet")
    assert outcome.hopeless
    assert isinstance(bench.perform(type(whole)("shop", "", "", "", "t")), Refused)


def test_what_was_launched_a_moment_ago_is_not_yet_there_rather_than_gone(bench: Bench) -> None:
    """AWS may take minutes to show it: until then nobody can say, and nothing ends as if it were done."""
    bench.aws.clock.rate = 0.001
    outcome = bench.perform(bench.launch("t1"))
    assert isinstance(outcome, Done)
    name = outcome.instance
    for request in (Mark("web", name, "m", "failed-candidate"), Terminate("web", name, "t")):
        answer = bench.perform(request)
        assert isinstance(answer, Unclear)
        assert f"{name} was launched less than 5 minutes ago and is not shown yet" in answer.reason
    bench.aws.forward(60)
    bench.done(Deregister("web", name, "d"), Mark("web", name, "m", "failed-candidate"), Terminate("web", name, "t"))
    assert "shutting-down" == bench.state(name)
