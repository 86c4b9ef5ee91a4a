"""The actions of Auto Scaling: what they change in a group, and how a group is shown."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.groups import PROCESSES, Group, Groups, Member


class Scaling:
    """Auto Scaling's API over the groups."""

    def __init__(self, groups: Groups) -> None:
        """Act on these groups."""
        self._groups = groups
        self.actions = {
            "CreateAutoScalingGroup": self._create,
            "UpdateAutoScalingGroup": self._update,
            "DeleteAutoScalingGroup": self._delete,
            "SetDesiredCapacity": self._update,
            "DescribeAutoScalingGroups": self._describe,
            "DescribeAutoScalingInstances": self._instances,
            "DescribeInstanceRefreshes": self._refreshes,
            "DescribeScalingActivities": self._activities,
            "DetachInstances": self._detach,
            "EnterStandby": self._enter_standby,
            "ExitStandby": self._exit_standby,
            "SetInstanceHealth": self._set_health,
            "SetInstanceProtection": self._protect,
            "SuspendProcesses": self._suspend,
            "ResumeProcesses": self._resume,
            "TerminateInstanceInAutoScalingGroup": self._terminate,
        }

    def _create(self, call: Call) -> Json:
        name = call.params["AutoScalingGroupName"]
        if name in self._groups.known:
            raise AwsError("AlreadyExists", f"AutoScalingGroup by this name already exists - {name}")
        if "LaunchTemplate" not in call.params or "VPCZoneIdentifier" not in call.params:
            raise AwsError("ValidationError", "the stand-in wants a LaunchTemplate and a VPCZoneIdentifier")
        desired = int(call.params.get("DesiredCapacity") or call.params["MinSize"])
        self._groups.known[name] = Group(name, dict(call.params), desired)
        return {}

    def _update(self, call: Call) -> Json:
        group = self._group(call)
        group.asked |= call.params
        group.desired = int(call.params.get("DesiredCapacity", group.desired))
        return {}

    def _delete(self, call: Call) -> Json:
        group = self._group(call)
        if group.members and not call.params.get("ForceDelete"):
            raise AwsError("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances in it.")
        for member in group.members.values():
            self._groups.end(group, member, "the group was deleted")
        del self._groups.known[group.name]
        return {}

    def _describe(self, call: Call) -> Json:
        names = call.ids("AutoScalingGroupNames")
        return {
            "AutoScalingGroups": [self._shown(g) for g in self._groups.known.values() if not names or g.name in names]
        }

    def _instances(self, call: Call) -> Json:
        wanted = call.ids("InstanceIds")
        shown = [
            self._member(group, member) | {"AutoScalingGroupName": group.name, "HealthStatus": member.health.upper()}
            for group in self._groups.known.values()
            for member in group.members.values()
            if not wanted or member.id in wanted
        ]
        return {"AutoScalingInstances": shown}

    def _activities(self, call: Call) -> Json:
        return {"Activities": [a | {"StartTime": datetime.now(UTC)} for a in self._group(call).activities]}

    def _refreshes(self, call: Call) -> Json:
        return {"InstanceRefreshes": self._group(call).refreshes}

    def _detach(self, call: Call) -> Json:
        group, members = self._members(call, {"InService", "Standby"})
        self._decrement(call, group, len(members))
        for member in members:
            self._groups.leave(group, member)
            self._groups.note(group, f"Detaching EC2 instance: {member.id}", "in response to a user request")
        return {"Activities": [a | {"StartTime": datetime.now(UTC)} for a in group.activities[: len(members)]]}

    def _enter_standby(self, call: Call) -> Json:
        group, members = self._members(call, {"InService"})
        self._decrement(call, group, len(members))
        for member in members:
            member.lifecycle = "Standby"
            for arn in group.targets:
                self._groups.balancer.remove(arn, member.id)
        return {"Activities": []}

    def _exit_standby(self, call: Call) -> Json:
        group, members = self._members(call, {"Standby"})
        group.desired += len(members)
        for member in members:
            self._groups.enter(group, member)
        return {"Activities": []}

    def _set_health(self, call: Call) -> Json:
        group, member = self._groups.member(call.params["InstanceId"])
        respects = call.params.get("ShouldRespectGracePeriod", True)
        spared = call.params["HealthStatus"] == "Unhealthy" and respects and self._groups.is_young(group, member)
        call.has_effect = not spared and member.health != call.params["HealthStatus"]
        if not spared:
            member.health = call.params["HealthStatus"]
        return {}

    def _protect(self, call: Call) -> Json:
        for member in self._members(call, {"InService", "Standby"})[1]:
            member.is_protected = bool(call.params["ProtectedFromScaleIn"])
        return {}

    def _suspend(self, call: Call) -> Json:
        self._group(call).suspended |= set(call.ids("ScalingProcesses") or PROCESSES)
        return {}

    def _resume(self, call: Call) -> Json:
        self._group(call).suspended -= set(call.ids("ScalingProcesses") or PROCESSES)
        return {}

    def _terminate(self, call: Call) -> Json:
        group, member = self._groups.member(call.params["InstanceId"])
        self._decrement(call, group, 1)
        self._groups.end(group, member, "in response to a user request")
        return {"Activity": group.activities[0] | {"StartTime": datetime.now(UTC)}}

    def _decrement(self, call: Call, group: Group, count: int) -> None:
        if not call.params["ShouldDecrementDesiredCapacity"]:
            return
        if group.desired - count < int(group.asked["MinSize"]):
            raise AwsError(
                "ValidationError",
                f"Currently, desiredSize equals minSize ({group.desired}). Terminating instance without replacement will"
                " violate group's min size constraint.",
            )
        group.desired -= count

    def _group(self, call: Call) -> Group:
        return self._groups.named(call.params["AutoScalingGroupName"])

    def _members(self, call: Call, states: set[str]) -> tuple[Group, list[Member]]:
        group = self._group(call)
        for name in call.ids("InstanceIds"):
            if name not in group.members:
                raise AwsError(
                    "ValidationError", f"The instance {name} is not part of Auto Scaling group {group.name}."
                )
            if group.members[name].lifecycle not in states:
                raise AwsError("ValidationError", f"The instance {name} is not in {' or '.join(sorted(states))}.")
        return group, [group.members[name] for name in call.ids("InstanceIds")]

    def _shown(self, group: Group) -> Json:
        asked = {k: v for k, v in group.asked.items() if k not in ("Tags", "TargetGroupARNs", "DesiredCapacity")}
        named = {"ResourceId": group.name, "ResourceType": "auto-scaling-group"}
        account, region = self._groups.owner
        return asked | {
            "AutoScalingGroupARN": f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:0:autoScalingGroupName/{group.name}",
            "DesiredCapacity": group.desired,
            "DefaultCooldown": 300,
            "AvailabilityZones": sorted({self._groups.life(m).zone for m in group.members.values()}),
            "HealthCheckType": group.asked.get("HealthCheckType", "EC2"),
            "HealthCheckGracePeriod": group.asked.get("HealthCheckGracePeriod", 0),
            "CreatedTime": datetime.now(UTC),
            "TargetGroupARNs": group.targets,
            "Instances": [self._member(group, m) for m in group.members.values()],
            "SuspendedProcesses": [{"ProcessName": p, "SuspensionReason": ""} for p in sorted(group.suspended)],
            "Tags": [named | tag for tag in group.asked.get("Tags", [])],
        }

    def _member(self, group: Group, member: Member) -> Json:
        life = self._groups.life(member)
        version = life.tags.get("aws:ec2launchtemplate:version", "")
        template = {"LaunchTemplateId": life.tags.get("aws:ec2launchtemplate:id", ""), "Version": version}
        return {
            "InstanceId": member.id,
            "InstanceType": life.instance.instance_type,
            "AvailabilityZone": life.zone,
            "LifecycleState": member.lifecycle,
            "HealthStatus": member.health,
            "LaunchTemplate": template,
            "ProtectedFromScaleIn": member.is_protected,
        }
