"""The stand-in's load balancer: it probes over real HTTP, drains, and says why a target gets nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.standins.asking import code, until
from tests.standins.aws import World

pytestmark = pytest.mark.acceptance


@pytest.fixture
def elbv2(fast: World) -> Any:
    """Return the load balancers' API as the daemon reaches it."""
    return fast.aws.client("elbv2")


def targets(world: World, *names: str, **more: int) -> Any:
    return {"TargetGroupArn": world.target_group, "Targets": [{"Id": name} | more for name in names]}


def served(world: World, count: int = 1) -> list[str]:
    """Launch machines, register them, and wait until they are healthy."""
    names = world.launch(count)
    world.register(*names)
    for name in names:
        until(("healthy", ""), partial(world.health, name))
    return names


def test_a_new_target_is_initial_before_it_is_healthy(fast: World, elbv2: Any) -> None:
    """Registration first, then health checks; one pass is enough, and it was a real request."""
    (name,) = fast.launch()
    fast.aws.timing.registering = 1000
    elbv2.register_targets(**targets(fast, name))

    assert ("initial", "Elb.RegistrationInProgress") == fast.health(name)
    fast.aws.forward(1000)
    until(("healthy", ""), lambda: fast.health(name))
    assert 1 == fast.aws.machines.served(name)


def test_a_booting_target_stays_initial_until_its_first_pass(fast: World, elbv2: Any) -> None:
    """Health checks are under way; this is no capacity yet."""
    (name,) = fast.launch()
    fast.aws.timing.booting = 1e6
    fast.aws.admin("ec2").reboot_instances(InstanceIds=[name])
    elbv2.modify_target_group(TargetGroupArn=fast.target_group, HealthCheckIntervalSeconds=100)
    elbv2.register_targets(**targets(fast, name))
    until(("initial", "Elb.InitialHealthChecking"), lambda: fast.health(name))
    until(("unhealthy", "Target.FailedHealthChecks"), lambda: fast.health(name))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("errors", "Target.ResponseCodeMismatch"),
        ("hang", "Target.Timeout"),
        ("silent", "Target.Timeout"),
        ("crash", "Target.FailedHealthChecks"),
    ],
)
def test_an_unhealthy_target_has_a_reason(fast: World, elbv2: Any, fault: str, reason: str) -> None:
    """As the probe met it, and it is healthy again when it answers."""
    (name,) = served(fast)
    fast.aws.machines.fault(name, fault)
    until(("unhealthy", reason), lambda: fast.health(name))
    fast.aws.machines.fault(name, "")
    until(("healthy", ""), lambda: fast.health(name))


def test_requests_go_to_the_healthy_or_to_all(fast: World, elbv2: Any) -> None:
    """With no healthy target left it fails open."""
    sick, well = served(fast, 2)
    assert sorted((sick, well)) == fast.aws.balancer.routed(fast.target_group)
    fast.aws.machines.fault(sick, "errors")
    until([well], lambda: fast.aws.balancer.routed(fast.target_group))
    fast.aws.machines.fault(well, "errors")
    until(sorted((sick, well)), lambda: fast.aws.balancer.routed(fast.target_group))


def test_a_deregistered_target_drains_and_is_forgotten(fast: World, elbv2: Any) -> None:
    """For the deregistration delay, without requests; then it is not registered. A second time is a yes without effect."""
    (name,) = served(fast)
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": "1000"}]
    elbv2.modify_target_group_attributes(TargetGroupArn=fast.target_group, Attributes=attributes)
    fast.aws.log.clear()
    for _ in range(2):
        elbv2.deregister_targets(**targets(fast, name))
    assert [True, False] == [e.effect for e in fast.aws.log.daemons]
    assert ("draining", "Target.DeregistrationInProgress") == fast.health(name)
    assert [] == fast.aws.balancer.routed(fast.target_group)
    fast.aws.forward(1000)
    assert ("unused", "Target.NotRegistered") == fast.health(name)
    assert [] == elbv2.describe_target_health(TargetGroupArn=fast.target_group)["TargetHealthDescriptions"]


def test_a_draining_target_can_come_back(fast: World, elbv2: Any) -> None:
    """It begins anew, as initial."""
    (name,) = served(fast)
    elbv2.deregister_targets(**targets(fast, name))
    elbv2.register_targets(**targets(fast, name))
    assert "initial" == fast.health(name)[0]
    until(("healthy", ""), lambda: fast.health(name))


def test_a_port_override_must_be_named(fast: World, elbv2: Any) -> None:
    """The same instance on two ports is two targets; without the port the wrong one, or none, is taken out."""
    (name,) = fast.launch()
    elbv2.register_targets(**targets(fast, name, Port=9))
    elbv2.deregister_targets(**targets(fast, name))
    found = elbv2.describe_target_health(TargetGroupArn=fast.target_group)["TargetHealthDescriptions"]

    assert [(9, "initial")] == [(t["Target"]["Port"], t["TargetHealth"]["State"]) for t in found]


def test_only_what_runs_can_be_registered(fast: World, elbv2: Any) -> None:
    """A pending, stopped or unknown instance is an invalid target, and takes the others of its call with it."""
    well, stopped = fast.launch(2)
    fast.aws.admin("ec2").stop_instances(InstanceIds=[stopped])

    assert "InvalidTarget" == code(elbv2.register_targets, **targets(fast, well, stopped))
    assert "InvalidTarget" == code(elbv2.register_targets, **targets(fast, "i-00000000000000000"))
    assert ("unused", "Target.NotRegistered") == fast.health(well)
    absent = fast.target_group.replace("/web/", "/none/")
    assert "TargetGroupNotFound" == code(elbv2.register_targets, TargetGroupArn=absent, Targets=[{"Id": well}])


def test_a_stopped_target_is_unused(fast: World, elbv2: Any) -> None:
    """And probed anew when it runs again."""
    (name,) = served(fast)
    ec2 = fast.aws.admin("ec2")
    ec2.stop_instances(InstanceIds=[name])
    fast.aws.forward(60)
    assert ("unused", "Target.InvalidState") == fast.health(name)
    ec2.start_instances(InstanceIds=[name])
    until(("healthy", ""), lambda: fast.health(name))


def test_a_zone_or_group_that_is_not_in_use_gets_nothing(fast: World, elbv2: Any) -> None:
    """Target.NotInUse: the load balancer lacks the target's zone, or the group lacks a load balancer."""
    (a,) = served(fast)
    ec2 = fast.aws.admin("ec2")
    block = ec2.describe_vpcs(VpcIds=[fast.vpc])["Vpcs"][0]["CidrBlock"].replace("0.0/16", "64.0/20")
    subnet = ec2.create_subnet(VpcId=fast.vpc, CidrBlock=block, AvailabilityZone="eu-central-1c")["Subnet"]["SubnetId"]
    c = ec2.run_instances(**fast.request("c", SubnetId=subnet))["Instances"][0]["InstanceId"]
    fast.aws.forward(60)
    elbv2.register_targets(**targets(fast, c))
    assert ("unused", "Target.NotInUse") == fast.health(c)
    assert [a] == fast.aws.balancer.routed(fast.target_group)
    lonely = elbv2.create_target_group(Name="lonely", Protocol="HTTP", Port=80, VpcId=fast.vpc)["TargetGroups"][0]
    elbv2.register_targets(TargetGroupArn=lonely["TargetGroupArn"], Targets=[{"Id": a}])
    found = elbv2.describe_target_health(TargetGroupArn=lonely["TargetGroupArn"])["TargetHealthDescriptions"]
    assert "Target.NotInUse" == found[0]["TargetHealth"]["Reason"]


def test_the_load_balancers_own_trouble_is_told_as_its_own(fast: World, elbv2: Any) -> None:
    """`Elb.*` is no evidence against a machine; disabled checks say nothing at all."""
    (name,) = served(fast)
    fast.aws.balancer.is_broken = True
    assert ("unhealthy", "Elb.InternalError") == fast.health(name)
    elbv2.modify_target_group(TargetGroupArn=fast.target_group, HealthCheckEnabled=False)
    assert ("unavailable", "Target.HealthCheckDisabled") == fast.health(name)
