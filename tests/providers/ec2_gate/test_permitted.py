"""Under its policy a fleet can be healed from its launch to its last snapshot, and nothing else can be touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.providers.ec2_gate.conftest import bound
from tests.standins.asking import code, instances, shown
from tests.standins.aws import World
from tests.standins.aws.world import FLEET, template_data

pytestmark = pytest.mark.acceptance

OWN_KINDS = ("instance", "volume", "network-interface")


def born(token: str, *kinds: str, **other: str) -> list[Any]:
    """Return tags at creation, as a launch carries them."""
    given = {"sickbay:fleet": FLEET, "sickbay:incident": "7", "sickbay:launch-id": token} | other
    named = [{"Key": key, "Value": value} for key, value in given.items()]
    return [{"ResourceType": kind, "Tags": named} for kind in kinds or OWN_KINDS]


def mark(key: str, value: str) -> list[dict[str, str]]:
    """Return one tag."""
    return [{"Key": key, "Value": value}]


@dataclass(slots=True)
class Patient:
    """A machine that was launched under the policy, and what belongs to it."""

    world: World
    id: str
    disk: str
    card: str

    @classmethod
    def launched(cls, world: World, token: str = "t1") -> Patient:
        """Launch it as the daemon does, and let it boot."""
        ec2 = world.aws.client("ec2")
        answer = ec2.run_instances(**world.request(token, TagSpecifications=born(token)))
        name = answer["Instances"][0]["InstanceId"]
        timing = world.aws.timing
        world.aws.forward(timing.visible + timing.pending + timing.booting + timing.initializing)
        seen = shown(world, name)
        disk = seen["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        return cls(world, name, disk, seen["NetworkInterfaces"][0]["NetworkInterfaceId"])


def test_all_that_is_done_to_a_machine_is_permitted(world: World) -> None:
    """From its launch to what it leaves behind; every call is one that an act makes."""
    aws = bound(world).aws
    ec2, elbv2 = aws.client("ec2"), aws.client("elbv2")
    one = Patient.launched(world)
    target = {"TargetGroupArn": world.target_group, "Targets": [{"Id": one.id}]}

    elbv2.register_targets(**target)
    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:role", "serving"))
    elbv2.deregister_targets(**target)

    ec2.get_console_output(InstanceId=one.id)
    for attribute in ("disableApiTermination", "instanceInitiatedShutdownBehavior", "blockDeviceMapping"):
        ec2.describe_instance_attribute(InstanceId=one.id, Attribute=attribute)
    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:undo", f"{one.card}={world.serving}"))
    ec2.modify_instance_attribute(InstanceId=one.id, DisableApiTermination={"Value": True})
    ec2.modify_instance_attribute(InstanceId=one.id, DisableApiStop={"Value": True})
    ec2.modify_instance_attribute(InstanceId=one.id, InstanceInitiatedShutdownBehavior={"Value": "stop"})
    keep = [{"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": False}}]
    ec2.modify_instance_attribute(InstanceId=one.id, BlockDeviceMappings=keep)

    for group in (world.untrack, world.isolation):
        ec2.modify_network_interface_attribute(NetworkInterfaceId=one.card, Groups=[group])
    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:state", "quarantined"))
    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:expires-at", "2030-01-01T00:00:00Z"))
    snapshot = ec2.create_snapshots(
        InstanceSpecification={"InstanceId": one.id}, TagSpecifications=born("t1", "snapshot")
    )["Snapshots"][0]["SnapshotId"]

    ec2.modify_network_interface_attribute(NetworkInterfaceId=one.card, Groups=[world.serving])
    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:state", ""))
    ec2.reboot_instances(InstanceIds=[one.id])

    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:state", "quarantined"))
    ec2.modify_instance_attribute(InstanceId=one.id, DisableApiStop={"Value": False})
    ec2.stop_instances(InstanceIds=[one.id])
    aws.forward(aws.timing.stopping)
    ec2.start_instances(InstanceIds=[one.id])
    aws.forward(aws.timing.pending)

    ec2.create_tags(Resources=[one.id], Tags=mark("sickbay:state", "expired"))
    ec2.modify_instance_attribute(InstanceId=one.id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[one.id])
    aws.forward(aws.timing.shutting_down)
    for left in (one.disk, snapshot):
        ec2.create_tags(Resources=[left], Tags=mark("sickbay:state", "expired"))
    ec2.delete_volume(VolumeId=one.disk)
    ec2.delete_snapshot(SnapshotId=snapshot)

    assert [] == aws.gate.refused


def test_all_that_is_read_is_permitted(group: World) -> None:
    """The inventory, the offer, what is left over, and the look before the first start."""
    aws = bound(group).aws
    ec2, elbv2, scaling = aws.client("ec2"), aws.client("elbv2"), aws.client("autoscaling")
    for what in ("instances", "instance_status", "volumes", "snapshots", "images", "network_interfaces", "subnets"):
        getattr(ec2, f"describe_{what}")()
    ec2.describe_security_groups()
    ec2.describe_launch_template_versions(LaunchTemplateId=group.template)
    for what in ("load_balancers", "target_groups"):
        getattr(elbv2, f"describe_{what}")()
    elbv2.describe_target_group_attributes(TargetGroupArn=group.target_group)
    elbv2.describe_target_health(TargetGroupArn=group.target_group)
    scaling.describe_auto_scaling_groups()
    scaling.describe_auto_scaling_instances()

    assert [] == aws.gate.refused


def test_a_group_lets_go_of_its_member(group: World) -> None:
    """In a fleet that an Auto Scaling group owns, detaching is permitted and launching is not."""
    aws = bound(group).aws
    name = instances(aws.client("ec2"))[0]["InstanceId"]
    detach = {"InstanceIds": [name], "AutoScalingGroupName": group.group, "ShouldDecrementDesiredCapacity": False}

    assert "UnauthorizedOperation" == code(
        aws.client("ec2").run_instances, **group.request("t1", TagSpecifications=born("t1"))
    )
    assert "" == code(aws.client("autoscaling").detach_instances, **detach)


@dataclass(frozen=True, slots=True)
class At:
    """Where something forbidden is tried: a machine of ours, one of somebody else's, and EC2 as the daemon reaches it."""

    world: World
    one: Patient
    other: str
    ec2: Any


Forbidden = Callable[[At], str]


def foreign(world: World) -> str:
    """Start somebody else's machine, from a template of theirs."""
    admin = world.aws.admin("ec2")
    made = admin.run_instances(
        ImageId=world.image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=world.subnets[world.zones[0]]
    )
    world.aws.forward(world.aws.timing.visible + world.aws.timing.pending)
    return str(made["Instances"][0]["InstanceId"])


def card_of(world: World, name: str) -> str:
    """Return a machine's interface."""
    return str(shown(world, name)["NetworkInterfaces"][0]["NetworkInterfaceId"])


def disk_of(world: World, name: str) -> str:
    """Return a machine's disk."""
    return str(shown(world, name)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])


def other_template(world: World) -> dict[str, Any]:
    """Return a launch from a template that is not the fleet's."""
    made = world.aws.admin("ec2").create_launch_template(
        LaunchTemplateName="other", LaunchTemplateData=template_data(world.image, world.serving)
    )["LaunchTemplate"]["LaunchTemplateId"]
    return world.request("t9", TagSpecifications=born("t9"), LaunchTemplate={"LaunchTemplateId": made, "Version": "1"})


def other_subnet(world: World) -> str:
    """Make a subnet that is not the fleet's."""
    cidr = world.aws.admin("ec2").describe_vpcs(VpcIds=[world.vpc])["Vpcs"][0]["CidrBlock"].split(".")[1]
    made = world.aws.admin("ec2").create_subnet(VpcId=world.vpc, CidrBlock=f"127.{cidr}.128.0/20")
    return str(made["Subnet"]["SubnetId"])


def other_image(world: World) -> str:
    """Make an image that nobody called golden."""
    return str(world.aws.admin("ec2").register_image(Name="other", RootDeviceName="/dev/sda1")["ImageId"])


FORBIDDEN: dict[str, Forbidden] = {
    "ending a machine that is not marked": lambda at: code(at.ec2.terminate_instances, InstanceIds=[at.one.id]),
    "ending a foreign machine": lambda at: code(at.ec2.terminate_instances, InstanceIds=[at.other]),
    "ending one of ours together with a foreign one": lambda at: code(
        at.ec2.terminate_instances, InstanceIds=[at.one.id, at.other]
    ),
    "marking a foreign machine": lambda at: code(
        at.ec2.create_tags, Resources=[at.other], Tags=mark("sickbay:state", "expired")
    ),
    "making a foreign machine ours": lambda at: code(
        at.ec2.create_tags, Resources=[at.other], Tags=mark("sickbay:fleet", FLEET)
    ),
    "writing whose a machine of ours is": lambda at: code(
        at.ec2.create_tags, Resources=[at.one.id], Tags=mark("sickbay:fleet", "other")
    ),
    "writing it beside a mark that is permitted": lambda at: code(
        at.ec2.create_tags,
        Resources=[at.one.id],
        Tags=[*mark("sickbay:state", ""), *mark("sickbay:fleet", "other")],
    ),
    "taking a hold away": lambda at: code(at.ec2.delete_tags, Resources=[at.one.id], Tags=[{"Key": "sickbay:hold"}]),
    "isolating a foreign interface": lambda at: code(
        at.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=card_of(at.world, at.other),
        Groups=[at.world.isolation],
    ),
    "giving an interface of ours a foreign group": lambda at: code(
        at.ec2.modify_network_interface_attribute,
        NetworkInterfaceId=at.one.card,
        Groups=[
            at.world.aws.admin("ec2").create_security_group(GroupName="x", Description="x", VpcId=at.world.vpc)[
                "GroupId"
            ]
        ],
    ),
    "stopping a machine that serves": lambda at: code(at.ec2.stop_instances, InstanceIds=[at.one.id]),
    "stopping a foreign machine": lambda at: code(at.ec2.stop_instances, InstanceIds=[at.other]),
    "rebooting a foreign machine": lambda at: code(at.ec2.reboot_instances, InstanceIds=[at.other]),
    "protecting a foreign machine": lambda at: code(
        at.ec2.modify_instance_attribute, InstanceId=at.other, DisableApiStop={"Value": True}
    ),
    "rewriting what a machine of ours runs at its start": lambda at: code(
        at.ec2.modify_instance_attribute, InstanceId=at.one.id, UserData={"Value": b"x"}
    ),
    "rewriting it by the attribute's name": lambda at: code(
        at.ec2.modify_instance_attribute, InstanceId=at.one.id, Attribute="userData", Value="eA=="
    ),
    "reading what a foreign machine is started with": lambda at: code(
        at.ec2.describe_instance_attribute, InstanceId=at.other, Attribute="userData"
    ),
    "reading a foreign console": lambda at: code(at.ec2.get_console_output, InstanceId=at.other),
    "launching from another template": lambda at: code(at.ec2.run_instances, **other_template(at.world)),
    "launching into another subnet": lambda at: code(
        at.ec2.run_instances, **at.world.request("t9", TagSpecifications=born("t9"), SubnetId=other_subnet(at.world))
    ),
    "launching without the fleet's tag": lambda at: code(at.ec2.run_instances, **at.world.request("t9")),
    "launching with another fleet's tag": lambda at: code(
        at.ec2.run_instances, **at.world.request("t9", TagSpecifications=born("t9", **{"sickbay:fleet": "other"}))
    ),
    "launching another image": lambda at: code(
        at.ec2.run_instances, **at.world.request("t9", TagSpecifications=born("t9"), ImageId=other_image(at.world))
    ),
    "launching with other groups than the template's": lambda at: code(
        at.ec2.run_instances,
        **at.world.request("t9", TagSpecifications=born("t9"), SecurityGroupIds=[at.world.untrack]),
    ),
    "launching without any template": lambda at: code(
        at.ec2.run_instances,
        ImageId=at.world.image,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        SubnetId=at.world.subnets[at.world.zones[0]],
        TagSpecifications=born("t9"),
    ),
    "deleting a foreign disk": lambda at: code(at.ec2.delete_volume, VolumeId=disk_of(at.world, at.other)),
    "deleting a disk of ours that is not marked": lambda at: code(at.ec2.delete_volume, VolumeId=at.one.disk),
    "deleting a foreign snapshot": lambda at: code(
        at.ec2.delete_snapshot,
        SnapshotId=at.world.aws.admin("ec2").create_snapshot(VolumeId=disk_of(at.world, at.other))["SnapshotId"],
    ),
    "making a snapshot of a foreign machine": lambda at: code(
        at.ec2.create_snapshots,
        InstanceSpecification={"InstanceId": at.other},
        TagSpecifications=born("t9", "snapshot"),
    ),
    "making a snapshot without the fleet's tag": lambda at: code(
        at.ec2.create_snapshots, InstanceSpecification={"InstanceId": at.one.id}
    ),
    "making another group": lambda at: code(
        at.ec2.create_security_group, GroupName="y", Description="y", VpcId=at.world.vpc
    ),
}


@pytest.mark.parametrize("row", FORBIDDEN)
def test_nothing_else_is_permitted(world: World, row: str) -> None:
    """And what is refused has had no effect."""
    bound(world)
    one, other = Patient.launched(world), foreign(world)
    world.aws.log.clear()

    assert "UnauthorizedOperation" == FORBIDDEN[row](At(world, one, other, world.aws.client("ec2")))
    assert [] == world.aws.log.effects


def test_other_target_groups_and_groups_are_not_ours(group: World) -> None:
    """Load balancers and Auto Scaling groups are named one by one."""
    bound(group, target_groups=())
    aws = group.aws
    name = instances(aws.client("ec2"))[0]["InstanceId"]
    target = {"TargetGroupArn": group.target_group, "Targets": [{"Id": name}]}
    detach = {"InstanceIds": [name], "AutoScalingGroupName": group.group, "ShouldDecrementDesiredCapacity": False}

    assert "AccessDenied" == code(aws.client("elbv2").deregister_targets, **target)
    bound(group, auto_scaling_group="")
    assert "AccessDenied" == code(aws.client("autoscaling").detach_instances, **detach)
