"""Automatic instance repairs of an Azure scale set: at most 5 % at once, suspended while replacements keep failing.

The application health extension asks each 5 s; 3 failures in a row are Unhealthy, and silence (Unknown) counts as well.
After a change of its state a machine has 10 minutes of grace (10 to 90). Replace is the default repair: delete and
create, 5 % of the machines at once, one below 20. When repairs do not help (here: three replacements in a row never
became healthy) the service is Suspended, until a person resumes it.

Source: Azure Virtual Machine Scale Sets, "Automatic instance repairs".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member, Streak
from supervisor.sim.exam.baselines.policy import Baseline

SHARE, SMALL = 0.05, 20
FAILED_REPAIRS = 3


class AzureVmss(Baseline):
    """Few at once, and it notices when that does not help."""

    name: str = "azure-vmss"
    summary: ClassVar[str] = "3 failed probes at 5 s, delete and create, 5 % at once, stops when repairs fail"
    sight = Streak(interval=5.0, timeout=5.0, fails=3, passes=1, grace=600.0)
    obeys: ClassVar[frozenset[str]] = frozenset({"pause"})

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._failed = 0

    def fell(self, group: Group, member: Member, now: BootTime) -> None:
        """Count replacements that never became healthy."""
        self._failed = self._failed + 1 if not member.joined else self._failed

    def counted(self, group: Group, member: Member, passed: bool) -> None:
        """Forget failed replacements with the first one that works."""
        if passed and not member.joined:
            self._failed = 0
        super().counted(group, member, passed)

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return as many of the bad as may be repaired at once."""
        suspended = self._failed >= FAILED_REPAIRS
        self.brake(
            group, suspended, f"{self.name}: Suspended, {self._failed} replacements in a row never became healthy"
        )
        if suspended:
            return ()
        desired = group.policy.desired
        most = 1 if desired < SMALL else int(SHARE * desired)
        missing = max(0, desired - len(group.kept))
        under_way = missing + sum(not member.joined and member.bad_since is None for member in group.kept)
        return group.bad[: max(0, most - under_way)]
