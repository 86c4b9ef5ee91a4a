"""The machines of one fleet as a baseline sees them, and how it tells a well one from one that is not."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.core.settings import FleetPolicy
from supervisor.core.terms import BootTime, Seconds

LONG_AGO = float("-inf")


@dataclass(slots=True)
class Member:
    """One machine. `bad_since` is when it was found unhealthy, None while it is not."""

    id: str
    fleet: str
    zone: str
    slot: str  # the machine whose place it took
    since: BootTime  # running since; LONG_AGO for those that served before anybody looked
    joined: bool = False  # it passed once
    fails: int = 0  # in a row
    passes: int = 0  # in a row
    passed_at: BootTime = LONG_AGO
    bad_since: BootTime | None = None
    replacing: bool = False  # its replacement is on the way; it stays until that one is there
    leaving: bool = False  # its end was asked for
    running: bool = True


@dataclass(slots=True)
class Group:
    """One fleet: its members, and the launches that are under way."""

    policy: FleetPolicy
    members: dict[str, Member] = field(default_factory=dict)
    launching: int = 0  # asked for, not answered yet
    vacant: list[str] = field(default_factory=list)  # places of those that are gone
    wait_until: BootTime = LONG_AGO  # the cloud said no: not before then
    refused_zones: dict[str, BootTime] = field(default_factory=dict)

    @property
    def kept(self) -> list[Member]:
        """Members that are to stay, oldest first by id."""
        return [member for member in self.members.values() if not member.leaving]

    @property
    def bad(self) -> list[Member]:
        """Kept members that are unhealthy now, those longest so first."""
        found = [member for member in self.kept if member.bad_since is not None]
        return sorted(found, key=lambda member: (member.bad_since, member.id))

    @property
    def well(self) -> list[Member]:
        """Kept members that joined and are healthy now."""
        return [member for member in self.kept if member.joined and member.bad_since is None]

    def forget(self, member: Member) -> None:
        """Note that a machine is gone; its place is vacant."""
        if self.members.pop(member.id, None) is not None:
            self.vacant.append(member.slot)

    def zone_for_next(self, now: BootTime) -> str:
        """Return the zone with the fewest members, among those that refused nothing lately."""
        counts = dict.fromkeys(self.policy.zones, 0)
        for member in self.kept:
            counts[member.zone] = counts.get(member.zone, 0) + 1
        open_zones = [zone for zone in self.policy.zones if self.refused_zones.get(zone, LONG_AGO) <= now]
        return min(open_zones or self.policy.zones, key=lambda zone: (counts[zone], zone))


@dataclass(frozen=True, slots=True)
class Streak:
    """Health by counting: so many failed probes in a row are bad, so many passed ones are well again.

    While a machine is younger than `grace`, it is not judged.
    """

    interval: Seconds
    timeout: Seconds
    fails: int
    passes: int = 1
    grace: Seconds = 0.0

    def judge(self, member: Member, now: BootTime) -> bool | None:
        """Return whether a machine is well; None while nothing can be said that would change what was."""
        if member.fails >= self.fails:
            return None if now - member.since < self.grace else False
        return True if member.passes >= self.passes else None


@dataclass(frozen=True, slots=True)
class Lease:
    """Health by a lease that each passed probe renews: a machine whose lease ran out is bad, until it renews it.

    A machine that never renewed one is bad after `startup`.
    """

    interval: Seconds
    timeout: Seconds
    grace: Seconds
    startup: Seconds

    def judge(self, member: Member, now: BootTime) -> bool | None:
        """Return whether a machine is well."""
        if not member.joined:
            return False if now - member.since > self.startup else None
        return now - member.passed_at <= self.grace
