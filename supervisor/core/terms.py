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


class Mode(StrEnum):
    """How much Sickbay may do by itself."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"
