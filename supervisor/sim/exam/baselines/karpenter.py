"""Karpenter's node repair: 30 minutes not Ready, while no more than 20 % of the pool are unhealthy.

Unhealthy nodes count before their 30 minutes are over; the 20 % are rounded up, so that one of three may be healed. The
replacement is started first and the old node drained for at most ten minutes; an unreachable one has nothing to drain.
The product ends such nodes by force: starting first is kinder to it.

Source: karpenter, node health controller; "Disruption", node auto repair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member
from supervisor.sim.exam.baselines.kubernetes import lease, tolerated
from supervisor.sim.exam.baselines.policy import Baseline

TOLERATION = 1800.0
SHARE = 0.2


class Karpenter(Baseline):
    """Slow, and careful."""

    name: str = "karpenter"
    summary: ClassVar[str] = "not Ready for 30 min, replacement first, stops above 20 % unhealthy"
    sight = lease(startup=900.0)
    launches_first: ClassVar[bool] = True

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return those not Ready for too long, unless more than a fifth is."""
        allowed = math.ceil(SHARE * len(group.kept))
        bad = len(group.bad)
        late = tolerated(group, now, TOLERATION)
        self.brake(group, bool(late) and bad > allowed, f"{self.name}: {bad} unhealthy, at most {allowed} allowed")
        return late if bad <= allowed else ()
