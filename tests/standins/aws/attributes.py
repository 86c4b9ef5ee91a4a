"""ModifyInstanceAttribute and ModifyNetworkInterfaceAttribute: protection, and groups that belong to one interface."""

from __future__ import annotations

from typing import Any

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.describing import groups_of
from tests.standins.aws.emulator import Emulator
from tests.standins.aws.instances import Instances, Life

FLAGS = {
    "DisableApiTermination": "disable_api_termination",
    "DisableApiStop": "disable_api_stop",
    "InstanceInitiatedShutdownBehavior": "instance_initiated_shutdown_behavior",
}
OTHERS = ("Groups", "BlockDeviceMappings", "UserData", "InstanceType", "SourceDestCheck", "EbsOptimized", "Attribute")


class Attributes:
    """What may be changed on an instance and on an interface."""

    def __init__(self, emulator: Emulator, instances: Instances) -> None:
        """Change these instances."""
        self._emulator = emulator
        self._instances = instances

    def shown(self, call: Call) -> Json:
        """DescribeInstanceAttribute: moto knows neither the groups, which are the interface's, nor the disks."""
        life = self._instances.known(call.params["InstanceId"])
        if call.params["Attribute"] == "groupSet":
            return {"InstanceId": life.id, "Groups": [{"GroupId": group.id} for group in groups_of(life)]}
        if call.params["Attribute"] == "blockDeviceMapping":
            disks = [
                {"DeviceName": name, "Ebs": {"VolumeId": d.volume_id, "DeleteOnTermination": d.delete_on_termination}}
                for name, d in life.instance.block_device_mapping.items()
            ]
            return {"InstanceId": life.id, "BlockDeviceMappings": disks}
        return self._emulator.call(call.service, call.action, call.params)

    def of_instance(self, call: Call) -> Json:
        """ModifyInstanceAttribute: one attribute at a time."""
        life = self._instances.known(call.params["InstanceId"])
        named = [name for name in (*FLAGS, *OTHERS) if name in call.params]
        if len(named) != 1:
            raise AwsError("InvalidParameterCombination", "Fields for multiple attribute types specified")
        if life.state == "terminated":
            raise AwsError("IncorrectInstanceState", f"The instance '{life.id}' is not in a state that can be changed.")
        if named[0] in FLAGS:
            call.has_effect = _set(life.instance, FLAGS[named[0]], call.params[named[0]].get("Value"))
            return {}
        if named[0] == "Groups":
            if len(life.instance.nics) > 1:
                raise AwsError(
                    "InvalidInstanceID",
                    "There are multiple interfaces attached to the instance. Please specify an interface.",
                )
            call.has_effect = self._set_groups(life.instance.nics[0], call.params["Groups"])
            return {}
        if named[0] == "BlockDeviceMappings":
            call.has_effect = _keep_disks(life, call.params["BlockDeviceMappings"])
            return {}
        return self._emulator.call(call.service, call.action, call.params)

    def of_interface(self, call: Call) -> Json:
        """ModifyNetworkInterfaceAttribute: the groups given replace those that were there, on this interface alone."""
        if not call.params.get("Groups"):
            return self._emulator.call(call.service, call.action, call.params)
        card = self._emulator.ec2().enis.get(call.params["NetworkInterfaceId"])
        if card is None:
            raise AwsError(
                "InvalidNetworkInterfaceID.NotFound",
                f"The networkInterface ID '{call.params['NetworkInterfaceId']}' does not exist",
            )
        call.has_effect = self._set_groups(card, call.params["Groups"])
        return {}

    def _set_groups(self, card: Any, names: list[str]) -> bool:  # Any: moto's object
        groups = []
        for name in names:
            group = self._emulator.ec2().get_security_group_from_id(name)
            if group is None:
                raise AwsError("InvalidGroup.NotFound", f"The security group '{name}' does not exist")
            if group.vpc_id != card.subnet.vpc_id:
                raise AwsError(
                    "InvalidParameter", "You have specified two resources that belong to different networks."
                )
            groups.append(group)
        changed = {g.id for g in card._group_set} != {g.id for g in groups}
        card._group_set = groups
        return changed


def _keep_disks(life: Life, wanted: list[Json]) -> bool:
    """Say of each disk whether it goes with the machine."""
    disks = life.instance.block_device_mapping
    unknown = [m["DeviceName"] for m in wanted if m["DeviceName"] not in disks]
    if unknown:
        raise AwsError("InvalidInstanceAttributeValue", f"No device is currently mapped at {unknown[0]}")
    changed = [_set(disks[m["DeviceName"]], "delete_on_termination", m["Ebs"]["DeleteOnTermination"]) for m in wanted]
    return any(changed)


def _set(target: Any, name: str, value: object) -> bool:  # Any: moto's objects
    changed = bool(getattr(target, name) != value)
    setattr(target, name, value)
    return changed
