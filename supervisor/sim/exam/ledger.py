"""What really happened at the site: who served, what was taken away and launched, what people were told."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from supervisor.core.terms import BootTime, Seconds
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.healer import Page

LEAST_LATE: Seconds = 30.0  # an act that was on its way when the lights went out is no act in the dark


@dataclass(frozen=True, slots=True)
class Act:
    """One order that had an effect. `guilty`: its machine was at fault itself; `cost`: what it took from visitors."""

    at: BootTime
    verb: str
    instance: str
    guilty: bool
    cost: float
    serving_after: float
    lineage: str = ""
    why_not: str = ""  # why nobody may act now: blind, paused, held


@dataclass(slots=True)
class Ledger:
    """Written by the site as things happen; read when all is over."""

    clock: Clockwork
    desired: int
    demand: int = 0
    serving: float = 0.0
    lost: Seconds = 0.0  # machine-seconds below demand
    acts: list[Act] = field(default_factory=list)
    launches: list[Act] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    first_fault: BootTime | None = None
    faults: dict[str, BootTime] = field(default_factory=dict)
    curve: list[tuple[BootTime, float]] = field(default_factory=list)
    below_since: BootTime | None = None
    whole_at: BootTime | None = None
    doubles: dict[str, BootTime] = field(default_factory=dict)
    double_serving: Seconds = 0.0
    _counted: BootTime = 0.0

    def count(self) -> None:
        """Bring the sums up to now."""
        now = self.clock.now
        self.lost += max(0.0, self.demand - self.serving) * (now - self._counted)
        self._counted = now

    def serve(self, more: float) -> None:
        """Take account of more (or less) of use."""
        self.count()
        self.serving += more
        if abs(self.serving - round(self.serving)) < 1e-6:
            self.serving = float(round(self.serving))
        self.curve.append((self.clock.now, self.serving))
        if self.serving < self.desired - 1e-6:
            self.below_since = self.clock.now if self.below_since is None else self.below_since
            self.whole_at = None
        elif self.below_since is not None and self.whole_at is None:
            self.whole_at = self.clock.now

    def want(self, desired: int) -> None:
        """Take a new size for the fleet."""
        self.count()
        self.demand = min(self.demand, desired)
        self.desired = desired

    def began(self) -> None:
        """Note that the first fault begins now."""
        if self.first_fault is None:
            self.first_fault = self.clock.now

    def fault_began(self, instance: str) -> None:
        """Note a machine that is at fault itself from now on."""
        self.faults.setdefault(instance, self.clock.now)

    def double(self, instance: str, *, double: bool) -> None:
        """Note that a machine serves although it was removed, or no longer."""
        since = self.doubles.get(instance)
        if double and since is None:
            self.doubles[instance] = self.clock.now
        elif not double and since is not None:
            self.double_serving += self.clock.now - self.doubles.pop(instance)

    def close(self) -> None:
        """End the account."""
        self.count()
        for instance in sorted(self.doubles):
            self.double(instance, double=False)

    def lb_floor(self) -> int:
        """Return how many must serve after a withdrawal."""
        return max(1, ceil(0.5 * self.desired))

    def serving_floor(self) -> int:
        """Return how many must serve after an isolation or an end."""
        return max(1, self.desired - 1) if self.desired < 5 else ceil(0.8 * self.desired)
