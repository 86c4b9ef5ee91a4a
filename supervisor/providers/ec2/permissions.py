"""What each act needs of IAM, as data, and the least policy for a configuration: `sickbay iam-policy` prints it.

Three rules hold in every policy. The daemon can't write `sickbay:fleet`, so it can't make a machine its own. It can end
only what already carries a mark that says so: two calls, and a line in AWS's trail before the irreversible one. What it
launches comes from the fleet's template, into the fleet's subnets, with the fleet's tag on everything from birth.

Statements of several fleets are united where that is exact: where they differ in one thing alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.scope import EXPIRES, ROLE, STATE, UNDO

Policy: TypeAlias = dict[str, Any]  # Any: a JSON document
Part: TypeAlias = tuple[str, ...]

LARGEST = 6144
"""Characters without white space: what IAM takes in one managed policy."""

WRITTEN = (STATE, ROLE, UNDO, "sickbay:incident", EXPIRES)
"""The tags that the daemon writes on what is already the fleet's."""

DISPOSABLE = ("expired", "failed-candidate", "retired")
"""The values of `sickbay:state` without which no machine can be ended."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on resources under conditions, each (operator, key, values).

    "instance/*" is short for EC2's ARN. A word in braces stands for the fleet's own values, one or many; a grant whose
    words have no value is not needed. `only` names an option without which it isn't either.
    """

    sid: str
    actions: Part
    resources: Part
    conditions: tuple[tuple[str, str, Part], ...] = ()
    only: str = ""
    effect: str = "Allow"


OURS = (("StringEquals", "aws:ResourceTag/sickbay:fleet", ("{fleet}",)),)
TEMPLATE = "arn:{partition}:ec2:*:*:launch-template/{template}"  # an id is unique in all of AWS
FROM_TEMPLATE = (("ArnLike", "ec2:LaunchTemplate", (TEMPLATE,)),)
BORN_OURS = ("StringEquals", "aws:RequestTag/sickbay:fleet", ("{fleet}",))
ANY = ("arn:{partition}:ec2:{region}:*:*/*",)  # where the action or a condition says which kinds
MADE = tuple(f"arn:{{partition}}:ec2:*:*:{kind}/*" for kind in ("instance", "volume", "network-interface"))

# Reads that AWS can't limit to single machines
HERE = (("StringEquals", "aws:RequestedRegion", ("{region}",)),)
LOOK = (
    Grant(
        "Look",
        (
            "ec2:DescribeImages",
            "ec2:DescribeInstanceStatus",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSnapshots",
            "ec2:DescribeSpot*",
            "ec2:DescribeSubnets",
            "ec2:DescribeVolumes",
        ),
        ("*",),
        HERE,
    ),
    Grant(
        "Look",
        ("elasticloadbalancing:Describe*",),
        ("*",),
        HERE,
        only="target_groups",
    ),
    Grant(
        "Look",
        ("autoscaling:DescribeAutoScaling*", "autoscaling:DescribeInstanceRefreshes"),
        ("*",),
        HERE,
        only="auto_scaling_group",
    ),
)

MARK = Grant(
    "Mark",
    ("ec2:CreateTags",),
    ANY,
    # sickbay:fleet is not among the keys: what is foreign stays foreign.
    (*OURS, ("ForAllValues:StringEquals", "aws:TagKeys", WRITTEN), ("Null", "aws:TagKeys", ("false",))),
)
CONSOLE = Grant("Ours", ("ec2:DescribeInstanceAttribute", "ec2:GetConsoleOutput"), ANY, OURS)
START = Grant("Ours", ("ec2:StartInstances",), ANY, OURS)
INTERFACES = Grant("Ours", ("ec2:ModifyNetworkInterfaceAttribute",), ANY, OURS)
PROTECT = (
    Grant("Ours", ("ec2:ModifyInstanceAttribute",), ANY, OURS),
    # A second wall only: AWS does not name the attribute in every evaluation, and then this denies nothing.
    Grant(
        "NeverTheirCode",
        ("ec2:ModifyInstanceAttribute",),
        ("*",),
        (("StringEqualsIgnoreCase", "ec2:Attribute", ("instanceType", "kernel", "ramdisk", "userData")),),
        effect="Deny",
    ),
)
DEREGISTER = Grant("Balancers", ("elasticloadbalancing:DeregisterTargets",), ("{target_group}",))

NEEDS: Mapping[str, tuple[Grant, ...]] = {
    "look": (*LOOK, CONSOLE),
    "launch": (
        Grant("Launch", ("ec2:RunInstances",), MADE, (*FROM_TEMPLATE, BORN_OURS)),
        # Which template goes into which subnet is not said: it would cost a document of three fleets its size.
        Grant("LaunchHere", ("ec2:RunInstances",), (TEMPLATE, "arn:{partition}:ec2:*:*:subnet/{subnet}")),
        # What the template names may be used, and nothing that a request would put in its place.
        Grant(
            "LaunchTemplated",
            ("ec2:RunInstances",),
            ("arn:{partition}:ec2:*:*:key-pair/*", "arn:{partition}:ec2:*:*:security-group/*"),
            (*FROM_TEMPLATE, ("Bool", "ec2:IsLaunchTemplateResource", ("true",))),
        ),
        Grant(
            "LaunchGolden",
            ("ec2:RunInstances",),
            ("image/*",),
            (
                ("StringEquals", "ec2:Owner", ("{account}",)),
                ("StringEquals", "aws:ResourceTag/sickbay:golden", ("{fleet}",)),
                ("Bool", "ec2:IsLaunchTemplateResource", ("true",)),
            ),
        ),
        Grant("Born", ("ec2:CreateTags",), ANY, (("StringEquals", "ec2:CreateAction", ("RunInstances",)),)),
        Grant(
            "PassRole", ("iam:PassRole",), ("{role}",), (("StringEquals", "iam:PassedToService", ("{ec2_service}",)),)
        ),
    ),
    "register": (Grant("Balancers", ("elasticloadbalancing:RegisterTargets",), ("{target_group}",)), MARK),
    "deregister": (DEREGISTER, MARK),
    "capture": (CONSOLE, *PROTECT, MARK),
    "isolate": (
        CONSOLE,
        *PROTECT,
        MARK,
        DEREGISTER,
        INTERFACES,
        Grant(
            "IsolationGroups",
            ("ec2:ModifyNetworkInterfaceAttribute",),
            ("arn:{partition}:ec2:*:*:security-group/{isolation}",),
        ),
        Grant(
            "GroupLetsGo",
            ("autoscaling:DetachInstances",),
            ("arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{group}",),
        ),
        Grant("Ours", ("ec2:CreateSnapshots",), ANY, OURS, only="snapshot"),
        Grant("Evidence", ("ec2:CreateSnapshots",), ("snapshot/*",), (BORN_OURS,), only="snapshot"),
        Grant(
            "Born",
            ("ec2:CreateTags",),
            ANY,
            (("StringEquals", "ec2:CreateAction", ("CreateSnapshots",)),),
            only="snapshot",
        ),
    ),
    # Back go the groups that were there: those that serve carry the fleet's tag.
    "restore": (
        *PROTECT,
        MARK,
        INTERFACES,
        START,
        Grant("Ours", ("ec2:ModifyNetworkInterfaceAttribute",), ANY, OURS),
    ),
    "restart": (Grant("Ours", ("ec2:RebootInstances",), ANY, OURS), START),
    "stop": (
        *PROTECT,
        Grant(
            "StopSetAside",
            ("ec2:StopInstances",),
            ("instance/*",),
            (*OURS, ("StringEquals", "aws:ResourceTag/sickbay:state", ("quarantined", "expired"))),
        ),
    ),
    "mark": (MARK,),
    "terminate": (
        *PROTECT,
        Grant(
            "EndDisposable",
            ("ec2:TerminateInstances",),
            ("instance/*",),
            (*OURS, ("StringEquals", "aws:ResourceTag/sickbay:state", DISPOSABLE)),
        ),
    ),
    "sweep": (
        MARK,
        Grant(
            "Sweep",
            ("ec2:DeleteNetworkInterface", "ec2:DeleteSnapshot", "ec2:DeleteVolume"),
            ANY,
            (*OURS, ("StringEquals", "aws:ResourceTag/sickbay:state", ("expired",))),
        ),
    ),
}
"""What each verb of a request needs; "look" is what is read."""

ALWAYS = frozenset({"look", "launch", "register", "deregister", "capture", "mark", "terminate", "sweep"})
"""What happens in every fleet: places are filled, and a newcomer that never came up is kept for a look, then ended."""

BY_STEP = {"isolate": ("isolate", "restore", "stop"), "restart": ("restart",)}


def verbs(steps: Iterable[str]) -> frozenset[str]:
    """Return the verbs of a fleet whose remediations plan these steps."""
    return ALWAYS.union(*(BY_STEP.get(step, ()) for step in steps))


def policy(
    fleets: Mapping[str, Ec2Options],
    account: str,
    partition: str = "aws",
    *,
    enabled: Mapping[str, Collection[str]] | None = None,
    roles: Collection[str] = (),
) -> Policy:
    """Return the least policy under which these fleets can be healed.

    `enabled` names each fleet's verbs (all of them where it doesn't say); `roles` are the ARNs of roles that their
    machines run under.
    """
    needed: list[_Statement] = []
    for name, options in fleets.items():
        values = _values(name, options, account, partition, roles)
        wanted = set((enabled or {}).get(name, NEEDS))
        wanted -= {"launch", "register"} if options.auto_scaling_group else set()  # the group does both
        grants = [grant for verb in NEEDS if verb in wanted for grant in NEEDS[verb]]
        chosen = [grant for grant in grants if not grant.only or getattr(options, grant.only)]
        # Each fleet first: what is one statement in both unites then across them.
        needed += _united([stated for grant in chosen if (stated := _stated(grant, values))])
    return {"Version": "2012-10-17", "Statement": [*_written(_united(needed))]}


def size(document: Policy) -> int:
    """Return how many characters IAM counts."""
    return len(re.sub(r"\s", "", json.dumps(document)))


def partition_of(region: str) -> str:
    """Return the partition that a region lies in, as ARNs begin with it."""
    found = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}
    return next((name for start, name in found.items() if region.startswith(start)), "aws")


@dataclass(frozen=True, slots=True)
class _Statement:
    """A grant with its words filled in: a request is covered when each of its parts is in the part's set."""

    sid: str
    effect: str
    parts: Mapping[Part, frozenset[str]]


def _values(
    name: str, options: Ec2Options, account: str, partition: str, roles: Collection[str]
) -> Mapping[str, Collection[str]]:
    return {
        "fleet": [name],
        "region": [options.region],
        "account": [account],
        "partition": [partition],
        "template": [options.launch_template],
        "subnet": options.subnets,
        "isolation": [group for group in (options.isolation_group, options.untrack_group) if group],
        "target_group": options.target_groups,
        "group": [options.auto_scaling_group] if options.auto_scaling_group else [],
        "role": roles,
        "ec2_service": ["ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"],
    }


def _stated(grant: Grant, values: Mapping[str, Collection[str]]) -> _Statement | None:
    """Fill the words in; None where the fleet has nothing that this would be about."""
    resources = frozenset(full for each in grant.resources for full in _filled(_arn(each), values))
    if not resources:
        return None
    parts: dict[Part, frozenset[str]] = {("Action",): frozenset(grant.actions), ("Resource",): resources}
    for operator, key, wanted in grant.conditions:
        parts["Condition", operator, key] = frozenset(full for each in wanted for full in _filled(each, values))
    return _Statement(grant.sid, grant.effect, parts)


def _arn(resource: str) -> str:
    if resource == "*" or resource.startswith(("arn:", "{")):
        return resource
    owner = "" if resource.startswith(("image/", "snapshot/")) else "{account}"
    return f"arn:{{partition}}:ec2:{{region}}:{owner}:{resource}"


def _filled(text: str, values: Mapping[str, Collection[str]]) -> list[str]:
    """Return the text once for each value of each word in it."""
    found = re.search(r"\{(\w+)\}", text)
    if found is None:
        return [text]
    return [full for value in values[found[1]] for full in _filled(text.replace(found[0], value), values)]


def _united(statements: list[_Statement]) -> list[_Statement]:
    """Unite statements of one name wherever together they cover exactly what each did."""
    left = list(statements)
    while True:
        for one, other in combinations(left, 2):
            together = _together(one, other)
            if together is not None:
                left[left.index(one)] = together
                left.remove(other)
                break
        else:
            return left


def _together(one: _Statement, other: _Statement) -> _Statement | None:
    if (one.sid, one.effect, one.parts.keys()) != (other.sid, other.effect, other.parts.keys()):
        return None
    differing = {part for part in one.parts if one.parts[part] != other.parts[part]}
    if len(differing) > 1:
        return None
    return replace(one, parts={part: values | other.parts[part] for part, values in one.parts.items()})


def _written(statements: list[_Statement]) -> Iterator[Policy]:
    """Write statements as IAM reads them; names are unique within a policy."""
    met: dict[str, int] = {}
    for statement in statements:
        number = met[statement.sid] = met.get(statement.sid, 0) + 1
        written: Policy = {"Sid": f"{statement.sid}{number if number > 1 else ''}", "Effect": statement.effect}
        for part, values in statement.parts.items():
            place = written
            for step in part[:-1]:
                place = place.setdefault(step, {})
            place[part[-1]] = next(iter(values)) if len(values) == 1 else sorted(values)
        yield written
