"""The stand-in's Auto Scaling groups: they launch what is missing, terminate first what is sick, and can be told not to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.standins.asking import code, state, tags
from tests.standins.aws import Aws, World, build

pytestmark = pytest.mark.acceptance

LOOK = 5.0


@pytest.fixture
def group() -> Iterator[World]:
    """A group of two that runs."""
    with Aws() as aws:
        world = build(aws, group_size=2)
        aws.forward(LOOK)
        aws.forward(aws.timing.pending + aws.timing.booting)
        yield world


@pytest.fixture
def scaling(group: World) -> Any:
    """Return Auto Scaling as the daemon reaches it."""
    return group.aws.client("autoscaling")


def members(world: World) -> dict[str, tuple[str, str]]:
    """Return the lifecycle and health of each member."""
    found = world.aws.admin("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[world.group])
    return {
        i["InstanceId"]: (i["LifecycleState"], i["HealthStatus"]) for i in found["AutoScalingGroups"][0]["Instances"]
    }


def desired(world: World) -> int:
    found = world.aws.admin("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
    return int(found["DesiredCapacity"])


def test_a_group_fills_itself_over_its_zones(group: World, scaling: Any) -> None:
    """From its template, with its tag, into its target group; and it says who is its own."""
    found = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert set(group.zones) == {i["AvailabilityZone"] for i in found}
    assert {(group.group, "HEALTHY", "InService")} == {
        (i["AutoScalingGroupName"], i["HealthStatus"], i["LifecycleState"]) for i in found
    }
    for name in members(group):
        life = group.aws.instances.lives[name]
        assert ("web", group.group) == (life.tags["sickbay:fleet"], life.tags["aws:autoscaling:groupName"])
        assert "initial" == group.health(name)[0]


def test_a_detached_member_is_replaced_and_lives_on(group: World, scaling: Any) -> None:
    """Without decrement: it runs, drains and loses its tag, and the group launches another."""
    sick = min(members(group))
    scaling.detach_instances(InstanceIds=[sick], AutoScalingGroupName="web", ShouldDecrementDesiredCapacity=False)
    assert sick not in members(group)
    assert ("running", "draining") == (state(group, sick), group.health(sick)[0])
    assert "aws:autoscaling:groupName" not in group.aws.instances.lives[sick].tags
    assert [] == scaling.describe_auto_scaling_instances(InstanceIds=[sick])["AutoScalingInstances"]
    group.aws.forward(LOOK)
    assert ["InService", "Pending"] == sorted(lifecycle for lifecycle, _ in members(group).values())
    detach = {"AutoScalingGroupName": "web", "ShouldDecrementDesiredCapacity": False}
    assert "ValidationError" == code(scaling.detach_instances, InstanceIds=[sick], **detach)


def test_a_decrementing_detach_stops_at_the_minimum(group: World, scaling: Any) -> None:
    """Desired at Min refuses it; above, it lowers the desired capacity and nothing is launched."""
    detach = {"AutoScalingGroupName": "web", "ShouldDecrementDesiredCapacity": True}
    one = min(members(group))
    assert "ValidationError" == code(scaling.detach_instances, InstanceIds=[one], **detach)
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1)
    scaling.detach_instances(InstanceIds=[one], **detach)
    group.aws.forward(LOOK)
    assert (1, 1) == (desired(group), len(members(group)))


def test_an_unhealthy_member_is_terminated_first(group: World, scaling: Any) -> None:
    """Protection does not bind the group; the replacement is launched only when it is gone."""
    sick = min(members(group))
    ec2 = group.aws.admin("ec2")
    ec2.modify_instance_attribute(InstanceId=sick, DisableApiTermination={"Value": True})
    scaling.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    group.aws.forward(LOOK)
    assert ("shutting-down", ("Terminating", "Unhealthy"), 2) == (
        state(group, sick),
        members(group)[sick],
        len(members(group)),
    )
    group.aws.forward(group.aws.timing.shutting_down)
    group.aws.forward(LOOK)
    assert ["InService", "Pending"] == sorted(lifecycle for lifecycle, _ in members(group).values())
    assert sick not in members(group)


def test_a_grace_period_is_respected_unless_told_otherwise(group: World, scaling: Any) -> None:
    """A young member's ill health is not noted."""
    young = min(members(group))
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", HealthCheckGracePeriod=1000)
    scaling.set_instance_health(InstanceId=young, HealthStatus="Unhealthy")
    assert "Healthy" == members(group)[young][1]
    scaling.set_instance_health(InstanceId=young, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    assert "Unhealthy" == members(group)[young][1]
    assert [True, False, True] == [e.effect for e in group.aws.log.daemons]


def test_suspended_processes_do_nothing_until_they_are_resumed(group: World, scaling: Any) -> None:
    """ReplaceUnhealthy and Launch; when resumed, what is marked goes at once."""
    sick, other = members(group)
    scaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["ReplaceUnhealthy", "Launch"])
    shown = scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["SuspendedProcesses"]
    assert ["Launch", "ReplaceUnhealthy"] == [p["ProcessName"] for p in shown]
    scaling.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    scaling.detach_instances(InstanceIds=[other], AutoScalingGroupName="web", ShouldDecrementDesiredCapacity=False)
    group.aws.forward(LOOK)
    assert ({sick: ("InService", "Unhealthy")}, "running") == (members(group), state(group, sick))
    scaling.resume_processes(AutoScalingGroupName="web")
    group.aws.forward(LOOK)
    assert "shutting-down" == state(group, sick)


def test_elb_checks_take_a_deregistered_member_for_sick(group: World, scaling: Any) -> None:
    """The trap of deregistering before detaching."""
    victim = min(members(group))
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", HealthCheckType="ELB")
    group.aws.client("elbv2").deregister_targets(TargetGroupArn=group.target_group, Targets=[{"Id": victim}])
    group.aws.forward(LOOK)
    assert "shutting-down" == state(group, victim)


def test_standby_is_out_of_service_and_comes_back(group: World, scaling: Any) -> None:
    """Deregistered and still a member; back in service afterwards."""
    one = min(members(group))
    standby = {"AutoScalingGroupName": "web", "InstanceIds": [one]}
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1)
    scaling.enter_standby(**standby, ShouldDecrementDesiredCapacity=True)
    assert (("Standby", "Healthy"), "draining", 1) == (members(group)[one], group.health(one)[0], desired(group))
    scaling.exit_standby(**standby)
    assert (("InService", "Healthy"), "initial", 2) == (members(group)[one], group.health(one)[0], desired(group))


def test_a_group_that_finds_no_capacity_says_so_and_tries_again(group: World, scaling: Any) -> None:
    """The failed activity carries AWS's reason."""
    one = min(members(group))
    group.aws.launches.capacity["*", "*"] = "InsufficientInstanceCapacity"
    scaling.detach_instances(InstanceIds=[one], AutoScalingGroupName="web", ShouldDecrementDesiredCapacity=False)
    group.aws.forward(LOOK)
    newest = scaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"][0]
    assert ("Failed", True) == (newest["StatusCode"], "InsufficientInstanceCapacity" in newest["Cause"])
    group.aws.launches.capacity.clear()
    group.aws.forward(LOOK)
    assert 2 == len(members(group))


def test_a_group_follows_its_desired_capacity(group: World, scaling: Any) -> None:
    """Up, and down again without those that are protected from it."""
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    group.aws.forward(LOOK)
    group.aws.forward(group.aws.timing.pending)
    kept = sorted(members(group))[:2]
    scaling.set_instance_protection(InstanceIds=kept, AutoScalingGroupName="web", ProtectedFromScaleIn=True)
    scaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    group.aws.forward(LOOK)
    assert [("InService", "Healthy")] * 2 == [members(group)[name] for name in kept]
    assert (
        "web" == tags({"Tags": scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Tags"]})["sickbay:fleet"]
    )
