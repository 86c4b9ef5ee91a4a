"""The options of a fleet on AWS: the table `[fleet.NAME.ec2]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SecurityGroup = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
Subnet = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
TargetGroup = Annotated[
    str,
    Field(pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[A-Za-z0-9-]+/[0-9a-f]+$"),
]


class Ec2Options(BaseModel):
    """A fleet of EC2 instances, launched from one launch template.

    Credentials come from boto3's own chain (an instance's role, the environment, a profile); never from this file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    """The AWS region, such as "eu-central-1"."""
    profile: str = ""
    """A profile of the AWS configuration files; "" for boto3's default chain."""
    launch_template: str = Field(pattern=r"^lt-[0-9a-f]{8,17}$")
    """The id of the launch template. It must tag what it makes with `sickbay:fleet` = the fleet's name."""
    template_version: Annotated[int, Field(ge=1)] | Literal["$Default", "$Latest"] = "$Default"
    """Its version; "$Default" and "$Latest" are resolved to a number at each start and reload, never in between."""
    subnets: Annotated[tuple[Subnet, ...], Field(min_length=1)]
    """Where machines are launched: spread over their zones, earlier ones first."""
    types: tuple[InstanceType, ...] = ()
    """Instance types, tried in this order when AWS has no capacity; empty: the template's own."""
    target_groups: tuple[TargetGroup, ...] = ()
    """The ARNs of the load balancer's target groups in which every machine serves."""
    auto_scaling_group: str = Field(default="", max_length=255)
    """The Auto Scaling group that owns the machines: then it launches and registers, and we detach what is sick."""
    isolation_group: SecurityGroup
    """A security group without any rule, in the machines' VPC: what is set aside gets this one alone."""
    untrack_group: SecurityGroup | None = None
    """A security group open both ways, set for a moment before the isolation group, so that open connections end."""
    snapshot: bool = True
    """Whether the volumes of a machine that is set aside are snapshotted."""
    hourly_price: float = Field(default=0.0, ge=0.0)
    """What one machine costs an hour, for the limit on what quarantine may cost; 0 for not known."""

    @model_validator(mode="after")
    def _each_once(self) -> Ec2Options:
        for name in ("subnets", "types", "target_groups"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names one of its values twice")
        if self.untrack_group == self.isolation_group:
            raise ValueError(
                "untrack_group and isolation_group are the same; the first lets all through, the second nothing"
            )
        return self
