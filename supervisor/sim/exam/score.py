"""What a run was worth: measured at the site, against what was really wrong there. Knows no healer.

cost = capacity-minutes lost beyond the oracle + 10 over-kill + 3 false quarantines + 0.5 needless launches
       + 20 (cause not named in 5 min) + 1 per page beyond one per incident
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.terms import Seconds


@dataclass(frozen=True, slots=True)
class Score:
    """One run. Times are seconds, None where it never happened; `vetoes` are sentences, empty when the run passed.

    `over_kill`: machines removed for good that were not at fault themselves. `false_quarantines`: those withdrawn or
    isolated without being at fault. `lost`: capacity-minutes below demand or below the desired size, whichever is less.
    """

    scenario: str
    fleet_size: int
    seed: int
    healer: str
    detected: Seconds | None
    named: Seconds | None
    recovered: Seconds | None
    false_quarantines: int
    over_kill: int
    lost: float
    launches: int
    needless_launches: int
    pages: int
    cause_right: bool
    held_needlessly: int
    double_serving: float
    orphans: int
    vetoes: tuple[str, ...]
    right: bool
    why: str
    cpu: Seconds = 0.0

    def cost(self, oracle_lost: float) -> float:
        """Return the cost of the run, with what the oracle could not save either taken away."""
        unnamed = 0.0 if self.cause_right and self.named is not None and self.named <= 300 else 20.0
        return (
            max(0.0, self.lost - oracle_lost)
            + 10 * self.over_kill
            + 3 * self.false_quarantines
            + 0.5 * self.needless_launches
            + unnamed
            + max(0, self.pages - 1)
        )
