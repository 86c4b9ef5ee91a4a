"""medik8s NodeHealthCheck: Ready False or Unknown for 300 s, while at least 51 % of the nodes are healthy.

`minHealthy` is rounded up; its escalating remediations end in a new machine, which is what is modelled. It can be paused
(pauseRequests).

Source: Workload Availability for Red Hat OpenShift, "Remediating nodes with Node Health Checks".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member
from supervisor.sim.exam.baselines.kubernetes import lease, tolerated
from supervisor.sim.exam.baselines.policy import Baseline

TOLERATION = 300.0
MIN_HEALTHY = 0.51


class Medik8sNhc(Baseline):
    """NodeHealthCheck: acts while the majority is healthy."""

    name: str = "medik8s-nhc"
    summary: ClassVar[str] = "not Ready for 300 s, replace, stops below 51 % healthy"
    sight = lease(startup=600.0)
    obeys: ClassVar[frozenset[str]] = frozenset({"pause"})

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return those not Ready for too long, while enough are healthy."""
        needed = math.ceil(MIN_HEALTHY * len(group.kept))
        well = len(group.well)
        late = tolerated(group, now, TOLERATION)
        self.brake(group, bool(late) and well < needed, f"{self.name}: {well} healthy, {needed} needed")
        return late if well >= needed else ()
