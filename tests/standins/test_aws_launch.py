"""The stand-in's RunInstances: one token is one machine, templates count, and refusals come in AWS's words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.standins.asking import code, instances, shown, state, status, tags
from tests.standins.aws import World, template_data

pytestmark = pytest.mark.acceptance


def run(ec2: Any, request: Any) -> str:
    return str(ec2.run_instances(**request)["Instances"][0]["InstanceId"])


def test_one_token_is_one_machine(world: World, ec2: Any) -> None:
    """However often and however concurrently the request is sent; only the first has an effect."""
    request = world.request("t1")
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda _: run(ec2, request), range(4)))
    names.add(run(ec2, request))

    assert 1 == len(names)
    assert [True] + [False] * 4 == [e.effect for e in world.aws.log.daemons]


def test_one_token_with_other_parameters_is_a_mismatch(world: World, ec2: Any) -> None:
    """A tag is a parameter too, and so is another subnet of the same zone."""
    vpc = world.aws.admin("ec2").describe_vpcs(VpcIds=[world.vpc])["Vpcs"][0]["CidrBlock"]
    other = world.aws.admin("ec2").create_subnet(
        VpcId=world.vpc, CidrBlock=vpc.replace("0.0/16", "64.0/20"), AvailabilityZone=world.zones[0]
    )
    run(ec2, world.request("t1"))

    assert "IdempotentParameterMismatch" == code(ec2.run_instances, **world.request("t1", InstanceType="t3.large"))
    assert "IdempotentParameterMismatch" == code(ec2.run_instances, **world.request("t1", TagSpecifications=[]))
    elsewhere = world.request("t1", SubnetId=other["Subnet"]["SubnetId"])
    assert "IdempotentParameterMismatch" == code(ec2.run_instances, **elsewhere)


def test_a_token_counts_in_its_zone(world: World, ec2: Any) -> None:
    """The trap of a fallback: in another zone, the same token is another machine."""
    assert run(ec2, world.request("t1")) != run(ec2, world.request("t1", world.zones[1]))


def test_a_token_outlives_its_machine(world: World, ec2: Any) -> None:
    """The same answer with the new state, also when nobody shows the machine any longer; or AWS's other answer."""
    name = run(ec2, world.request("t1"))
    world.aws.forward(60)
    ec2.terminate_instances(InstanceIds=[name])
    world.aws.forward(10_000)
    again = ec2.run_instances(**world.request("t1"))["Instances"][0]

    assert (name, "terminated") == (again["InstanceId"], again["State"]["Name"])
    world.aws.launches.refuses_dead_tokens = True
    assert "IdempotentInstanceTerminated" == code(ec2.run_instances, **world.request("t1"))


def test_a_refused_launch_does_not_use_its_token(world: World, ec2: Any) -> None:
    """After a definite no the same token may try again."""
    world.aws.launches.capacity["t3.micro", "*"] = "InsufficientInstanceCapacity"
    assert "InsufficientInstanceCapacity" == code(ec2.run_instances, **world.request("t1"))
    world.aws.launches.capacity.clear()
    assert run(ec2, world.request("t1")).startswith("i-")


def test_machines_are_found_by_their_token(world: World, ec2: Any) -> None:
    """By the `client-token` filter, together with others."""
    name = run(ec2, world.request("t1"))
    run(ec2, world.request("t2"))
    world.aws.forward(5)
    wanted = [{"Name": "client-token", "Values": ["t1"]}, {"Name": "tag:sickbay:launch-id", "Values": ["t*"]}]

    assert [(name, "t1")] == [(i["InstanceId"], i["ClientToken"]) for i in instances(ec2, Filters=wanted)]
    assert [] == instances(ec2, Filters=[{"Name": "client-token", "Values": ["t3"]}])


def test_tags_are_there_from_the_first_moment(world: World, ec2: Any) -> None:
    """From the template and the request, on the instance, its volumes and its interfaces; the answer shows them."""
    made = ec2.run_instances(**world.request("t1"))["Instances"][0]
    ours = {"sickbay:fleet": "web", "sickbay:launch-id": "t1"}
    by_aws = {"aws:ec2launchtemplate:id": world.template, "aws:ec2launchtemplate:version": "1"}

    assert ours | by_aws == tags(made)
    disks = ec2.describe_volumes(Filters=[{"Name": "tag:sickbay:fleet", "Values": ["web"]}])["Volumes"]
    assert [made["InstanceId"]] == [d["Attachments"][0]["InstanceId"] for d in disks]
    assert {"sickbay:fleet": "web"} == tags(ec2.describe_network_interfaces()["NetworkInterfaces"][0])


def test_an_unknown_or_unavailable_image_is_refused(world: World, ec2: Any) -> None:
    """Whether the request or the template names it."""
    absent = "ami-00000000000000000"
    assert "InvalidAMIID.NotFound" == code(ec2.run_instances, **world.request("t1", ImageId=absent))
    assert "InvalidAMIID.Malformed" == code(ec2.run_instances, **world.request("t1", ImageId="golden"))
    world.aws.set_image(world.image, "disabled")
    assert "InvalidAMIID.Unavailable" == code(ec2.run_instances, **world.request("t1"))
    assert [] == instances(world.aws.admin("ec2"))


@pytest.mark.parametrize("missing", ["LaunchTemplate", "Version", "SubnetId", "SecurityGroupIds", "InstanceType"])
def test_what_does_not_exist_is_refused(world: World, ec2: Any, missing: str) -> None:
    """Templates, versions, subnets, groups and types."""
    request = world.request("t1")
    expected = {
        "LaunchTemplate": ("InvalidLaunchTemplateId.NotFound", {"LaunchTemplateId": "lt-00000000000000000"}),
        "Version": ("InvalidLaunchTemplateId.VersionNotFound", {"LaunchTemplateId": world.template, "Version": "7"}),
        "SubnetId": ("InvalidSubnetID.NotFound", "subnet-00000000000000000"),
        "SecurityGroupIds": ("InvalidGroup.NotFound", ["sg-00000000000000000"]),
        "InstanceType": ("InvalidParameterValue", "t99.huge"),
    }[missing]
    request["LaunchTemplate" if missing == "Version" else missing] = expected[1]

    assert expected[0] == code(ec2.run_instances, **request)


def test_latest_and_default_are_resolved_when_the_call_comes(world: World, ec2: Any) -> None:
    """A moved `$Latest` is another machine for another token, and the first machine for the first one."""
    latest = {"LaunchTemplateId": world.template, "Version": "$Latest"}
    default = {"LaunchTemplateId": world.template}
    first = run(ec2, world.request("t1", LaunchTemplate=latest))
    data = template_data(world.image, world.serving) | {"InstanceType": "t3.small"}
    ec2.create_launch_template_version(LaunchTemplateId=world.template, LaunchTemplateData=data)
    second = run(ec2, world.request("t2", LaunchTemplate=latest))
    third = run(ec2, world.request("t3", LaunchTemplate=default))

    assert first == run(ec2, world.request("t1", LaunchTemplate=latest))
    world.aws.forward(5)
    found = [(shown(world, n)["InstanceType"], tags(shown(world, n))) for n in (first, second, third)]
    assert ["t3.micro", "t3.small", "t3.micro"] == [kind for kind, _ in found]
    assert ["1", "2", "1"] == [t["aws:ec2launchtemplate:version"] for _, t in found]


@pytest.mark.parametrize(
    ("error", "sent"),
    [("InsufficientInstanceCapacity", 500), ("InsufficientFreeAddressesInSubnet", 400), ("VcpuLimitExceeded", 400)],
)
def test_capacity_runs_out_by_type_and_place(world: World, ec2: Any, error: str, sent: int) -> None:
    """A definite no for one subnet, with the status that AWS sends: a lack of capacity is a 500."""
    world.aws.launches.capacity["t3.micro", world.subnets[world.zones[0]]] = error

    assert error == code(ec2.run_instances, **world.request("t1"))
    assert sent == status(ec2.run_instances, **world.request("t1"))
    assert "" == code(ec2.run_instances, **world.request("t1", InstanceType="t3.small"))
    assert "" == code(ec2.run_instances, **world.request("t2", world.zones[1]))


def test_a_machine_can_die_at_once(world: World, ec2: Any) -> None:
    """From pending to terminated, with the reason."""
    world.aws.launches.doomed.append("Client.InternalError")
    name = run(ec2, world.request("t1"))
    world.aws.forward(5)
    assert "pending" == state(world, name)
    world.aws.forward(60)
    dead = shown(world, name)
    assert ("terminated", "Client.InternalError") == (dead["State"]["Name"], dead["StateReason"]["Code"])
