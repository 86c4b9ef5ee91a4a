"""A world to heal in: a network in two zones, a golden image and its template, a load balancer, and groups to isolate with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.standins.aws.call import Json
from tests.standins.aws.cloud import Aws

FLEET = "web"


@dataclass(frozen=True, slots=True)
class World:
    """The names of what was built. Subnets are by zone."""

    aws: Aws
    vpc: str
    subnets: dict[str, str]
    image: str
    template: str
    serving: str
    """The security group of machines that serve."""
    isolation: str
    """A group without any rule."""
    untrack: str
    """A group that lets everything through both ways, so that no connection is tracked."""
    target_group: str
    load_balancer: str
    group: str = ""
    """The Auto Scaling group, if one was wanted."""

    @property
    def zones(self) -> list[str]:
        """The two zones."""
        return list(self.subnets)

    def request(self, token: str, zone: str = "", **other: Any) -> Json:  # Any: parameters of RunInstances
        """Return RunInstances' parameters as the daemon would journal them."""
        tags = [{"Key": "sickbay:launch-id", "Value": token}]
        return {
            "LaunchTemplate": {"LaunchTemplateId": self.template, "Version": "1"},
            "SubnetId": self.subnets[zone or self.zones[0]],
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": token,
            "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        } | other

    def launch(self, count: int = 1) -> list[str]:
        """Start some machines in turn over the zones, as a person would have, and let them boot."""
        names = []
        for number in range(count):
            request = self.request("", self.zones[number % 2])
            del request["ClientToken"], request["TagSpecifications"]
            names.append(self.aws.do("ec2", "RunInstances", **request)["Instances"][0]["InstanceId"])
        timing = self.aws.timing
        self.aws.forward(max(timing.visible, timing.pending) + timing.booting + timing.initializing)
        return names

    def register(self, *names: str) -> None:
        """Put machines into the target group, as a person would have."""
        self.aws.do(
            "elbv2", "RegisterTargets", TargetGroupArn=self.target_group, Targets=[{"Id": name} for name in names]
        )

    def health(self, name: str) -> tuple[str, str]:
        """Return a target's state and reason."""
        found = self.aws.do("elbv2", "DescribeTargetHealth", TargetGroupArn=self.target_group, Targets=[{"Id": name}])
        health = found["TargetHealthDescriptions"][0]["TargetHealth"]
        return health["State"], health.get("Reason", "")


def build(aws: Aws, *, group_size: int = 0) -> World:
    """Build the world; with a `group_size`, an Auto Scaling group of so many machines, registered with the load balancer."""
    ec2, elbv2 = partial(aws.do, "ec2"), partial(aws.do, "elbv2")
    net = f"127.{random.randrange(16, 250)}"  # worlds of other tests live on the same loopback
    vpc = ec2("CreateVpc", CidrBlock=f"{net}.0.0/16")["Vpc"]["VpcId"]
    subnets = {}
    for number, letter in enumerate("ab"):
        made = ec2(
            "CreateSubnet", VpcId=vpc, CidrBlock=f"{net}.{16 * number}.0/20", AvailabilityZone=aws.region + letter
        )
        subnets[aws.region + letter] = made["Subnet"]["SubnetId"]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    groups = {}
    for name in ("serving", "isolation", "untrack"):
        groups[name] = ec2("CreateSecurityGroup", GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    port = {"FromPort": aws.machines.port, "ToPort": aws.machines.port}
    web_only = [{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} | port]
    ec2("AuthorizeSecurityGroupIngress", GroupId=groups["serving"], IpPermissions=web_only)
    ec2("AuthorizeSecurityGroupIngress", GroupId=groups["untrack"], IpPermissions=everything)
    ec2("RevokeSecurityGroupEgress", GroupId=groups["isolation"], IpPermissions=everything)
    ec2("CreateTags", Resources=[groups["serving"]], Tags=[{"Key": "sickbay:fleet", "Value": FLEET}])
    image = ec2("RegisterImage", Name=f"{FLEET}-1.0.0", RootDeviceName="/dev/sda1")["ImageId"]
    ec2("CreateTags", Resources=[image], Tags=[{"Key": "sickbay:golden", "Value": FLEET}])
    template = ec2(
        "CreateLaunchTemplate", LaunchTemplateName=FLEET, LaunchTemplateData=template_data(image, groups["serving"])
    )["LaunchTemplate"]["LaunchTemplateId"]
    balancer = elbv2("CreateLoadBalancer", Name=FLEET, Subnets=list(subnets.values()))["LoadBalancers"][0]
    target_group = elbv2(
        "CreateTargetGroup",
        Name=FLEET,
        Protocol="HTTP",
        Port=aws.machines.port,
        VpcId=vpc,
        HealthCheckPath="/health",
        HealthCheckIntervalSeconds=10,
        HealthCheckTimeoutSeconds=5,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elbv2(
        "CreateListener",
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
    )
    if group_size:
        aws.do(
            "autoscaling",
            "CreateAutoScalingGroup",
            AutoScalingGroupName=FLEET,
            LaunchTemplate={"LaunchTemplateId": template, "Version": "$Default"},
            MinSize=group_size,
            MaxSize=group_size + 2,
            VPCZoneIdentifier=",".join(subnets.values()),
            TargetGroupARNs=[target_group],
            HealthCheckType="EC2",
            HealthCheckGracePeriod=0,
            Tags=[{"Key": "sickbay:fleet", "Value": FLEET, "PropagateAtLaunch": False}],
        )
    return World(
        aws,
        vpc,
        subnets,
        image,
        template,
        groups["serving"],
        groups["isolation"],
        groups["untrack"],
        target_group,
        balancer["LoadBalancerArn"],
        FLEET if group_size else "",
    )


def template_data(image: str, group: str) -> Json:
    """Return a launch template's data: all that a machine of the fleet carries from its first moment."""
    tags = [{"Key": "sickbay:fleet", "Value": FLEET}]
    kinds = ("instance", "volume", "network-interface")
    return {
        "ImageId": image,
        "InstanceType": "t3.micro",
        "SecurityGroupIds": [group],
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in kinds],
    }
