"""Netflix Eureka: a registry that expires who does not renew, unless too many do not.

A renewal each 30 s, three missed ones expire a machine, a sweep each 60 s. Self-preservation: when fewer than 85 % of the
expected renewals arrive, nobody is expired. It replaces nothing, and takes back who renews again.

Source: Netflix Eureka wiki, "Understanding Eureka Peer to Peer Communication".
"""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.requests import Deregister, Register
from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Lease, Member
from supervisor.sim.exam.baselines.policy import Baseline

RENEWAL_SHARE = 0.85
SWEEP = 60.0


class Eureka(Baseline):
    """Expires, and preserves itself."""

    name: str = "eureka"
    summary: ClassVar[str] = "3 missed renewals of 30 s expire, none below 85 % of renewals; replaces nothing"
    sight = Lease(interval=30.0, timeout=3.0, grace=90.0, startup=600.0)

    def __init__(self) -> None:
        """Begin with nobody expired."""
        super().__init__()
        self._out: set[str] = set()
        self._swept_at: dict[str, BootTime] = {}

    def due(self, group: Group, now: BootTime) -> list[Member]:
        """Expire at each sweep; take back who renewed."""
        for member in group.well:
            if member.id in self._out:
                self._out.discard(member.id)
                self.desk.cloud.perform(Register(member.fleet, member.id, self._token()), lambda _: None)
        if now - self._swept_at.get(group.policy.name, 0.0) < SWEEP:
            return []
        self._swept_at[group.policy.name] = now
        renewing = sum(now - member.passed_at <= self.sight.interval * 2 for member in group.kept)
        preserving = renewing < RENEWAL_SHARE * len(group.kept)
        self.brake(group, preserving, f"{self.name}: self-preservation, {renewing} of {len(group.kept)} renew")
        for member in group.bad if not preserving else []:
            if member.id not in self._out:
                self._out.add(member.id)
                self.desk.cloud.perform(Deregister(member.fleet, member.id, self._token()), lambda _: None)
        return []

    def _fill(self, group: Group, now: BootTime) -> None:
        """Launch nothing."""
