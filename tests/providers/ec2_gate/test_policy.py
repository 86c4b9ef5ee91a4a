"""The document: what it holds, how long it is, and that uniting fleets allows nothing that no fleet was allowed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.permissions import LARGEST, NEEDS, Policy, partition_of, policy, size, verbs
from tests.standins.aws.policy import Ask, is_allowed

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/web-machines"


def options(number: int = 1, **other: Any) -> Ec2Options:
    """Return a fleet of the size that is usual: three zones, one target group."""
    target = f"arn:aws:elasticloadbalancing:eu-central-1:{ACCOUNT}:targetgroup/fleet-{number}/{number:016x}"
    usual: dict[str, Any] = {
        "region": "eu-central-1",
        "launch_template": f"lt-{number:017x}",
        "subnets": tuple(f"subnet-{10 * number + place:017x}" for place in range(3)),
        "target_groups": (target,),
        "isolation_group": f"sg-{1:017x}",
        "untrack_group": f"sg-{2:017x}",
    }
    return Ec2Options.model_validate(usual | other)


def actions(document: Policy) -> set[str]:
    """Return every action that a document allows."""
    found: set[str] = set()
    for statement in document["Statement"]:
        if statement["Effect"] == "Allow":
            found |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return found


GROUP = {"auto_scaling_group": "web"}
LEFT_OUT: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "without snapshots none is made": ({"snapshot": False}, {"ec2:CreateSnapshots"}, {"ec2:StopInstances"}),
    "without a target group nothing is registered": (
        {"target_groups": ()},
        {"elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"},
        {"ec2:RunInstances"},
    ),
    "without a group nothing is detached": ({}, {"autoscaling:DetachInstances"}, {"ec2:RunInstances"}),
    "a group launches and registers, not we": (
        GROUP,
        {"ec2:RunInstances", "iam:PassRole", "elasticloadbalancing:RegisterTargets"},
        {"autoscaling:DetachInstances", "elasticloadbalancing:DeregisterTargets"},
    ),
}


@pytest.mark.parametrize("row", LEFT_OUT)
def test_what_a_fleet_does_not_need_is_not_in_it(row: str) -> None:
    """The options decide; what is needed all the same stays."""
    other, absent, present = LEFT_OUT[row]
    found = actions(policy({"web": options(**other)}, ACCOUNT, roles=[ROLE]))

    assert set() == found & absent
    assert present <= found


LADDERS = {
    "restart alone sets nothing aside": (
        ["withdraw", "capture", "restart", "warm"],
        {"ec2:ModifyNetworkInterfaceAttribute", "ec2:CreateSnapshots", "ec2:StopInstances"},
        {"ec2:RebootInstances", "ec2:StartInstances"},
    ),
    "replace alone reboots nothing": (
        ["withdraw", "capture", "launch", "isolate"],
        {"ec2:RebootInstances"},
        {"ec2:ModifyNetworkInterfaceAttribute", "ec2:StopInstances", "ec2:TerminateInstances"},
    ),
}


@pytest.mark.parametrize("row", LADDERS)
def test_what_no_remediation_does_is_not_in_it(row: str) -> None:
    """The ladder's steps decide."""
    steps, absent, present = LADDERS[row]
    found = actions(policy({"web": options()}, ACCOUNT, enabled={"web": verbs(steps)}))

    assert set() == found & absent
    assert present <= found


def test_no_policy_permits_to_write_or_take_a_tag_that_says_whose_a_machine_is() -> None:
    """Nor the tag with which people hold one; and nothing takes tags away."""
    document = policy({"web": options()}, ACCOUNT)
    marks = next(s for s in document["Statement"] if s["Sid"] == "Mark")
    keys = set(marks["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"])

    assert set() == keys & {"sickbay:fleet", "sickbay:hold", "sickbay:golden"}
    assert "ec2:DeleteTags" not in actions(document)


def test_three_fleets_fit_into_one_managed_policy() -> None:
    """With three zones, a target group and a role each, and long names."""
    fleets = {f"fleet-number-{number}": options(number) for number in range(3)}
    roles = [f"arn:aws:iam::{ACCOUNT}:role/fleet-{number}" for number in range(3)]

    assert LARGEST == 6144
    assert size(policy({"web": options()}, ACCOUNT, roles=[ROLE])) < 4500
    assert size(policy(fleets, ACCOUNT, roles=roles)) <= LARGEST


def test_every_statement_has_a_name_of_its_own() -> None:
    """IAM takes letters and digits, each name once; regions do not mix."""
    document = policy({"web": options(), "api": options(2, region="us-east-1")}, ACCOUNT)
    names = [s["Sid"] for s in document["Statement"]]

    assert len(set(names)) == len(names)
    assert all(name.isalnum() for name in names)


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_begin_with_the_region_s_partition(region: str, partition: str) -> None:
    """China and the government's regions are AWSes of their own."""
    document = policy({"web": options(region=region)}, ACCOUNT, partition_of(region))

    assert partition == partition_of(region)
    assert f"arn:{partition}:ec2:{region}:" in str(document)


FLEETS = {
    "web": options(1),
    "api": options(2, snapshot=False),
    "far": options(3, region="us-east-1"),
    "group": options(4, auto_scaling_group="group"),
}
ALONE = {name: policy({name: fleet}, ACCOUNT, roles=[ROLE]) for name, fleet in FLEETS.items()}
TOGETHER = policy(FLEETS, ACCOUNT, roles=[ROLE])
EVERY_ACTION = sorted({action for grants in NEEDS.values() for grant in grants for action in grant.actions})
RESOURCES = sorted(
    {
        resource.replace(":*:*:", f":eu-central-1:{ACCOUNT}:").replace("/*", "/x-1")
        for document in ALONE.values()
        for statement in document["Statement"]
        for resource in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
    }
)
KEYS: dict[str, list[str]] = {
    "aws:ResourceTag/sickbay:fleet": [*FLEETS, "foreign"],
    "aws:RequestTag/sickbay:fleet": [*FLEETS, "foreign"],
    "aws:ResourceTag/sickbay:golden": [*FLEETS, "foreign"],
    "aws:ResourceTag/sickbay:state": ["quarantined", "expired", "serving"],
    "aws:RequestedRegion": ["eu-central-1", "us-east-1", "ap-south-1"],
    "ec2:LaunchTemplate": [f"arn:aws:ec2:eu-central-1:{ACCOUNT}:launch-template/lt-{n:017x}" for n in range(1, 6)],
    "ec2:IsLaunchTemplateResource": ["true", "false"],
    "ec2:Owner": [ACCOUNT, "amazon"],
    "ec2:CreateAction": ["RunInstances", "CreateSnapshots", "CreateVolume"],
    "ec2:Attribute": ["userData", "disableApiStop"],
    "iam:PassedToService": ["ec2.amazonaws.com", "lambda.amazonaws.com"],
    "aws:TagKeys": ["sickbay:state", "sickbay:fleet"],
}


@given(
    st.sampled_from(EVERY_ACTION),
    st.sampled_from(RESOURCES),
    st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(values).map(lambda v: [v]) for key, values in KEYS.items()}
    ),
)
def test_together_fleets_are_allowed_what_each_was_and_nothing_else(
    action: str, resource: str, keys: dict[str, list[str]]
) -> None:
    """Uniting is exact, question by question."""
    ask = Ask(action, resource, keys)

    assert any(is_allowed(alone, ask) for alone in ALONE.values()) == is_allowed(TOGETHER, ask)
