"""Launches: one token is one machine, whatever becomes of the answers.

The call is made from the request alone, so a replay sends the same bytes; AWS gives the same token the same machine.
"""

from __future__ import annotations

from supervisor.core.requests import Done, Launch, Outcome, Refused, Unclear
from supervisor.providers.ec2.api import Answer, AwsNo
from supervisor.providers.ec2.instance import Instance, check_ours, find, remember_launch
from supervisor.providers.ec2.scope import LAUNCH, VERSION, Scope, as_tags

TAGGED = ("instance", "volume", "network-interface")

CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientCapacity",
        "InsufficientAddressCapacity",
        "InsufficientVolumeCapacity",
        "UnfulfillableCapacity",
        "MaxSpotInstanceCountExceeded",
        "SpotMaxPriceTooLow",
        "Unsupported",
    }
)
"""Another place, or another type, may say yes."""

LIMITS = frozenset(
    {
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "VolumeLimitExceeded",
        "MaxIOPSLimitExceeded",
        "NetworkInterfaceLimitExceeded",
        "AddressLimitExceeded",
        "SecurityGroupLimitExceeded",
        "TagLimitExceeded",
    }
)
"""The account's: another place meets them too, so trying there only burns calls."""

ACCESS = frozenset(
    {
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "OptInRequired",
        "PendingVerification",
        "Blocked",
        "ExpiredToken",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
    }
)
"""A person must give a right, or a key."""

WRONG = ("Invalid", "Missing", "Malformed", "Unknown", "UnsupportedOperation", "ParamValidation")
"""Beginnings of codes about what is asked for, which never changes: the image, the template, the subnet."""


def launch(scope: Scope, request: Launch) -> Outcome:
    """Launch one machine, or find the one that this token launched before."""
    spec = dict(request.spec)
    if missing := [name for name in ("template", "template_version", "subnet") if not spec.get(name)]:
        return Refused(
            f"the launch names no {' and no '.join(missing)}, expected them in its spec: reload the configuration",
            hopeless=True,
        )
    if (found := launched(scope, request)) is not None:
        return _answered(scope, request, found)
    try:
        answer = scope.change("ec2", "RunInstances", **parameters(request))
    except AwsNo as no:
        return _refused(scope, request, no)
    id = str(answer["Instances"][0]["InstanceId"])
    remember_launch(scope, id)
    return Done(instance=id)


def parameters(request: Launch) -> Answer:
    """Return RunInstances' parameters: the same for the same request, for ever."""
    spec = dict(request.spec)
    tags = dict(request.tags) | ({VERSION: request.version} if request.version else {})
    kind = {"InstanceType": spec["type"]} if spec.get("type") else {}
    return kind | {
        "LaunchTemplate": {"LaunchTemplateId": spec["template"], "Version": spec["template_version"]},
        "SubnetId": spec["subnet"],
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": request.token,
        "TagSpecifications": [{"ResourceType": kind, "Tags": as_tags(tags)} for kind in TAGGED],
    }


def launched(scope: Scope, request: Launch) -> Instance | None:
    """Return the machine that a token launched, by our tag or by AWS's own note; also one that is terminated."""
    found = find(scope, {f"tag:{LAUNCH}": request.token}) or find(scope, {"client-token": request.token})
    return min(found, key=lambda one: (one.is_gone, one.id), default=None)


def _answered(scope: Scope, request: Launch, found: Instance) -> Outcome:
    check_ours(scope, found.id, found.tags)
    if found.zone != request.zone:
        return Refused(
            f"IdempotentParameterMismatch: this token launched {found.id} in {found.zone}, now it asks for {request.zone}"
        )
    return Done(instance=found.id)


def _refused(scope: Scope, request: Launch, no: AwsNo) -> Outcome:
    """Say what AWS's no to a launch means. A no about the token is no "did not happen": look what it stands for."""
    if no.code in ("IdempotentParameterMismatch", "IdempotentInstanceTerminated"):
        if (found := launched(scope, request)) is not None:
            return _answered(scope, request, found)
        if no.code == "IdempotentInstanceTerminated":
            return Refused(f"the machine of this launch is terminated already, and no longer shown: {no}")
        return Unclear(
            f"{no}; no machine shows this token: look for what was launched with it, and give the launch up by hand"
        )
    if no.code in CAPACITY:
        return Refused(f"no capacity in {request.zone}: {no}", capacity=True)
    if no.code in LIMITS:
        return Refused(
            f"a limit of the account is reached: {no}; raise it (Service Quotas), or free what is kept", hopeless=True
        )
    if no.code in ACCESS:
        return Refused(
            f"this launch is not permitted: {no}; compare the policy with what `sickbay iam-policy` prints",
            hopeless=True,
        )
    if no.code.startswith(WRONG):
        return Refused(
            f"AWS won't launch this as it is: {no}; mend the launch template or the subnets, then reload", hopeless=True
        )
    return Refused(f"AWS says no to this launch: {no}")
