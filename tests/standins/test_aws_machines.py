"""The stand-in's machines: real web servers on addresses of their own, which sicken and are isolated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standins.asking import code, get, shown, until
from tests.standins.aws import World

pytestmark = pytest.mark.acceptance

WELL = "HTTP/1.1 200 OK"


def test_a_machine_serves_from_its_boot_to_its_end(world: World, ec2: Any) -> None:
    """Silent while it is pending, refusing while it boots, then serving on its 127.x address; silent when it ends."""
    name = ec2.run_instances(**world.request("t1"))["Instances"][0]["InstanceId"]
    world.aws.forward(world.aws.timing.visible)
    assert shown(world, name)["PrivateIpAddress"].startswith("127.")
    assert "silent" == get(world, name)
    world.aws.forward(world.aws.timing.pending - world.aws.timing.visible)
    assert "refused" == get(world, name)
    world.aws.forward(world.aws.timing.booting)
    assert (WELL, 1) == (get(world, name), world.aws.machines.served(name))
    ec2.stop_instances(InstanceIds=[name])
    assert "silent" == get(world, name)
    ec2.terminate_instances(InstanceIds=[name])
    assert "silent" == get(world, name)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("crash", "refused"), ("hang", "mute"), ("errors", "HTTP/1.1 500 Internal Server Error"), ("silent", "silent")],
)
def test_a_machine_sickens_and_a_reboot_heals_it(world: World, ec2: Any, fault: str, expected: str) -> None:
    """Each fault shows on the wire, on this machine alone."""
    sick, well = world.launch(2)
    world.aws.machines.fault(sick, fault)
    assert (expected, WELL) == (get(world, sick), get(world, well))
    ec2.reboot_instances(InstanceIds=[sick])
    world.aws.forward(world.aws.timing.booting)
    assert WELL == get(world, sick)


def test_a_bad_image_is_bad_in_each_machine_and_after_each_boot(world: World, ec2: Any) -> None:
    """What a rollout has to notice."""
    world.aws.machines.by_image[world.image] = "errors"
    (name,) = world.launch()
    ec2.reboot_instances(InstanceIds=[name])
    world.aws.forward(world.aws.timing.booting)

    assert "HTTP/1.1 500 Internal Server Error" == get(world, name)


def test_groups_belong_to_one_interface(world: World, ec2: Any) -> None:
    """They replace what was there, on this interface alone; with two of them the instance itself has no groups to set."""
    (name,) = world.launch()
    card = shown(world, name)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    second = ec2.create_network_interface(SubnetId=world.subnets[world.zones[0]], Groups=[world.serving])
    other = second["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(DeviceIndex=1, InstanceId=name, NetworkInterfaceId=other)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=card, Groups=[world.isolation])

    found = {
        c["NetworkInterfaceId"]: [g["GroupId"] for g in c["Groups"]] for c in shown(world, name)["NetworkInterfaces"]
    }
    assert {card: [world.isolation], other: [world.serving]} == found
    assert [world.isolation] == [g["GroupId"] for g in shown(world, name)["SecurityGroups"]]
    whole = {"InstanceId": name, "Groups": [world.isolation]}
    assert "InvalidInstanceID" == code(ec2.modify_instance_attribute, **whole)


def test_an_isolated_machine_is_silent_and_comes_back(world: World, ec2: Any) -> None:
    """A group without rules drops everything, through the untracked group on the way; the old groups undo it."""
    (name,) = world.launch()
    card = shown(world, name)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    for group, expected in ((world.untrack, WELL), (world.isolation, "silent"), (world.serving, WELL)):
        ec2.modify_network_interface_attribute(NetworkInterfaceId=card, Groups=[group])
        until(expected, lambda: get(world, name))
    in_group = [{"Name": "instance.group-id", "Values": [world.serving]}]
    assert [name] == [
        i["InstanceId"] for r in ec2.describe_instances(Filters=in_group)["Reservations"] for i in r["Instances"]
    ]


def test_a_group_of_another_network_or_of_none_is_refused(world: World, ec2: Any) -> None:
    """Isolation needs its group in the machine's own VPC."""
    (name,) = world.launch()
    card = shown(world, name)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName="foreign", Description="foreign", VpcId=vpc)["GroupId"]
    change = ec2.modify_network_interface_attribute

    assert "InvalidParameter" == code(change, NetworkInterfaceId=card, Groups=[foreign])
    assert "InvalidGroup.NotFound" == code(change, NetworkInterfaceId=card, Groups=["sg-00000000000000000"])
    assert "InvalidNetworkInterfaceID.NotFound" == code(change, NetworkInterfaceId="eni-0", Groups=[foreign])


def test_a_new_group_lets_everything_out(world: World, ec2: Any) -> None:
    """The default egress is visible, and gone from the world's isolation group."""
    new = ec2.create_security_group(GroupName="new", Description="new", VpcId=world.vpc)["GroupId"]
    shown = ec2.describe_security_groups(GroupIds=[new, world.isolation])["SecurityGroups"]
    egress = {g["GroupId"]: [rule["IpProtocol"] for rule in g["IpPermissionsEgress"]] for g in shown}

    assert {new: ["-1"], world.isolation: []} == egress
