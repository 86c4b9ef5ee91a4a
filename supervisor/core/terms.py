"""The words that everything else is said in: moments, states and roles. A value of a `StrEnum` here is stored: for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

Seconds: TypeAlias = float
"""A duration in seconds. Only inside the core and its shell; people write "30s" in config.toml."""

BootTime: TypeAlias = float
"""Seconds on CLOCK_BOOTTIME: never jumps, runs on while the machine is suspended, restarts at boot."""


@dataclass(frozen=True, slots=True)
class Now:
    """The present moment: `boot` for durations, `wall` (UTC) for people and for stored deadlines."""

    boot: BootTime
    wall: datetime

    def ago(self, boot: BootTime) -> datetime:
        """Return the wall time of an earlier moment of the boot clock."""
        return self.wall - timedelta(seconds=self.boot - boot)


class Status(StrEnum):
    """One answer of a check."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"  # the check itself failed: it says nothing about the instance


class Role(StrEnum):
    """What a check may cause."""

    STARTUP = "startup"  # gates entry
    READINESS = "readiness"  # may only take out of the load balancer
    LIVENESS = "liveness"  # may condemn
    ADVISORY = "advisory"  # only reports


class Scope(StrEnum):
    """How far a check reaches: what its failure may be the fault of."""

    LOCAL = "local"  # the machine itself, asked from within
    NETWORK = "network"  # the machine, and the way to it
    DEEP = "deep"  # what the machine depends on as well: such a check can't be `liveness`


class Health(StrEnum):
    """Judged from results."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    SICK = "sick"


class Lifecycle(StrEnum):
    """Where an instance is on its way through the fleet."""

    LAUNCHING = "launching"  # -> WARMING, BOOT_FAILED
    WARMING = "warming"  # running, startup checks -> PROBATION, BOOT_FAILED
    PROBATION = "probation"  # serves, watched -> IN_SERVICE, WITHDRAWN
    IN_SERVICE = "in_service"  # -> WITHDRAWN
    WITHDRAWN = "withdrawn"  # out of the load balancer, else untouched -> PROBATION (parole), QUARANTINED
    QUARANTINED = "quarantined"  # isolated and kept -> WARMING (an operator releases it), RETIRING
    RETIRING = "retiring"  # being destroyed -> RETIRED
    RETIRED = "retired"
    BOOT_FAILED = "boot_failed"  # never served -> RETIRING


GONE = frozenset({Lifecycle.RETIRED})
COMING = frozenset({Lifecycle.LAUNCHING, Lifecycle.WARMING})
SERVING = frozenset({Lifecycle.PROBATION, Lifecycle.IN_SERVICE})


class FleetState(StrEnum):
    """A fleet in one word."""

    OPTIMAL = "optimal"  # every wanted machine serves and is healthy, no open incident
    DEGRADED = "degraded"
    DOWN = "down"  # nothing serves


class Cause(StrEnum):
    """What the sick have in common: the verdict."""

    INSTANCE = "instance"  # nothing: each for itself
    ZONE = "zone"
    SUBNET = "subnet"
    IMAGE = "image"
    COHORT = "cohort"  # hardware: launched together, of one type, on one host
    DEPENDENCY = "dependency"
    CHECK = "check"  # the check is wrong, the machines are well
    BLIND = "blind"  # the supervisor can't see
    FLEET = "fleet"  # all of them, and nobody knows why
    UNEXPLAINED = "unexplained"  # no explanation is likely enough


class Standing(StrEnum):
    """What is known of an image or a check."""

    GOOD = "good"
    SHADOW = "shadow"  # a check that is new: it is watched, and has no vote
    SUSPECT = "suspect"  # an image that failed to boot: nothing is launched from it until its trial has ended
    CONDEMNED = "condemned"  # an image that is bad, a check that lies: barred until a person, or a new version
    CLEARED = "cleared"  # an image that failed where the one before it failed too: the place is at fault


class ChangeKind(StrEnum):
    """What was changed."""

    IMAGE = "image"
    CHECK = "check"
    CONFIG = "config"
    DEPENDENCY = "dependency"
    NETWORK = "network"
    SUPERVISOR = "supervisor"


class AccessRole(StrEnum):
    """What somebody may ask of Sickbay. Each role may do what the ones before it may."""

    READ = "read"
    OPERATE = "operate"  # pause, hold, approve, and the like; and the audit log
    ADMIN = "admin"  # what destroys, or sets a guard aside

    def covers(self, needed: AccessRole) -> bool:
        """Return whether who has this role may do what needs that one."""
        order = list(AccessRole)
        return order.index(self) >= order.index(needed)


class Mode(StrEnum):
    """How much Sickbay may do by itself."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"
