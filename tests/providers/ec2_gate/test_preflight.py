"""The look before the first start: each thing that can be wrong with what a fleet stands on, broken by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from supervisor.errors import CloudSilent
from supervisor.ports import Severity
from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.permissions import NEEDS
from supervisor.providers.ec2.preflight import preflight
from tests.providers.ec2_gate.conftest import bound, options_of
from tests.standins.aws import World, template_data
from tests.standins.aws.world import FLEET

pytestmark = pytest.mark.acceptance

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
EVERYTHING = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
WEB = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]

Told = list[tuple[Severity, str]]
Break = Callable[[World], dict[str, Any] | None]


def told(world: World, api: BotoApi, options: Ec2Options | None = None) -> Told:
    """Look, see that nothing was changed, and return what was found but for the notes."""
    world.aws.log.clear()
    found = preflight(FLEET, options or options_of(world), api, NEEDS.keys())

    assert [] == world.aws.log.daemons
    return [(finding.severity, finding.sentence) for finding in found if finding.severity is not NOTE]


def admin(world: World, action: str, service: str = "ec2", **params: Any) -> Any:
    """Break something as a person would have."""
    return world.aws.do(service, action, **params)


def other_network(world: World) -> str:
    """Make another VPC."""
    return str(admin(world, "CreateVpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"])


def group_in(world: World, network: str) -> str:
    """Make an isolation group there, without any rule."""
    made = admin(world, "CreateSecurityGroup", GroupName="there", Description="there", VpcId=network)["GroupId"]
    admin(world, "RevokeSecurityGroupEgress", GroupId=made, IpPermissions=EVERYTHING)
    return str(made)


def templated(world: World, **data: Any) -> dict[str, Any]:
    """Give the fleet another version of its template; a None takes something out."""
    whole = template_data(world.image, world.serving) | data
    kept = {key: value for key, value in whole.items() if value is not None}
    admin(world, "CreateLaunchTemplateVersion", LaunchTemplateId=world.template, LaunchTemplateData=kept)
    return {"template_version": 2}


def balanced(world: World, zones: int = 2, network: str = "", listens: bool = True, **params: Any) -> dict[str, Any]:
    """Put the fleet behind another load balancer."""
    usual = {"Protocol": "HTTP", "Port": 80, "VpcId": network or world.vpc}
    made = admin(world, "CreateTargetGroup", "elbv2", Name="other", **usual | params)["TargetGroups"][0]
    if listens:
        subnets = list(world.subnets.values())[:zones]
        balancer = admin(world, "CreateLoadBalancer", "elbv2", Name="other", Subnets=subnets)["LoadBalancers"][0]
        forward = [{"Type": "forward", "TargetGroupArn": made["TargetGroupArn"]}]
        admin(
            world,
            "CreateListener",
            "elbv2",
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=forward,
        )
    return {"target_groups": (made["TargetGroupArn"],)}


def unchecked(world: World) -> None:
    """Switch the health check off, which AWS lets people do for some types only."""
    world.aws._emulator.elbv2().target_groups[world.target_group].health_check_enabled = False


def image(world: World, state: str) -> None:
    """Give the image another state."""
    world.aws.set_image(world.image, state)


BROKEN: dict[str, tuple[Break, Severity, str]] = {
    "no isolation group": (
        lambda _: {"isolation_group": "sg-0123456789abcdef0"},
        ERROR,
        "isolation_group = sg-0123456789abcdef0 is not there",
    ),
    "an isolation group in another VPC": (
        lambda w: {"isolation_group": group_in(w, other_network(w))},
        ERROR,
        ", where the subnets are: make one there",
    ),
    "an isolation group with a new group's rule": (
        lambda w: admin(w, "AuthorizeSecurityGroupEgress", GroupId=w.isolation, IpPermissions=EVERYTHING) and None,
        ERROR,
        "lets everything out, as every new group does",
    ),
    "an isolation group that lets some traffic out": (
        lambda w: admin(w, "AuthorizeSecurityGroupEgress", GroupId=w.isolation, IpPermissions=WEB) and None,
        ERROR,
        "lets traffic out; expected a group without any rule",
    ),
    "an isolation group that lets some traffic in": (
        lambda w: admin(w, "AuthorizeSecurityGroupIngress", GroupId=w.isolation, IpPermissions=WEB) and None,
        ERROR,
        "lets traffic in; expected a group without any rule",
    ),
    "no untrack group": (
        lambda _: {"untrack_group": "sg-0123456789abcdef0"},
        ERROR,
        "untrack_group = sg-0123456789abcdef0 is not there",
    ),
    "an untrack group that lets nothing in": (
        lambda w: admin(w, "RevokeSecurityGroupIngress", GroupId=w.untrack, IpPermissions=EVERYTHING) and None,
        WARNING,
        "does not let everything in; expected a rule for all protocols",
    ),
    "an untrack group that lets nothing out": (
        lambda w: admin(w, "RevokeSecurityGroupEgress", GroupId=w.untrack, IpPermissions=EVERYTHING) and None,
        WARNING,
        "does not let everything out; expected a rule for all protocols",
    ),
    "a serving group without the fleet's tag": (
        lambda w: admin(w, "DeleteTags", Resources=[w.serving], Tags=[{"Key": "sickbay:fleet"}]) and None,
        ERROR,
        "lacks sickbay:fleet = web; tag it",
    ),
    "no such template": (
        lambda _: {"launch_template": "lt-0123456789abcdef0"},
        ERROR,
        "launch_template = lt-0123456789abcdef0, version $Default, is not there",
    ),
    "no such version": (lambda _: {"template_version": 9}, ERROR, "version 9, is not there"),
    "a template that tags no disk": (
        lambda w: templated(w, TagSpecifications=template_data(w.image, w.serving)["TagSpecifications"][::2]),
        ERROR,
        "does not tag each volume with sickbay:fleet = web",
    ),
    "a template that tags nothing": (
        lambda w: templated(w, TagSpecifications=None),
        ERROR,
        "does not tag each instance and network-interface and volume",
    ),
    "a template with interfaces of its own": (
        lambda w: templated(w, SecurityGroupIds=None, NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [w.serving]}]),
        ERROR,
        "takes no subnet beside them; name its SecurityGroupIds instead",
    ),
    "a template that leaves its image to a parameter": (
        lambda w: templated(w, ImageId="resolve:ssm:/golden"),
        ERROR,
        "names the image resolve:ssm:/golden; expected the id of one image",
    ),
    "an image that is gone": (lambda w: templated(w, ImageId="ami-0123456789abcdef0"), ERROR, "is not there; put one"),
    "an image that is disabled": (lambda w: image(w, "disabled"), ERROR, "is disabled; expected available"),
    "an image that nobody called golden": (
        lambda w: admin(w, "DeleteTags", Resources=[w.image], Tags=[{"Key": "sickbay:golden"}]) and None,
        WARNING,
        "carries sickbay:golden = nothing; expected web",
    ),
    "another fleet's golden image": (
        lambda w: (
            admin(w, "CreateTags", Resources=[w.image], Tags=[{"Key": "sickbay:golden", "Value": "shop"}]) and None
        ),
        ERROR,
        "carries sickbay:golden = shop; expected web",
    ),
    "a subnet that is not there": (
        lambda w: {"subnets": (*w.subnets.values(), "subnet-0123456789abcdef0")},
        ERROR,
        "subnets: subnet-0123456789abcdef0 not there",
    ),
    "a target group that is not there": (
        lambda w: {"target_groups": (w.target_group[:-4] + "0000",)},
        ERROR,
        "is not there; name one that is",
    ),
    "a target group in another VPC": (
        lambda w: balanced(w, network=other_network(w)),
        ERROR,
        "machines can't be registered across VPCs",
    ),
    "a target group for addresses": (
        lambda w: balanced(w, TargetType="ip"),
        ERROR,
        "takes targets of type ip; expected instance",
    ),
    "a target group that checks nobody": (
        unchecked,
        ERROR,
        "checks nobody's health",
    ),
    "a target group without a load balancer": (
        lambda w: balanced(w, listens=False),
        ERROR,
        "belongs to no load balancer",
    ),
    "a zone in which the load balancer is not": (
        lambda w: balanced(w, zones=1),
        ERROR,
        "is not enabled in eu-central-1b, where subnets are",
    ),
    "a machine of the template without our tag": (
        lambda w: admin(w, "DeleteTags", Resources=w.launch(), Tags=[{"Key": "sickbay:fleet"}]) and None,
        WARNING,
        "came from the launch template, but lack sickbay:fleet = web",
    ),
}


@pytest.mark.parametrize("row", BROKEN)
def test_what_is_broken_is_found_in_one_sentence(world: World, api: BotoApi, row: str) -> None:
    """Found, expected, what to do; and nothing is changed by the look."""
    break_it, severity, words = BROKEN[row]
    options = options_of(world, **(break_it(world) or {}))
    found = told(world, api, options)

    assert [severity] == [s for s, sentence in found if words in sentence], found
    assert all("\n" not in sentence for _, sentence in found)


def test_a_world_as_it_should_be_has_nothing_wrong(world: World, api: BotoApi) -> None:
    """Bound to the printed policy, with machines of ours and of others. What remains are notes."""
    world.register(*world.launch(2))
    stranger(world)
    bound(world)
    found = preflight(FLEET, options_of(world), api, NEEDS.keys())

    assert [] == [f.sentence for f in found if f.severity is not NOTE]
    assert any("drains for" in f.sentence for f in found)
    assert any("could not be tried" in f.sentence for f in found)
    assert [] == world.aws.log.daemons


def test_before_the_first_machine_the_look_says_what_it_could_not_try(world: World, api: BotoApi) -> None:
    """Launching is tried all the same."""
    bound(world)
    found = preflight(FLEET, options_of(world), api, NEEDS.keys())

    assert {NOTE} == {f.severity for f in found}
    assert any("no machine carries sickbay:fleet = web yet" in f.sentence for f in found)
    assert len(world.subnets) == world.aws.server.calls.count("RunInstances")


def scaled(world: World, **asked: Any) -> None:
    """Change what was asked of the group."""
    world.aws.groups.known[world.group].asked.update(asked)


BROKEN_GROUPS: dict[str, tuple[Break, Severity, str]] = {
    "no such group": (lambda _: {"auto_scaling_group": "other"}, ERROR, 'auto_scaling_group = "other" is not there'),
    "other target groups": (
        lambda _: {"target_groups": ()},
        ERROR,
        "those of the group web differ in targetgroup/web/",
    ),
    "another template": (
        lambda w: scaled(w, LaunchTemplate={"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "1"}),
        ERROR,
        "the group web launches from lt-0123456789abcdef0",
    ),
    "health of the load balancer": (
        lambda w: scaled(w, HealthCheckType="ELB"),
        ERROR,
        "set its health check type to EC2",
    ),
    "a warm pool": (
        lambda w: scaled(w, WarmPoolConfiguration={"MinSize": 1, "PoolState": "Stopped"}),
        WARNING,
        "has a warm pool",
    ),
    "at its maximum": (lambda w: scaled(w, MaxSize=2), WARNING, "is at its maximum (2 of 2)"),
    "nothing is replaced": (
        lambda w: w.aws.groups.known[w.group].suspended.add("ReplaceUnhealthy"),
        WARNING,
        "ReplaceUnhealthy is suspended",
    ),
    "nothing is launched": (
        lambda w: w.aws.groups.known[w.group].suspended.add("Launch"),
        ERROR,
        "Launch is suspended",
    ),
    "a refresh that runs": (
        lambda w: w.aws.groups.known[w.group].refreshes.append({"InstanceRefreshId": "r", "Status": "InProgress"}),
        WARNING,
        "an instance refresh of the group web is InProgress",
    ),
}


@pytest.mark.parametrize("row", BROKEN_GROUPS)
def test_what_is_broken_in_a_group_is_found(group: World, group_api: BotoApi, row: str) -> None:
    """One finding for each."""
    break_it, severity, words = BROKEN_GROUPS[row]
    options = options_of(group, **(break_it(group) or {}))
    found = told(group, group_api, options)

    assert [severity] == [s for s, sentence in found if words in sentence], found


def test_a_group_as_it_should_be_has_nothing_wrong(group: World, group_api: BotoApi) -> None:
    """Bound to the printed policy, which does not launch."""
    stranger(group)
    bound(group)

    assert [] == told(group, group_api)


def stranger(world: World) -> None:
    """Start a machine of somebody else's."""
    subnet = world.subnets[world.zones[0]]
    bare: dict[str, Any] = {"ImageId": world.image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    admin(world, "RunInstances", SubnetId=subnet, **bare)
    world.aws.forward(world.aws.timing.visible + world.aws.timing.pending)


def without(world: World, *actions: str) -> None:
    """Bind the daemon to its policy, but for some actions."""
    bound(world)
    document = world.aws.policy or {}
    kept = []
    for statement in document["Statement"]:
        named = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        left = [action for action in named if action not in actions]
        kept += [statement | {"Action": left}] if left else []
    world.aws.policy = document | {"Statement": kept}


TRIED = (
    "ec2:RunInstances",
    "ec2:CreateTags",
    "ec2:GetConsoleOutput",
    "ec2:ModifyInstanceAttribute",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:CreateSnapshots",
    "ec2:RebootInstances",
    "ec2:StartInstances",
)


@pytest.mark.parametrize("action", TRIED)
def test_what_is_not_permitted_is_found_by_trying_it(world: World, api: BotoApi, action: str) -> None:
    """The sentence names the action, and what AWS says."""
    world.launch()
    without(world, action)
    found = told(world, api)

    assert found
    assert all(s is ERROR and "not permitted" in text and action in text for s, text in found), found


READ = (
    ("ec2:DescribeSubnets", "ec2:DescribeSubnets"),
    ("ec2:DescribeImages", "ec2:DescribeImages"),
    ("ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroups"),
    ("ec2:DescribeLaunchTemplateVersions", "ec2:DescribeLaunchTemplateVersions"),
    ("ec2:DescribeInstances", "ec2:DescribeInstances"),
    ("elasticloadbalancing:Describe*", "elasticloadbalancing:DescribeTargetGroups"),
)


@pytest.mark.parametrize(("action", "named"), READ)
def test_what_may_not_be_read_is_named_and_not_called_missing(
    world: World, api: BotoApi, action: str, named: str
) -> None:
    """Who may not look does not know: nothing is said to be not there."""
    without(world, action)
    found = told(world, api)

    assert [f"not permitted: {named}; attach the policy that `sickbay iam-policy` prints"] == [t for _, t in found]


def test_credentials_that_permit_too_much_are_found(world: World, api: BotoApi) -> None:
    """Everything that must never be done, in one warning."""
    world.launch()
    stranger(world)
    ((severity, text),) = told(world, api)

    assert severity is WARNING
    assert text.startswith("the credentials permit more than is needed: to say that i-")
    for words in (
        "to end the foreign i-",
        "to make the foreign i-",
        "to isolate the foreign i-",
        "which is not marked",
    ):
        assert words in text


@pytest.mark.parametrize("kind", ["500", "reset", "html", "throttling", "error:ExpiredToken", "error:AuthFailure"])
def test_an_aws_that_does_not_answer_is_one_sentence(world: World, api: BotoApi, kind: str) -> None:
    """Nobody can say what is there, so nothing is said about it."""
    world.aws.faults.region_down = kind
    with pytest.raises(CloudSilent, match="AWS can't be asked about fleet web: .*; see that this machine reaches"):
        preflight(FLEET, options_of(world), api, NEEDS.keys())
