"""RunInstances as AWS does it: tokens, templates, images, capacity, tags; moto makes the objects."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.emulator import Emulator
from tests.standins.aws.instances import CODES, Instances, Life

CAPACITY = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone you requested.",
    "InsufficientFreeAddressesInSubnet": "There are not enough free addresses in the subnet to satisfy the requested number.",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit allows.",
    "Unsupported": "Your requested instance type is not supported in your requested Availability Zone.",
}


@dataclass(slots=True)
class Token:
    """A client token that was used: with what, and what was answered."""

    request: Json
    answer: Json
    instances: list[str]


@dataclass(slots=True)
class Wanted:
    """A request with its template read in."""

    params: Json
    tags: dict[str, dict[str, str]]
    zone: str = ""
    template: Json = field(default_factory=dict)


class Launcher:
    """Launches, for RunInstances and for Auto Scaling groups."""

    def __init__(self, emulator: Emulator, instances: Instances, clock: Clock, timing: Timing) -> None:
        """Launch into these instances."""
        self._emulator = emulator
        self._instances = instances
        self._clock = clock
        self._timing = timing
        self._tokens: dict[tuple[str, str], Token] = {}
        self.capacity: dict[tuple[str, str], str] = {}
        """Error codes by (instance type, subnet or zone); `*` and patterns work in both."""
        self.doomed: list[str] = []
        """StateReasons of the next instances, one each: they go from pending straight to terminated."""
        self.refuses_dead_tokens = False
        """AWS's list of codes has IdempotentInstanceTerminated, its page on idempotency does not: be ready for both."""

    def run(self, call: Call) -> Json:
        """RunInstances. A token counts in its zone, where the request (or its template) names one, else in the region."""
        wanted = self.resolved(call.params)
        request = {k: v for k, v in call.params.items() if k not in ("ClientToken", "DryRun")}
        key = (wanted.zone, str(call.params.get("ClientToken", "")))
        used = self._tokens.get(key) if key[1] else None
        if used:
            if used.request != request:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                )
            call.has_effect = False
            return self._replayed(used)
        answer = self.launch(wanted, str(call.params.get("ClientToken", "")))
        if key[1]:
            ids = [i["InstanceId"] for i in answer["Instances"]]
            self._tokens[key] = Token(copy.deepcopy(request), copy.deepcopy(answer), ids)
        return answer

    def _replayed(self, used: Token) -> Json:
        """Return "the same response; the only information that might vary is the state of the instance"."""
        answer: Json = copy.deepcopy(used.answer)
        for shown in answer["Instances"]:
            life = self._instances.lives.get(shown["InstanceId"])
            state = life.state if life else "terminated"
            if self.refuses_dead_tokens and (life is None or life.is_gone):
                raise AwsError("IdempotentInstanceTerminated", "The instance of this client token has been terminated.")
            shown["State"] = {"Code": CODES[state], "Name": state}
        return answer

    def resolved(self, params: Json) -> Wanted:
        """Read the launch template in, under what the request says itself; refuse what does not exist."""
        template, data = self._template(params.get("LaunchTemplate") or {})
        merged = {k: copy.deepcopy(v) for k, v in data.items() if v is not None}
        merged |= {k: v for k, v in params.items() if k not in ("LaunchTemplate", "DryRun")}
        tags: dict[str, dict[str, str]] = {}
        for spec in [*(data.get("TagSpecifications") or []), *params.get("TagSpecifications", [])]:
            tags.setdefault(spec["ResourceType"], {}).update({t["Key"]: t.get("Value", "") for t in spec["Tags"]})
        merged.pop("TagSpecifications", None)
        return Wanted(merged, tags, self._zone(merged), template)

    def launch(self, wanted: Wanted, token: str = "", group: str = "") -> Json:
        """Make the instances of a request that is no replay."""
        params = wanted.params
        self._check_image(str(params.get("ImageId", "")))
        self._check_capacity(params, wanted.zone)
        root = self._emulator.ec2().amis[params["ImageId"]].root_device_name
        disks = params.get("BlockDeviceMappings") or []
        if not any(disk["DeviceName"] == root for disk in disks):  # the image's own disk, which goes with the machine
            own = {"DeviceName": root, "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}}
            params = params | {"BlockDeviceMappings": [own, *disks]}
        count = params["MaxCount"]
        try:
            answer = self._emulator.call("ec2", "RunInstances", params | {"MinCount": count, "ClientToken": token})
        except AwsError as error:
            if error.code != "InvalidInstanceType.NotFound":  # moto's word for it
                raise
            raise AwsError(
                "InvalidParameterValue", f"Invalid value '{params['InstanceType']}' for InstanceType."
            ) from error
        reservation = self._emulator.ec2().reservations[answer["ReservationId"]]
        for instance, shown in zip(reservation.instances, answer["Instances"], strict=True):
            self._finish(instance, wanted)
            shown["Tags"] = [{"Key": t["key"], "Value": t["value"]} for t in instance.get_tags()]
            shown.pop("StateReason", None)
            doom = self.doomed.pop(0) if self.doomed else ""
            visible = self._clock.now + (0 if group else self._timing.visible)
            self._instances.adopt(Life(instance, reservation, visible, doom, group=group))
        return answer

    def _template(self, asked: Json) -> tuple[Json, Json]:
        if not asked:
            return {}, {}
        by = {"LaunchTemplateIds": "LaunchTemplateId", "LaunchTemplateNames": "LaunchTemplateName"}
        found = {many: [asked[one]] for many, one in by.items() if asked.get(one)}
        known = self._emulator.call("ec2", "DescribeLaunchTemplates", found)["LaunchTemplates"]
        if not known:
            raise AwsError(
                "InvalidLaunchTemplateId.NotFound", f"The specified launch template, {asked}, does not exist."
            )
        name = known[0]["LaunchTemplateId"]
        template = self._emulator.ec2().get_launch_template(name)
        version = asked.get("Version") or "$Default"
        numbers = {str(v.number): v for v in template.versions}
        numbers |= {"$Latest": template.latest_version(), "$Default": template.default_version()}
        if version not in numbers:
            raise AwsError(
                "InvalidLaunchTemplateId.VersionNotFound", f"Could not find launch template version {version} of {name}"
            )
        return {"id": name, "version": str(numbers[version].number)}, numbers[version].data

    def _zone(self, params: Json) -> str:
        cards = params.get("NetworkInterfaces") or [{}]
        subnet = params.get("SubnetId") or cards[0].get("SubnetId")
        if subnet:
            found = self._emulator.call("ec2", "DescribeSubnets", {"SubnetIds": [subnet]})["Subnets"]
            return str(found[0]["AvailabilityZone"])
        return str((params.get("Placement") or {}).get("AvailabilityZone", ""))

    def _check_image(self, image: str) -> None:
        if not image:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        if not image.startswith("ami-"):
            raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image}" (expecting "ami-...")')
        known = self._emulator.ec2().amis.get(image)
        if known is None:
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
        if known.state != "available":
            raise AwsError("InvalidAMIID.Unavailable", f"The image id '[{image}]' is not available")

    def _check_capacity(self, params: Json, zone: str) -> None:
        kind, subnet = str(params.get("InstanceType", "m1.small")), str(params.get("SubnetId", ""))
        for (type_, place), code in self.capacity.items():
            if fnmatchcase(kind, type_) and (fnmatchcase(subnet, place) or fnmatchcase(zone, place)):
                raise AwsError(code, CAPACITY.get(code, code))

    def _finish(self, instance: Any, wanted: Wanted) -> None:
        """Do what moto leaves out: protection, tags of everything, interfaces that go with the machine."""
        params, tags = wanted.params, dict(wanted.tags)
        if wanted.template:
            instance.add_tags({f"aws:ec2launchtemplate:{key}": value for key, value in wanted.template.items()})
        instance.disable_api_termination = bool(params.get("DisableApiTermination"))
        instance.add_tags(tags.get("instance", {}))
        for disk in instance.block_device_mapping.values():
            self._emulator.ec2().get_volume(disk.volume_id).add_tags(tags.get("volume", {}))
        kept = {
            c["DeviceIndex"] for c in params.get("NetworkInterfaces") or [] if c.get("DeleteOnTermination") is False
        }
        for index, card in instance.nics.items():
            card.add_tags(tags.get("network-interface", {}))
            card.delete_on_termination = index not in kept
        instance.security_groups = []  # moto would add them to each interface's own; they are the interface's alone
