"""The stand-in's IAM: what no policy allows is refused, in each service's words, also as a trial."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standins.asking import code, instances, status
from tests.standins.aws import Aws, World

pytestmark = pytest.mark.acceptance

READ = {"Effect": "Allow", "Action": ["ec2:Describe*", "elasticloadbalancing:Describe*"], "Resource": "*"}


def policy(aws: Aws, *statements: Any) -> None:
    aws.policy = {"Version": "2012-10-17", "Statement": [READ, *statements]}


def test_without_a_policy_everything_is_allowed(world: World, ec2: Any) -> None:
    """And a trial says so."""
    (name,) = world.launch()
    assert "DryRunOperation" == code(ec2.stop_instances, InstanceIds=[name], DryRun=True)
    assert 412 == status(ec2.stop_instances, InstanceIds=[name], DryRun=True)
    assert "running" == instances(ec2)[0]["State"]["Name"]
    assert [] == world.aws.log.daemons


def test_what_is_not_allowed_is_refused(world: World, ec2: Any) -> None:
    """UnauthorizedOperation in EC2, AccessDenied elsewhere; a trial tells it too; the admin is not bound."""
    (name,) = world.launch()
    policy(world.aws)
    assert "" == code(ec2.describe_instances)
    assert "UnauthorizedOperation" == code(ec2.stop_instances, InstanceIds=[name])
    assert "UnauthorizedOperation" == code(ec2.stop_instances, InstanceIds=[name], DryRun=True)
    assert 403 == status(ec2.stop_instances, InstanceIds=[name])
    target = {"TargetGroupArn": world.target_group, "Targets": [{"Id": name}]}
    assert "AccessDenied" == code(world.aws.client("elbv2").register_targets, **target)
    assert "AccessDenied" == code(world.aws.client("autoscaling").describe_auto_scaling_groups)
    assert "" == code(world.aws.admin("ec2").stop_instances, InstanceIds=[name])
    assert world.aws.gate.refused[0].startswith("ec2:StopInstances on arn:aws:ec2:eu-central-1:")


def test_terminating_takes_a_disposable_state(world: World, ec2: Any) -> None:
    """The tags of each machine decide; all of them must fit."""
    mine, fresh = world.launch(2)
    condition = {"aws:ResourceTag/sickbay:fleet": "web", "aws:ResourceTag/sickbay:state": ["expired", "retired"]}
    where = f"arn:aws:ec2:{world.aws.region}:{world.aws.account}:instance/*"
    allow = {"Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": where}
    policy(world.aws, allow | {"Condition": {"StringEquals": condition}})
    tag = {"Resources": [mine], "Tags": [{"Key": "sickbay:state", "Value": "expired"}]}

    assert "UnauthorizedOperation" == code(ec2.terminate_instances, InstanceIds=[mine])
    world.aws.admin("ec2").create_tags(**tag)
    assert "UnauthorizedOperation" == code(ec2.terminate_instances, InstanceIds=[mine, fresh])
    assert "" == code(ec2.terminate_instances, InstanceIds=[mine])


def test_the_ownership_tag_cannot_be_written(world: World, ec2: Any) -> None:
    """Only the keys that the policy lists, and only where the fleet's tag is already."""
    (name,) = world.launch()
    conditions = {
        "StringEquals": {"aws:ResourceTag/sickbay:fleet": "web"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["sickbay:state", "sickbay:incident"]},
        "Null": {"aws:TagKeys": "false"},
    }
    policy(world.aws, {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", "Condition": conditions})

    def tag(resource: str, key: str) -> str:
        return code(ec2.create_tags, Resources=[resource], Tags=[{"Key": key, "Value": "x"}])

    assert ["", "UnauthorizedOperation"] == [tag(name, "sickbay:state"), tag(name, "sickbay:fleet")]
    assert "UnauthorizedOperation" == tag(world.image, "sickbay:state")


def launch_statements(world: World, *, golden: str = "web", create_tags: bool = True) -> list[Any]:
    """Return a policy for launches: from our template, from golden images, tagged at creation only."""
    where = f"arn:aws:ec2:{world.aws.region}:{world.aws.account}"
    ours = {"ArnLike": {"ec2:LaunchTemplate": f"{where}:launch-template/{world.template}"}}
    made = [f"{where}:{kind}/*" for kind in ("instance", "volume", "network-interface")]
    inputs = [f"{where}:{kind}/*" for kind in ("launch-template", "subnet", "security-group")]
    image = {"ec2:Owner": world.aws.account, "aws:ResourceTag/sickbay:golden": golden}
    statements: list[Any] = [
        {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": made + inputs, "Condition": ours},
        {
            "Effect": "Allow",
            "Action": "ec2:RunInstances",
            "Resource": f"arn:aws:ec2:{world.aws.region}::image/*",
            "Condition": {"StringEquals": image},
        },
    ]
    if create_tags:
        at_creation = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
        statements.append({"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": made, "Condition": at_creation})
    return statements


def test_a_launch_needs_every_one_of_its_resources(world: World, ec2: Any) -> None:
    """Template, image, subnet, groups, what is made, and the tags at creation."""
    policy(world.aws, *launch_statements(world))
    assert "" == code(ec2.run_instances, **world.request("t1"))
    bare = {"ImageId": world.image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    assert "UnauthorizedOperation" == code(ec2.run_instances, SubnetId=world.subnets[world.zones[0]], **bare)
    policy(world.aws, *launch_statements(world, golden="other"))
    assert "UnauthorizedOperation" == code(ec2.run_instances, **world.request("t2"))
    policy(world.aws, *launch_statements(world, create_tags=False))
    assert "UnauthorizedOperation" == code(ec2.run_instances, **world.request("t2"))


def test_isolation_takes_the_interface_and_the_groups(world: World, ec2: Any) -> None:
    """The interface by its tag, the groups by name: no other group can be put on."""
    world.launch()
    card = ec2.describe_network_interfaces()["NetworkInterfaces"][0]["NetworkInterfaceId"]
    where = f"arn:aws:ec2:{world.aws.region}:{world.aws.account}"
    change = {"Effect": "Allow", "Action": "ec2:ModifyNetworkInterfaceAttribute"}
    by_tag = {"Condition": {"StringEquals": {"aws:ResourceTag/sickbay:fleet": "web"}}}
    policy(
        world.aws,
        change | {"Resource": f"{where}:network-interface/*"} | by_tag,
        change | {"Resource": f"{where}:security-group/{world.isolation}"},
    )
    isolate = ec2.modify_network_interface_attribute

    assert "UnauthorizedOperation" == code(isolate, NetworkInterfaceId=card, Groups=[world.serving])
    assert "" == code(isolate, NetworkInterfaceId=card, Groups=[world.isolation])


def test_a_deny_wins_and_a_region_counts(world: World, ec2: Any) -> None:
    """Over any allow; a condition on another region allows nothing."""
    (name,) = world.launch()
    everything = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "ec2:ModifyInstanceAttribute", "Resource": "*"}
    attribute = {"Condition": {"StringEqualsIgnoreCase": {"ec2:Attribute": ["userData"]}}}
    policy(world.aws, everything, deny | attribute)
    assert "UnauthorizedOperation" == code(ec2.modify_instance_attribute, InstanceId=name, UserData={"Value": b"x"})
    assert "" == code(ec2.modify_instance_attribute, InstanceId=name, DisableApiStop={"Value": True})
    policy(world.aws, everything | {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}})
    assert "UnauthorizedOperation" == code(ec2.reboot_instances, InstanceIds=[name])


def test_other_services_are_handed_through(world: World) -> None:
    """STS says who it is."""
    assert world.aws.account == world.aws.client("sts").get_caller_identity()["Account"]


def test_a_daemon_finds_the_stand_in_by_its_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is needed to be its client."""
    import boto3

    for key, value in world.aws.environment.items():
        monkeypatch.setenv(key, value)
    assert [] == instances(boto3.session.Session().client("ec2"))
    assert ["DescribeInstances"] == world.aws.server.calls
