"""The script that everybody writes first: three failed probes in a row, and the machine is replaced. No brake.

Probes each 10 s with 3 s to answer, 3 failures, 300 s of grace after a launch; terminate and launch at once. It believes
every list of machines, an empty one too.
"""

from __future__ import annotations

from typing import ClassVar

from supervisor.sim.exam.baselines.group import Streak
from supervisor.sim.exam.baselines.policy import Baseline


class Naive(Baseline):
    """Three strikes."""

    name: str = "naive"
    summary: ClassVar[str] = "3 failed probes in a row, terminate and launch, no brake"
    sight = Streak(interval=10.0, timeout=3.0, fails=3, grace=300.0)
    trusts_absence: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
