"""Which questions a call puts to IAM: its resources, with the tags that they have and the tags that it would give them."""

from __future__ import annotations

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.emulator import Emulator
from tests.standins.aws.groups import Groups
from tests.standins.aws.instances import Instances
from tests.standins.aws.launch import Launcher, Wanted
from tests.standins.aws.policy import Ask, Values, is_allowed

IN_PARAMETERS = {
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "VolumeId": "volume",
    "VolumeIds": "volume",
    "SnapshotId": "snapshot",
    "NetworkInterfaceId": "network-interface",
    "Groups": "security-group",
    "GroupId": "security-group",
    "Resources": "",
}
KINDS = {
    "i": "instance",
    "vol": "volume",
    "snap": "snapshot",
    "eni": "network-interface",
    "sg": "security-group",
    "ami": "image",
    "lt": "launch-template",
    "subnet": "subnet",
}

OF_ONE_INSTANCE = ("DescribeInstanceAttribute", "GetConsoleOutput")
"""Reads that AWS allows or refuses for each instance; the others are for all of them or for none."""


class Gate:
    """Lets the daemon's calls pass, or refuses them as AWS does. Without a policy everything passes."""

    def __init__(self, emulator: Emulator, instances: Instances, launcher: Launcher, groups: Groups) -> None:
        """Stand before this account."""
        self._emulator = emulator
        self._instances = instances
        self._launcher = launcher
        self._groups = groups
        self.policy: Json | None = None
        self.refused: list[str] = []
        """Each question that was answered with no: `action on resource`."""

    def check(self, call: Call) -> None:
        """Refuse what the policy does not allow."""
        if self.policy is None or not call.is_daemons:
            return
        for ask in self._asks(call):
            ask.keys["aws:RequestedRegion"] = [call.region]
            if not is_allowed(self.policy, ask):
                self.refused.append(f"{ask.action} on {ask.resource}")
                code = "UnauthorizedOperation" if call.service == "ec2" else "AccessDenied"
                raise AwsError(
                    code,
                    "You are not authorized to perform this operation. User: arn:aws:iam::"
                    f"{self._emulator.account}:user/sickbay is not authorized to perform: {ask.action} on resource: "
                    f"{ask.resource} because no identity-based policy allows the {ask.action} action.",
                    403,
                )

    def _asks(self, call: Call) -> list[Ask]:
        prefix = {"elbv2": "elasticloadbalancing"}.get(call.service, call.service)
        action = f"{prefix}:{call.action}"
        if not call.is_mutating and not call.is_trial and call.action not in OF_ONE_INSTANCE:
            return [Ask(action)]
        if call.service == "elbv2":
            return [Ask(action, call.params.get("TargetGroupArn", "*"))]
        if call.service == "autoscaling":
            return [self._group_ask(action, call)]
        if call.action == "RunInstances":
            return self._launch_asks(call)
        given = {t["Key"]: t.get("Value", "") for t in call.params.get("Tags", [])}
        extra = self._keys_of(call) | {f"aws:RequestTag/{k}": [v] for k, v in given.items()}
        if given:
            extra["aws:TagKeys"] = list(given)
        inner = call.params.get("InstanceSpecification", {}).get("InstanceId")
        ids = [*call.ids(*IN_PARAMETERS), *([inner] if inner else [])]
        asks = [self._ask(action, name, extra) for name in ids] or [Ask(action, "*", extra)]
        if call.action.startswith("CreateSnapshot"):
            born = _tags_given(call).get("snapshot", {})
            asks.append(Ask(action, self._arn("snapshot", "*")).tagged("aws:RequestTag", born))
            asks += [self._ask(action, disk, extra) for disk in self._disks(inner)]
        return self._with_tags(call, asks, _tags_given(call))

    def _launch_asks(self, call: Call) -> list[Ask]:
        wanted: Wanted = self._launcher.resolved(call.params)
        common: Values = {}
        if wanted.template:
            common["ec2:LaunchTemplate"] = [self._arn("launch-template", wanted.template["id"])]
        cards = wanted.params.get("NetworkInterfaces") or []
        named = [str(wanted.params.get("ImageId", "")), *wanted.params.get("SecurityGroupIds", [])]
        named += [str(wanted.params["SubnetId"])] if wanted.params.get("SubnetId") else []
        named += [group for card in cards for group in card.get("Groups", [])]
        named += [wanted.template["id"]] if wanted.template else []
        given = str(call.params)
        asks = [
            self._ask(
                "ec2:RunInstances", name, common | {"ec2:IsLaunchTemplateResource": [str(name not in given).lower()]}
            )
            for name in named
            if name
        ]
        requested = _tags_given(call)
        for kind in ("instance", "volume", "network-interface"):
            ask = Ask("ec2:RunInstances", self._arn(kind, "*"), dict(common))
            asks.append(ask.tagged("aws:RequestTag", requested.get(kind, {})))
        return self._with_tags(call, asks, requested | {k: v for k, v in wanted.tags.items() if k not in requested})

    def _with_tags(self, call: Call, asks: list[Ask], tags: dict[str, dict[str, str]]) -> list[Ask]:
        """Tags at creation are a CreateTags of their own."""
        for kind, given in tags.items():
            keys: Values = {"ec2:CreateAction": [call.action], "aws:TagKeys": list(given)}
            asks.append(Ask("ec2:CreateTags", self._arn(kind, "*"), keys).tagged("aws:RequestTag", given))
        return asks

    def _ask(self, action: str, name: str, extra: Values) -> Ask:
        kind = KINDS.get(name.split("-", maxsplit=1)[0], "instance")
        ask = Ask(action, self._arn(kind, name), dict(extra))
        if kind == "image" and name in self._emulator.ec2().amis:
            ask.keys["ec2:Owner"] = [self._emulator.ec2().amis[name].owner_id]
        tags = self._tags(name)
        return ask.tagged("aws:ResourceTag", tags).tagged("ec2:ResourceTag", tags)

    def _group_ask(self, action: str, call: Call) -> Ask:
        name = call.params.get("AutoScalingGroupName", "")
        if not name and "InstanceId" in call.params:
            name = next((g.name for g in self._groups.known.values() if call.params["InstanceId"] in g.members), "")
        group = self._groups.known.get(name)
        where = f"{self._emulator.region}:{self._emulator.account}"
        ask = Ask(action, f"arn:aws:autoscaling:{where}:autoScalingGroup:0:autoScalingGroupName/{name}")
        tags = {t["Key"]: t["Value"] for t in group.asked.get("Tags", [])} if group else {}
        return ask.tagged("aws:ResourceTag", tags)

    def _tags(self, name: str) -> dict[str, str]:
        if name in self._instances.lives:
            return self._instances.lives[name].tags
        found: dict[str, str] = self._emulator.ec2().tags.get(name, {})
        return dict(found)

    def _disks(self, instance: str | None) -> list[str]:
        life = self._instances.lives.get(instance or "")
        return [disk.volume_id for disk in life.instance.block_device_mapping.values()] if life else []

    def _arn(self, kind: str, name: str) -> str:
        owner = "" if kind in ("snapshot", "image") else self._emulator.account
        return f"arn:aws:ec2:{self._emulator.region}:{owner}:{kind}/{name}"

    @staticmethod
    def _keys_of(call: Call) -> Values:
        named = [key for key in call.params if key[0].isupper() and isinstance(call.params[key], dict | list)]
        named += call.ids("Attribute")
        return {"ec2:Attribute": named} if call.action == "ModifyInstanceAttribute" else {}


def _tags_given(call: Call) -> dict[str, dict[str, str]]:
    """Return the tags at creation that the request itself names, by kind of resource."""
    specs = call.params.get("TagSpecifications", [])
    return {s["ResourceType"]: {t["Key"]: t.get("Value", "") for t in s["Tags"]} for s in specs}
