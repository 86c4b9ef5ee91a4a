"""The settings as the core uses them: frozen, checked, durations in seconds, `judgement.speed` already applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.core.model import Lifecycle, Mode, PlannedStep, Role, Seconds


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """One check of a fleet, as the judge sees it."""

    name: str
    kind: str
    role: Role
    interval: Seconds
    timeout: Seconds


@dataclass(frozen=True, slots=True)
class RemediationPolicy:
    """One rung of the ladder: the plan that its plugin made, and where it may start from."""

    kind: str
    plan: tuple[PlannedStep, ...]
    removes: bool  # whether the patient leaves the fleet
    starts_from: frozenset[Lifecycle]


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """One fleet as the engine sees it."""

    name: str
    desired: int
    image: str  # immutable id that the configured image resolves to
    version: str
    zones: tuple[str, ...]
    checks: tuple[CheckPolicy, ...]
    ladder: tuple[RemediationPolicy, ...]
    inventory_interval: Seconds = 10.0
    environment: str = ""
    mode: Mode | None = None  # None: the supervisor's


@dataclass(frozen=True, slots=True)
class Judgement:
    """The numbers of judging and of the workflow's waits."""

    blip_rate: float = 0.01  # P(fail | well), per probe
    sick_rate: float = 0.9  # P(fail | sick), per probe
    false_alarms_per_month: float = 0.1  # per fleet
    sick_after: Seconds = 30.0  # a first failure at least this old
    well_passes: int = 2
    well_after: Seconds = 20.0
    parole_passes: int = 6
    parole_after: Seconds = 60.0
    silence_alone_after: Seconds = 180.0
    fresh_intervals: float = 2.5
    startup_passes: int = 5
    startup_span: Seconds = 20.0
    boot_deadline: Seconds = 600.0
    confirm_deadline: Seconds = 300.0
    probation: Seconds = 600.0
    probation_quiet: Seconds = 120.0
    vanished_after: Seconds = 60.0
    stopped_after: Seconds = 15.0
    amnesty_rounds: int = 2
    cold_start: Seconds = 600.0  # only one removal at a time for this long after a start
    gap_discard: Seconds = 2.0
    gap_amnesty: Seconds = 30.0


@dataclass(frozen=True, slots=True)
class Guards:
    """The thresholds of the guards. Shares are fractions of the desired size."""

    lb_floor: float = 0.5
    serving_floor: float = 0.8
    breaker_share: float = 0.3
    breaker_window: Seconds = 900.0
    breaker_quiet: Seconds = 300.0
    concurrent_share: float = 0.05
    concurrent_zone_share: float = 0.10
    hourly_share: float = 0.10
    hourly_least: int = 2
    daily_share: float = 0.25
    daily_least: int = 3
    global_hourly: int = 10
    lineage_limit: int = 3
    lineage_window: Seconds = 86400.0
    cooldown: Seconds = 600.0
    quarantine_cap: int = 2
    max_instances: int = 0  # over all fleets; 0: no limit
    launch_failures: int = 2  # in a row, in the fleet, before launching stops
    launch_half_open: Seconds = 1800.0
    launch_retry: tuple[Seconds, ...] = (0.0, 120.0, 480.0)
    result_rate: float = 0.5  # of the expected results, below which the supervisor is blind
    fresh_round: float = 0.9  # of the peers that must have answered since a suspect's first failure
    approval_valid: Seconds = 1800.0
    hold_for: Seconds = 14400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a quarantined machine is kept. Never divided by `judgement.speed`."""

    running: Seconds = 4 * 3600.0
    kept: Seconds = 72 * 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the engine is told; a reload replaces it whole."""

    mode: Mode
    fleets: Mapping[str, FleetPolicy]
    judgement: Judgement = field(default_factory=Judgement)
    guards: Guards = field(default_factory=Guards)
    retention: Retention = field(default_factory=Retention)
    surfaces: tuple[str, ...] = ()  # each gets one outbox row for each thing told
