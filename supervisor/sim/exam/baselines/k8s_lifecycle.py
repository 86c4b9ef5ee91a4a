"""The node lifecycle controller of Kubernetes: taints nodes that are not Ready, one zone at its own pace.

40 s without a lease, then a taint, 0.1 a second in each zone; 300 s after its taint a node's pods are evicted, and here
the node is replaced. A zone with more than two and at least 55 % not Ready is in partial disruption: 0.01 a second if it
has more than 50 nodes, else none. A zone that is down as a whole goes on at the normal pace, unless all zones are: then
nothing is evicted, and when that ends, all timers start afresh. 60 s for a node to join.

Source: kubernetes, node lifecycle controller and its options; "Nodes", rate limits on eviction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from supervisor.core.terms import BootTime
from supervisor.sim.exam.baselines.group import LONG_AGO, Group, Member
from supervisor.sim.exam.baselines.kubernetes import lease
from supervisor.sim.exam.baselines.policy import Baseline

NORMAL_RATE, REDUCED_RATE = 0.1, 0.01
UNHEALTHY_SHARE, UNHEALTHY_LEAST, LARGE_ZONE = 0.55, 2, 50
TOLERATION = 300.0


class K8sLifecycle(Baseline):
    """Evicts by zones."""

    name: str = "k8s-node-lifecycle"
    summary: ClassVar[str] = "not Ready for 40 s, taint by zones' rates, evict 300 s later"
    # What never joined has no pods to evict: it is given up as a launch that failed, after CAPI's ten minutes.
    sight = lease(startup=600.0)

    def __init__(self) -> None:
        """Begin without taints."""
        super().__init__()
        self._tainted: dict[str, BootTime] = {}
        self._next_taint: dict[tuple[str, str], BootTime] = {}
        self._all_down: set[str] = set()

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Taint at each zone's pace; return those whose taint is older than their pods tolerate."""
        bad = group.bad
        for member in group.well:
            self._tainted.pop(member.id, None)
        zones: dict[str, list[Member]] = defaultdict(list)
        for member in group.kept:
            zones[member.zone].append(member)
        unready = {zone: [m for m in members if m.bad_since is not None] for zone, members in zones.items()}
        all_down = bool(zones) and all(len(unready[zone]) == len(members) for zone, members in zones.items())
        self.brake(group, all_down, f"{self.name}: all zones are down, nothing is evicted")
        if all_down:
            self._all_down.add(group.policy.name)
            return ()
        if group.policy.name in self._all_down:
            self._all_down.discard(group.policy.name)
            self._tainted.clear()
        for zone, members in sorted(zones.items()):
            self._taint(group, zone, members, unready[zone], now)
        return [m for m in bad if now - self._tainted.get(m.id, now) >= TOLERATION or not m.joined]

    def _taint(self, group: Group, zone: str, members: list[Member], unready: list[Member], now: BootTime) -> None:
        rate = NORMAL_RATE
        if (
            len(unready) != len(members)
            and len(unready) > UNHEALTHY_LEAST
            and len(unready) / len(members) >= UNHEALTHY_SHARE
        ):
            rate = REDUCED_RATE if len(members) > LARGE_ZONE else 0.0
        key = (group.policy.name, zone)
        for member in sorted(unready, key=lambda m: (m.bad_since or LONG_AGO, m.id)):
            if member.id in self._tainted:
                continue
            if rate == 0.0 or self._next_taint.get(key, LONG_AGO) > now:
                return
            self._tainted[member.id] = now
            self._next_taint[key] = now + 1 / rate
