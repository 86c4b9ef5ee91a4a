"""Autohealing of a Google managed instance group: fast, and all but one machine at a time.

Probes each 5 s with 5 s to answer; 2 failures are unhealthy. Failures in the first 300 s (`initialDelaySec`, 0 to 3600)
are ignored. A machine that the cloud does not show running is recreated as well. Fewer than the group's size are healed
at the same time, and that is the only brake.

Source: Compute Engine, "Set up an application-based health check and autohealing"; API, InstanceGroupManagerAutoHealingPolicy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member, Streak
from supervisor.sim.exam.baselines.policy import Baseline


class GcpMig(Baseline):
    """The fastest of them."""

    name: str = "gcp-mig"
    summary: ClassVar[str] = "2 failed probes at 5 s, recreate, all but one at once"
    sight = Streak(interval=5.0, timeout=5.0, fails=2, passes=2, grace=300.0)
    owns_machines: ClassVar[bool] = True

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return the bad, as long as one machine of the group is not being recreated."""
        missing = max(0, group.policy.desired - len(group.kept))
        being_made = missing + sum(not member.joined and member.bad_since is None for member in group.kept)
        return group.bad[: max(0, max(1, group.policy.desired - 1) - being_made)]
