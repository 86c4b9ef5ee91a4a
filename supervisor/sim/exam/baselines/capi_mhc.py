"""Cluster API's MachineHealthCheck: Ready False or Unknown for 300 s, and the machine is deleted and made again.

`unhealthyLessThanOrEqualTo` is 100 % where nothing is said, which is no brake; its guide's example is 40 %. The share is
rounded down, and machines that are not Ready count before their 300 s are over. 600 s for a node to join. Machines can
be excepted (skip-remediation), and all of it paused.

Source: The Cluster API Book, "Configure a MachineHealthCheck"; machinehealthcheck controller.
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


class CapiMhc(Baseline):
    """MachineHealthCheck as it is installed: no brake."""

    name: str = "capi-mhc-100"
    summary: ClassVar[str] = "not Ready for 300 s, delete and recreate, no brake (the default of 100 %)"
    share: ClassVar[float] = 1.0
    sight = lease(startup=600.0)
    obeys: ClassVar[frozenset[str]] = frozenset({"pause", "hold"})

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return those not Ready for too long, unless too many are not Ready."""
        unwell = len(group.kept) - len(group.well)
        allowed = math.floor(self.share * len(group.kept))
        late = tolerated(group, now, TOLERATION)
        self.brake(
            group, bool(late) and unwell > allowed, f"{self.name}: {unwell} unhealthy, at most {allowed} allowed"
        )
        return late if unwell <= allowed else ()


class CapiMhc40(CapiMhc):
    """MachineHealthCheck as its guide shows it."""

    name: str = "capi-mhc-40"
    summary: ClassVar[str] = "not Ready for 300 s, delete and recreate, stops above 40 % unhealthy"
    share: ClassVar[float] = 0.4
