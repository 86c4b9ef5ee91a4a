"""What all healers of Kubernetes nodes see: a node is Ready while its lease is fresh.

A node renews its lease each 10 s; here, while its liveness checks pass. 40 s without one and it is not Ready (50 s since
1.32; the shorter is kinder). A node that never joined is waited for as long as each product waits.

Source: kubernetes, node lifecycle controller's options; "Nodes" in the concepts.
"""

from __future__ import annotations

from supervisor.core.terms import Seconds
from supervisor.sim.exam.baselines.group import Group, Lease, Member

GRACE: Seconds = 40.0


def lease(startup: Seconds) -> Lease:
    """Return the lease of a node that may take so long to join."""
    return Lease(interval=10.0, timeout=3.0, grace=GRACE, startup=startup)


def tolerated(group: Group, now: float, toleration: Seconds) -> list[Member]:
    """Return those that have been not Ready for longer than is tolerated; who never joined has waited already."""
    return [
        member
        for member in group.bad
        if member.bad_since is not None and (not member.joined or now - member.bad_since >= toleration)
    ]
