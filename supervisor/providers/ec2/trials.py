"""What the credentials permit, tried with `DryRun`: AWS answers yes or no, and does nothing.

What the fleet needs must be permitted, on a machine of its own; what it must never do must not be, on its own machine and
on a foreign one. Load balancers and Auto Scaling have no `DryRun`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.ports import Finding, Severity
from supervisor.providers.ec2.api import Api, AwsDoubt, AwsLater, AwsNo
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.scope import FLEET, STATE, of_tags

DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
LONGEST = 300  # characters of AWS's message: its encoded part is of no use to people


@dataclass(frozen=True, slots=True)
class Trial:
    """One call that is tried. `verbs` are the requests that need it; none for what must never be permitted."""

    what: str
    action: str
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: AWS's own parameters
    verbs: frozenset[str] = frozenset()


def tried(
    fleet: str, options: Ec2Options, api: Api, verbs: Collection[str], ours: Any, foreign: Any
) -> Iterator[Finding]:  # Any: machines as AWS shows them, None where there is none
    """Yield what is wrong with what is permitted."""
    wanted = [trial for trial in _launching(fleet, options) if not options.auto_scaling_group]
    unwanted: list[Trial] = []
    if ours:
        wanted += _healing(options, ours)
        unwanted += _never_ours(ours)
    else:
        yield Finding(
            Severity.NOTE,
            f"no machine carries sickbay:fleet = {fleet} yet, so what is done to machines could not be tried; look again"
            " when the first one runs",
        )
    if foreign:
        unwanted += _never_foreign(options, foreign)
    for trial in wanted:
        if trial.verbs & set(verbs):
            yield from _needed(trial, api)
    wide = [trial.what for trial in unwanted if _answer(trial, api)[0] == "yes"]
    if wide:
        yield Finding(
            Severity.WARNING,
            f"the credentials permit more than is needed: {', '.join(wide)}; use them for Sickbay alone, with the policy"
            " that `sickbay iam-policy` prints",
        )
    if options.target_groups or options.auto_scaling_group:
        yield Finding(
            Severity.NOTE,
            "load balancers and Auto Scaling groups know no trial, so whether they may be changed could not be tried",
        )


def _needed(trial: Trial, api: Api) -> Iterator[Finding]:
    answer, why = _answer(trial, api)
    if answer == "denied":
        remedy = "attach the policy that `sickbay iam-policy` prints, and see that what it touches has its tags"
        yield Finding(Severity.ERROR, f"not permitted: {trial.what} (ec2:{trial.action}); {remedy}; AWS says: {why}")
    elif answer == "no":
        yield Finding(Severity.ERROR, f"AWS would refuse: {trial.what} (ec2:{trial.action}); mend that; it says: {why}")
    elif answer == "unclear":
        yield Finding(Severity.WARNING, f"could not be tried: {trial.what} (ec2:{trial.action}); look again: {why}")


def _answer(trial: Trial, api: Api) -> tuple[str, str]:
    """Return yes, denied, no or unclear, and AWS's words."""
    try:
        api.change("ec2", trial.action, **trial.params, DryRun=True)
    except AwsNo as no:
        if no.code == "DryRunOperation":
            return "yes", ""
        return "denied" if no.code in DENIED else "no", str(no)[:LONGEST]
    except (AwsLater, AwsDoubt) as error:
        return "unclear", str(error)[:LONGEST]
    return "yes", ""


def _launching(fleet: str, options: Ec2Options) -> Iterator[Trial]:
    tags = [{"Key": FLEET, "Value": fleet}]
    kinds = ("instance", "volume", "network-interface")
    for subnet in options.subnets:
        for type_ in options.types or ("",):
            params: dict[str, Any] = {  # Any: AWS's own parameters
                "LaunchTemplate": {
                    "LaunchTemplateId": options.launch_template,
                    "Version": str(options.template_version),
                },
                "SubnetId": subnet,
                "MinCount": 1,
                "MaxCount": 1,
                "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in kinds],
            }
            named = f"a {type_}" if type_ else "a machine"
            yield Trial(
                f"launch {named} into {subnet}",
                "RunInstances",
                params | ({"InstanceType": type_} if type_ else {}),
                frozenset({"launch"}),
            )


def _healing(options: Ec2Options, ours: Any) -> Iterator[Trial]:  # Any: as AWS shows it
    name = ours["InstanceId"]
    disks = [disk["Ebs"]["VolumeId"] for disk in ours.get("BlockDeviceMappings", []) if "Ebs" in disk]
    cards = [card["NetworkInterfaceId"] for card in ours.get("NetworkInterfaces", [])]
    mark = [{"Key": STATE, "Value": "expired"}]
    yield Trial(f"mark {name}", "CreateTags", {"Resources": [name], "Tags": mark}, frozenset({"mark"}))
    for left in [*disks, *cards]:
        yield Trial(f"mark {left} of {name}", "CreateTags", {"Resources": [left], "Tags": mark}, frozenset({"sweep"}))
    yield Trial(f"read the console of {name}", "GetConsoleOutput", {"InstanceId": name}, frozenset({"capture"}))
    shield = {"InstanceId": name, "DisableApiTermination": {"Value": True}}
    yield Trial(f"protect {name} from deletion", "ModifyInstanceAttribute", shield, frozenset({"capture"}))
    for card in ours.get("NetworkInterfaces", []):
        own = [group["GroupId"] for group in card.get("Groups", [])]
        for verb, groups in (
            ("isolate", [options.untrack_group] if options.untrack_group else []),
            ("isolate", [options.isolation_group]),
            ("restore", own),
        ):
            if groups:
                params = {"NetworkInterfaceId": card["NetworkInterfaceId"], "Groups": groups}
                what = f"give {card['NetworkInterfaceId']} of {name} the groups {', '.join(groups)}"
                yield Trial(what, "ModifyNetworkInterfaceAttribute", params, frozenset({verb}))
    if options.snapshot:
        yield Trial(
            f"snapshot the disks of {name}", "CreateSnapshots", _snapshot(name, _tag(ours)), frozenset({"isolate"})
        )
    yield Trial(f"reboot {name}", "RebootInstances", {"InstanceIds": [name]}, frozenset({"restart"}))
    yield Trial(f"start {name}", "StartInstances", {"InstanceIds": [name]}, frozenset({"restart", "restore"}))


def _never_ours(ours: Any) -> Iterator[Trial]:  # Any: as AWS shows it
    name = ours["InstanceId"]
    foreign = [{"Key": FLEET, "Value": "another"}]
    yield Trial(f"to say that {name} is another fleet's", "CreateTags", {"Resources": [name], "Tags": foreign})
    state = of_tags(ours.get("Tags", [])).get(STATE, "")
    if not state:
        yield Trial(f"to end {name}, which is not marked for it", "TerminateInstances", {"InstanceIds": [name]})
        yield Trial(f"to stop {name}, which is not set aside", "StopInstances", {"InstanceIds": [name]})


def _never_foreign(options: Ec2Options, foreign: Any) -> Iterator[Trial]:  # Any: as AWS shows it
    name = foreign["InstanceId"]
    ids = {"InstanceIds": [name]}
    yield Trial(f"to end the foreign {name}", "TerminateInstances", ids)
    yield Trial(f"to stop the foreign {name}", "StopInstances", ids)
    yield Trial(f"to reboot the foreign {name}", "RebootInstances", ids)
    mark = {"Resources": [name], "Tags": [{"Key": STATE, "Value": "expired"}]}
    yield Trial(f"to mark the foreign {name}", "CreateTags", mark)
    adopt = {"Resources": [name], "Tags": [{"Key": FLEET, "Value": "adopted"}]}
    yield Trial(f"to make the foreign {name} its own", "CreateTags", adopt)
    shield = {"InstanceId": name, "DisableApiTermination": {"Value": True}}
    yield Trial(f"to protect the foreign {name}", "ModifyInstanceAttribute", shield)
    yield Trial(f"to snapshot the foreign {name}", "CreateSnapshots", _snapshot(name, "adopted"))
    for card in foreign.get("NetworkInterfaces", [])[:1]:
        isolate = {"NetworkInterfaceId": card["NetworkInterfaceId"], "Groups": [options.isolation_group]}
        yield Trial(f"to isolate the foreign {name}", "ModifyNetworkInterfaceAttribute", isolate)


def _snapshot(instance: str, fleet: str) -> dict[str, Any]:  # Any: AWS's own parameters
    tags = [{"Key": FLEET, "Value": fleet}]
    return {
        "InstanceSpecification": {"InstanceId": instance},
        "TagSpecifications": [{"ResourceType": "snapshot", "Tags": tags}],
    }


def _tag(machine: Any) -> str:  # Any: as AWS shows it
    return str(of_tags(machine.get("Tags", [])).get(FLEET, ""))
