"""An EC2 Auto Scaling group behind an Application Load Balancer, with ELB health checks switched on.

The balancer asks each 30 s with 5 s to answer; 2 failures are unhealthy, 5 passes healthy again. EC2 status each 60 s:
impaired for three looks ("a few minutes") is unhealthy, stopped or terminated at once. 300 s of grace. The group
terminates, then launches; nothing limits how many, and a machine once found unhealthy is never taken back. The balancer
fails open when all its targets are unhealthy, which is about routing alone. That the group looks at the balancer's
findings with no delay of its own is kinder than the product.

Sources: Amazon EC2 Auto Scaling user guide, "Health checks for instances in an Auto Scaling group"; Application Load
Balancers guide, "Health checks for your target groups".
"""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.machine import Machine
from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member, Streak
from supervisor.sim.exam.baselines.policy import Baseline

IMPAIRED_LOOKS = 3


class AwsAsg(Baseline):
    """ASG + ALB: the balancer's eyes, no brake."""

    name: str = "aws-asg"
    summary: ClassVar[str] = "ALB 2 of 2 at 30 s and EC2 status at 60 s, terminate then launch, no brake"
    sight = Streak(interval=30.0, timeout=5.0, fails=2, passes=5, grace=300.0)
    listing: ClassVar[float] = 60.0
    owns_machines: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"pause"})  # its processes can be suspended

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._impaired: dict[str, int] = {}

    def look_at(self, group: Group, member: Member) -> None:
        """Take the balancer's own probe, whose answer is late by its time limit when it fails."""
        if self.desk.eyes.balancer(member.fleet, member.id):
            self.counted(group, member, True)
        else:
            self.desk.clockwork.after(self.sight.timeout, lambda: self.counted(group, member, False))

    def noticed(self, group: Group, member: Member, machine: Machine, now: BootTime) -> None:
        """Count how often the cloud called a machine impaired."""
        super().noticed(group, member, machine, now)
        count = self._impaired.get(member.id, 0) + 1 if machine.impaired else 0
        self._impaired[member.id] = count
        if count >= IMPAIRED_LOOKS:
            self.bad(group, member, now)
