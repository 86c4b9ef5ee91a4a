"""Auto Scaling groups that really look after themselves: they launch, judge, terminate first and launch afterwards.

moto's groups do none of this, so they are not used. A group looks at itself every `Timing.launching` seconds of AWS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.standins.aws.balancer import Balancer
from tests.standins.aws.call import AwsError, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.instances import Instances, Life
from tests.standins.aws.launch import Launcher

NAME_TAG = "aws:autoscaling:groupName"
PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


@dataclass(slots=True)
class Member:
    """An instance in its group."""

    id: str
    since: float
    lifecycle: str = "Pending"
    health: str = "Healthy"
    is_protected: bool = False


@dataclass(slots=True)
class Group:
    """What was asked for, and what is there."""

    name: str
    asked: Json
    desired: int
    members: dict[str, Member] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    activities: list[Json] = field(default_factory=list)
    refreshes: list[Json] = field(default_factory=list)
    """What a test says is being refreshed: a group does not do it by itself."""
    look_at: float = 0.0

    @property
    def subnets(self) -> list[str]:
        """Where it launches."""
        return str(self.asked["VPCZoneIdentifier"]).split(",")

    @property
    def targets(self) -> list[str]:
        """The target groups that it keeps its members in."""
        return list(self.asked.get("TargetGroupARNs", []))

    @property
    def filling(self) -> list[Member]:
        """The members that fill a place. One that is being terminated does so until it is gone: that comes first."""
        return [m for m in self.members.values() if m.lifecycle != "Standby"]


class Groups:
    """All groups of the account."""

    def __init__(
        self, instances: Instances, launcher: Launcher, balancer: Balancer, clock: Clock, timing: Timing
    ) -> None:
        """Begin with none."""
        self.instances = instances
        self.launcher = launcher
        self.balancer = balancer
        self.clock = clock
        self._timing = timing
        self.known: dict[str, Group] = {}
        self.owner = ("", "")

    def tick(self) -> None:
        """Let each group look at itself when its time has come."""
        for group in self.known.values():
            self._settle(group)
            if self.clock.now >= group.look_at:
                group.look_at = self.clock.now + self._timing.launching
                self._judge(group)
                self._replace(group)
                self._launch(group)
                self._shrink(group)

    def member(self, instance: str) -> tuple[Group, Member]:
        """Return an instance's group, or refuse."""
        for group in self.known.values():
            if instance in group.members:
                return group, group.members[instance]
        raise AwsError(
            "ValidationError", f"Instance Id not found - No managed instance found for instance ID: {instance}"
        )

    def is_young(self, group: Group, member: Member) -> bool:
        """Within its grace period: nobody judges it yet."""
        return self.clock.now < member.since + float(group.asked.get("HealthCheckGracePeriod", 0))

    def leave(self, group: Group, member: Member) -> None:
        """Let an instance go its own way: out of the group, out of its target groups, without its tag."""
        del group.members[member.id]
        for arn in group.targets:
            self.balancer.remove(arn, member.id)
        life = self.instances.lives[member.id]
        life.instance.ec2_backend.delete_tags([life.id], {NAME_TAG: group.name})
        life.group = ""

    def end(self, group: Group, member: Member, cause: str) -> None:
        """Terminate a member; API protection does not bind the group."""
        member.lifecycle = "Terminating"
        for arn in group.targets:
            self.balancer.remove(arn, member.id)
        life = self.instances.lives[member.id]
        if not life.is_gone:
            self.instances.end(life, "terminated")
        self.note(group, f"Terminating EC2 instance: {member.id}", cause)

    @staticmethod
    def note(group: Group, what: str, cause: str, status: str = "Successful") -> None:
        """Add to the group's activities, newest first."""
        number = f"activity-{group.name}-{len(group.activities)}"
        activity = {"ActivityId": number, "AutoScalingGroupName": group.name, "Description": what, "Cause": cause}
        group.activities.insert(0, activity | {"StatusCode": status, "Progress": 100})

    # -- one look

    def _settle(self, group: Group) -> None:
        """Follow what became of the members' instances."""
        for member in list(group.members.values()):
            life = self.instances.lives.get(member.id)
            if life is None or life.state == "terminated":
                del group.members[member.id]
            elif member.lifecycle == "Pending" and life.state == "running":
                self.enter(group, member)

    def enter(self, group: Group, member: Member) -> None:
        """Put a running member into service."""
        member.lifecycle, member.since = "InService", self.clock.now
        if "AddToLoadBalancer" not in group.suspended:
            for arn in group.targets:
                self.balancer.add(arn, member.id)

    def _judge(self, group: Group) -> None:
        if "HealthCheck" in group.suspended:
            return
        for member in group.members.values():
            if member.lifecycle != "InService":
                continue
            life = self.instances.lives[member.id]
            if life.state != "running" or life.impaired:
                member.health = "Unhealthy"
            if group.asked.get("HealthCheckType") == "ELB" and not self.is_young(group, member):
                states = {self.balancer.state(arn, member.id) for arn in group.targets}
                if states & {"unhealthy", "unused", "draining"}:
                    member.health = "Unhealthy"

    def _replace(self, group: Group) -> None:
        if group.suspended & {"ReplaceUnhealthy", "Terminate"}:
            return
        for member in group.members.values():
            if member.lifecycle == "InService" and member.health == "Unhealthy":
                self.end(group, member, "an instance was taken out of service in response to a health check")

    def _launch(self, group: Group) -> None:
        if "Launch" in group.suspended:
            return
        for _ in range(group.desired - len(group.filling)):
            zones = [self.instances.lives[m.id].instance.subnet_id for m in group.filling]
            subnet = min(group.subnets, key=lambda s: (zones.count(s), group.subnets.index(s)))
            params = {"LaunchTemplate": group.asked["LaunchTemplate"], "SubnetId": subnet, "MinCount": 1, "MaxCount": 1}
            try:
                wanted = self.launcher.resolved(params)
                tags = {t["Key"]: t["Value"] for t in group.asked.get("Tags", []) if t.get("PropagateAtLaunch")}
                wanted.tags.setdefault("instance", {}).update(tags)
                answer = self.launcher.launch(wanted, group=group.name)
            except AwsError as error:
                self.note(group, "Launching a new EC2 instance", str(error), "Failed")
                return
            name = answer["Instances"][0]["InstanceId"]
            self.instances.lives[name].instance.add_tags({NAME_TAG: group.name})
            guarded = bool(group.asked.get("NewInstancesProtectedFromScaleIn"))
            group.members[name] = Member(name, self.clock.now, is_protected=guarded)
            self.note(group, f"Launching a new EC2 instance: {name}", "the desired capacity was not met")

    def _shrink(self, group: Group) -> None:
        if "Terminate" in group.suspended:
            return
        staying = [m for m in group.filling if m.lifecycle != "Terminating"]
        spare = [m for m in staying if m.lifecycle == "InService" and not m.is_protected]
        for member in spare[: max(0, len(staying) - group.desired)]:
            self.end(group, member, "the desired capacity was exceeded")

    def life(self, member: Member) -> Life:
        """Return a member's instance."""
        return self.instances.lives[member.id]

    def named(self, name: Any) -> Group:  # Any: straight from a request
        """Return a group, or refuse."""
        if name not in self.known:
            raise AwsError("ValidationError", f"AutoScalingGroup name not found - null ({name})")
        return self.known[name]
