"""What EC2 shows of instances: the filters that moto lacks, statuses with an opinion, and zones that cannot be asked."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.emulator import Emulator
from tests.standins.aws.instances import CODES, Instances, Life

PER_ZONE = ("DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeNetworkInterfaces")
GROUP_FILTERS = ("group-id", "instance.group-id", "network-interface.group-id")
LEFT_BY_THE_DEAD = {
    "InstanceId",
    "ImageId",
    "State",
    "StateReason",
    "StateTransitionReason",
    "InstanceType",
    "LaunchTime",
    "Placement",
    "Tags",
    "ClientToken",
    "BlockDeviceMappings",
    "AmiLaunchIndex",
    "Monitoring",
}


class Describing:
    """Answers about the instances of an account."""

    def __init__(self, emulator: Emulator, instances: Instances, clock: Clock, timing: Timing) -> None:
        """Look at these instances."""
        self._emulator = emulator
        self._instances = instances
        self._clock = clock
        self._timing = timing

    def instances(self, call: Call) -> Json:
        """DescribeInstances."""
        params = dict(call.params)
        kept: list[Json] = []
        ours: list[Json] = []
        for one in params.get("Filters", []):
            (ours if one["Name"] in ("client-token", *GROUP_FILTERS) else kept).append(one)
        if ours:
            fitting = [i for i, life in self._instances.lives.items() if all(_fits(life, f) for f in ours)]
            kept.append({"Name": "instance-id", "Values": fitting or ["i-none"]})
        params["Filters"] = kept
        if not params.get("InstanceIds"):
            params.setdefault("MaxResults", 1000)
        answer = self._emulator.call("ec2", "DescribeInstances", params)
        for reservation in answer.get("Reservations", []):
            reservation["Instances"] = [self._corrected(i) for i in reservation["Instances"]]
        return answer

    def _corrected(self, shown: Json) -> Json:
        life = self._instances.lives[shown["InstanceId"]]
        if not shown.get("StateReason", {}).get("Code"):
            shown.pop("StateReason", None)
        if life.state == "terminated":
            return {key: value for key, value in shown.items() if key in LEFT_BY_THE_DEAD}
        shown["SecurityGroups"] = [{"GroupId": g.id, "GroupName": g.name} for g in groups_of(life)]
        return shown

    def statuses(self, call: Call) -> Json:
        """DescribeInstanceStatus: what runs, or all if asked."""
        asked = call.ids("InstanceIds")
        lives = [self._instances.known(i) for i in asked] if asked else list(self._instances.lives.values())
        lives = [life for life in lives if self._clock.now >= life.visible]
        if not call.params.get("IncludeAllInstances"):
            lives = [life for life in lives if life.state == "running"]
        shown = [self._status(life) for life in lives]
        for one in call.params.get("Filters", []):
            shown = [s for s in shown if _status_fits(s, one)]
        return {"InstanceStatuses": shown}

    def _status(self, life: Life) -> Json:
        answer: Json = {
            "InstanceId": life.id,
            "AvailabilityZone": life.zone,
            "InstanceState": {"Code": CODES[life.state], "Name": life.state},
        }
        for what in ("instance", "system"):
            if life.state != "running":
                answer[f"{what.title()}Status"] = {"Status": "not-applicable"}
                continue
            young = self._clock.now < life.running + self._timing.initializing
            status = "initializing" if young else "impaired" if life.impaired == what else "ok"
            passed = {"initializing": "initializing", "impaired": "failed", "ok": "passed"}[status]
            answer[f"{what.title()}Status"] = {
                "Status": status,
                "Details": [{"Name": "reachability", "Status": passed}],
            }
        if life.id in self._instances.events:
            answer["Events"] = self._instances.events[life.id]
        return answer

    def zones_of(self, call: Call) -> set[str]:
        """Return the zones that a call needs an answer from; a description without ids or zones needs all of them."""
        wanted = [f["Values"] for f in call.params.get("Filters", []) if f["Name"] == "availability-zone"]
        if wanted:
            return {zone for values in wanted for zone in values}
        ids = set(call.ids("InstanceIds", "InstanceId", "Resources", "NetworkInterfaceIds", "NetworkInterfaceId"))
        lives = self._instances.lives.values()
        if not ids and call.action in PER_ZONE:
            return {life.zone for life in lives}
        if call.action == "RunInstances":
            return self._launching_in(call)
        return {life.zone for life in lives if ids & {life.id, *(card.id for card in life.instance.nics.values())}}

    def _launching_in(self, call: Call) -> set[str]:
        subnet = call.params.get("SubnetId")
        zones = self._emulator.call("ec2", "DescribeSubnets", {"SubnetIds": [subnet]})["Subnets"] if subnet else []
        return {zone["AvailabilityZone"] for zone in zones}

    def check_zones(self, call: Call, down: set[str]) -> None:
        """Refuse a call as a whole if it needs a zone that cannot answer."""
        broken = self.zones_of(call) & down if down and call.service == "ec2" else set()
        if broken:
            raise AwsError(
                "Unavailable", f"The server is overloaded and can't handle the request ({', '.join(broken)})."
            )


def groups_of(life: Life) -> list[Any]:  # Any: moto's objects
    """Return the security groups of an instance's primary interface, which are what EC2 calls the instance's."""
    return list(life.instance.nics[0].group_set) if 0 in life.instance.nics else []


def _fits(life: Life, wanted: Json) -> bool:
    if wanted["Name"] == "client-token":
        return any(fnmatchcase(str(life.instance.client_token), value) for value in wanted["Values"])
    return any(group.id in wanted["Values"] for group in groups_of(life))


def _status_fits(shown: Json, wanted: Json) -> bool:
    found = {
        "availability-zone": [shown["AvailabilityZone"]],
        "instance-state-name": [shown["InstanceState"]["Name"]],
        "instance-status.status": [shown["InstanceStatus"]["Status"]],
        "system-status.status": [shown["SystemStatus"]["Status"]],
        "event.code": [event["Code"] for event in shown.get("Events", [])],
    }
    if wanted["Name"] not in found:
        raise AwsError("InvalidParameterValue", f"The filter '{wanted['Name']}' is invalid")
    return bool(set(found[wanted["Name"]]) & set(wanted["Values"]))
