"""A machine's membership in an Auto Scaling group, which owns and replaces it until it is detached."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.providers.ec2.api import AwsNo
from supervisor.providers.ec2.instance import Instance
from supervisor.providers.ec2.scope import Scope, refuse

OWNER = "aws:autoscaling:groupName"
LEAVING = ("Detaching", "Detached")


@dataclass(frozen=True, slots=True)
class Member:
    """Which group, and where in its life there."""

    group: str
    lifecycle: str


def membership(scope: Scope, id: str) -> Member | None:
    """Return whose member an instance is; None for nobody's. Raises `ReadError`."""
    answer = scope.api.read("autoscaling", "DescribeAutoScalingInstances", InstanceIds=[id])
    found = [one for one in answer["AutoScalingInstances"] if one["InstanceId"] == id]
    return Member(found[0]["AutoScalingGroupName"], found[0]["LifecycleState"]) if found else None


def leaving(scope: Scope, machine: Instance) -> Member | None:
    """Return what a machine is to be detached from; None for nothing. Raises `Halt` where it must not, and `ReadError`."""
    owner, expected = machine.tag(OWNER), scope.options.auto_scaling_group
    if owner and owner != expected:
        raise refuse(
            f"{machine.id} belongs to Auto Scaling group {owner}, expected {expected or 'none'}:"
            " name it as auto_scaling_group, or detach the machine by hand"
        )
    if not expected or (member := membership(scope, machine.id)) is None:
        return None
    if member.lifecycle.startswith("Standby") or member.lifecycle == "EnteringStandby":
        # Detaching from there may make the group end others, to keep to its size.
        raise refuse(f"{machine.id} is in standby in {member.group}: take it out of standby, or detach it by hand")
    if member.lifecycle not in ("InService", *LEAVING):
        raise refuse(f"{machine.id} is {member.lifecycle} in {member.group}: the group is at work on it, wait for that")
    return member


def detach(scope: Scope, machine: Instance, member: Member | None) -> None:
    """See a machine out of its group, which then launches another in its place. Raises `Halt`, and as changes do."""
    if member is None:
        return
    if member.lifecycle == "InService":
        try:
            scope.change(
                "autoscaling",
                "DetachInstances",
                InstanceIds=[machine.id],
                AutoScalingGroupName=member.group,
                ShouldDecrementDesiredCapacity=False,
            )
        except AwsNo:
            if membership(scope, machine.id) is not None:
                raise
    scope.until(
        lambda: True if membership(scope, machine.id) is None else None,
        f"{machine.id} is still shown in Auto Scaling group {member.group}: not yet detached",
    )
