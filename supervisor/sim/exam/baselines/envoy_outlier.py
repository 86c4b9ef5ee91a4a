"""Envoy's outlier detection: it only takes machines out of the routing, and puts them back.

5 consecutive errors eject a host for 30 s times how often it was ejected; at most 10 % of the hosts are out, though
always one may be; below 50 % available it panics and routes to all, which ejects nobody. Requests are modelled as one
look of the balancer's a second; sweeps each 10 s bring hosts back. It replaces nothing.

Source: Envoy documentation, "Outlier detection".
"""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.requests import Deregister, Register
from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import Group, Member, Streak
from supervisor.sim.exam.baselines.policy import Baseline

BASE_EJECTION = 30.0
LONGEST_EJECTION = 300.0
MOST_EJECTED = 0.1
SWEEP = 10.0


class EnvoyOutlier(Baseline):
    """Ejects for a while."""

    name: str = "envoy-outlier"
    summary: ClassVar[str] = "5 errors in a row eject for 30 s times the count, 10 % at most; replaces nothing"
    sight = Streak(interval=1.0, timeout=1.0, fails=5)

    def __init__(self) -> None:
        """Begin with nobody ejected."""
        super().__init__()
        self._times: dict[str, int] = {}
        self._out: set[str] = set()

    def look_at(self, group: Group, member: Member) -> None:
        """Send a request, unless the host is ejected and gets none."""
        if member.id not in self._out:
            self.counted(group, member, bool(self.desk.eyes.balancer(member.fleet, member.id)))

    def due(self, group: Group, now: BootTime) -> list[Member]:
        """Eject instead of taking away."""
        for member in group.bad:
            if member.id not in self._out and len(self._out) < max(1, int(MOST_EJECTED * len(group.kept))):
                self._eject(group, member)
        return []

    def _eject(self, group: Group, member: Member) -> None:
        self._out.add(member.id)
        self._times[member.id] = self._times.get(member.id, 0) + 1
        self.desk.cloud.perform(Deregister(member.fleet, member.id, self._token()), lambda _: None)
        spell = min(LONGEST_EJECTION, BASE_EJECTION * self._times[member.id])

        def back() -> None:
            self._out.discard(member.id)
            member.fails, member.bad_since = 0, None
            if group.members.get(member.id) is member:
                self.desk.cloud.perform(Register(member.fleet, member.id, self._token()), lambda _: None)

        self.desk.clockwork.after(spell - spell % SWEEP + SWEEP, back)

    def _fill(self, group: Group, now: BootTime) -> None:
        """Launch nothing: it is no healer of machines."""
