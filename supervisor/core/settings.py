"""The settings as the core uses them: frozen, checked, durations in seconds, `judgement.speed` already applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from supervisor.core.journal import PlannedStep, Subject, Verb
from supervisor.core.machine import Offer, Placement
from supervisor.core.requests import Words
from supervisor.core.terms import Lifecycle, Mode, Role, Scope, Seconds

GROUPS_OWN = frozenset({Verb.WITHDRAW, Verb.REGISTER})
"""What an Auto Scaling group does for its members: one that we withdrew first, it might destroy as unhealthy."""


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """One check of a fleet, as the judge sees it."""

    name: str
    kind: str
    role: Role
    interval: Seconds
    timeout: Seconds
    scope: Scope = Scope.NETWORK
    depends_on: tuple[str, ...] = ()  # dependencies that it asks on the way: database, dns
    version: str = ""  # a fingerprint of its kind, options and code: another one is another check


@dataclass(frozen=True, slots=True)
class RemediationPolicy:
    """One rung of the ladder: the plan that its plugin made, and where it may start from."""

    kind: str
    plan: tuple[PlannedStep, ...]
    removes: bool  # whether the patient leaves the fleet
    starts_from: frozenset[Lifecycle]

    def within_group(self) -> RemediationPolicy:
        """Return the plan for a machine of a group: without what the group does itself."""
        kept = (step for step in self.plan if step.subject is Subject.PATIENT and step.verb not in GROUPS_OWN)
        return replace(self, plan=tuple(kept))


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
    recipe: Words = ()  # how the image is launched, in the provider's own terms
    placements: tuple[Placement, ...] = ()  # where exactly, best first; one for each zone when none is given
    terms: str = ""  # which configuration of the provider the offer answers
    group: str = ""  # an Auto Scaling group that launches and registers; then we don't
    hourly_price: float = 0.0  # of one machine; 0: not known
    balanced: bool = True  # a load balancer says who serves
    stateful: bool = False  # a wrong removal costs more: better odds are needed

    @property
    def offer(self) -> Offer:
        """What it is launched from."""
        return Offer(self.image, self.version, self.recipe, self.places)

    @property
    def places(self) -> tuple[Placement, ...]:
        """Where it may launch, best first."""
        return self.placements or tuple(Placement(zone) for zone in self.zones)

    @property
    def rungs(self) -> tuple[RemediationPolicy, ...]:
        """The ladder as it is climbed: a group that launches and registers does so unasked, once one of its own leaves."""
        return tuple(rung.within_group() for rung in self.ladder) if self.group else self.ladder

    def resolved(self, offer: Offer) -> FleetPolicy:
        """Take an offer of its cloud."""
        return replace(
            self,
            image=offer.image,
            version=offer.version,
            zones=offer.zones,
            recipe=offer.recipe,
            placements=offer.placements,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """When a machine counts as sick or well again, and how long the steps of healing may take."""

    blip_rate: float = 0.01
    """The share of questions that a well machine fails, until a fleet's own share has been learnt, check by check."""
    sick_rate: float = 0.9
    """The share of questions that a sick machine fails; must be above `blip_rate`."""
    false_alarms_per_month: float = 0.1
    """False alarms that a fleet may raise in a month; the fewer, the more evidence makes a machine sick."""
    gray_rate: float = 0.2
    """The share of questions that a half-sick machine fails, one that works and errs too often; above `blip_rate`."""
    gray_suspects_at: float = 8.0
    """Half-sickness is suspected above this score; at a blip rate of 1%, a failure adds 3 and a pass takes 0.21 away."""
    gray_condemns_at: float = 16.0
    """A machine is sick once that score has stayed here or above for `gray_after`."""
    gray_after: Seconds = 300.0
    """How long that score must have stayed there."""
    sick_after: Seconds = 30.0
    """The first failure must be at least this old before a machine is sick."""
    well_passes: int = 2
    """Passes in a row that make a suspect well."""
    well_after: Seconds = 20.0
    """The time over which these passes must lie."""
    parole_passes: int = 6
    """Passes in a row of every check after which a sick machine has recovered by itself."""
    parole_after: Seconds = 60.0
    """The time over which these passes must lie; each return of the last 24 h doubles it."""
    paroles: int = 2
    """After so many returns within 24 h, a machine that turns sick again is replaced, even if it recovers."""
    flap_changes: int = 4
    """So many changes between healthy and suspect within `flap_window` are flapping, at least: out of the load balancer.
    More are needed where chance alone makes that many more often than `false_alarms_per_month`."""
    flap_window: Seconds = 1800.0
    """The time over which these changes are counted; a single failed question is no change."""
    flap_passes: int = 12
    """Passes in a row of every check that end a spell of flapping."""
    flap_stable: Seconds = 300.0
    """The time over which these passes must lie; each further spell within 24 h doubles it."""
    flap_spells: int = 3
    """With this spell within 24 h, a flapping machine is sick."""
    slow_after: Seconds = 300.0
    """A machine that is much slower than its peers for this long is suspect, and leaves the load balancer."""
    slow_sick_after: Seconds = 600.0
    """A slow machine that is still slow this much later is sick."""
    compare_every: Seconds = 10.0
    """How often the peers are compared, and blip rates learnt."""
    heartbeat_phi: float = 8.0
    """A heartbeat is stale when a silence as long as this comes by chance once in ten to the power of this."""
    heartbeat_pause: Seconds = 30.0
    """A pause between heartbeats that surprises nobody."""
    heartbeat_deviation: Seconds = 1.0
    """The least deviation that heartbeats are credited with."""
    mute_after: Seconds = 300.0
    """A machine whose own signs of life have stayed away for this long while its peers' come, and whose checks pass,
    leaves the load balancer: what it serves may be sick where no check looks. 0: never."""
    silence_alone_after: Seconds = 180.0
    """Silence that nothing else confirms condemns only after this time, and only while the peers are well."""
    fresh_intervals: float = 2.5
    """A result older than this many of its check's intervals (and its timeout) is stale."""
    startup_passes: int = 5
    """Passes in a row of every startup check before a new machine serves."""
    startup_span: Seconds = 20.0
    """The time over which these passes must lie."""
    boot_deadline: Seconds = 600.0
    """A new machine that has not passed its startup checks by then has failed to boot, until ten good boots are known."""
    boot_least: Seconds = 120.0
    """From then on it has one and a half times as long as the slowest of the last good boots, and at least this."""
    boot_most: Seconds = 1800.0
    """And at most this."""
    confirm_deadline: Seconds = 300.0
    """A new machine that is not healthy at the load balancer by then has failed."""
    unclear_deadline: Seconds = 900.0
    """An act that the cloud has not answered clearly by then is told to people; it is sent again all the same."""
    probation: Seconds = 600.0
    """A new machine is watched this long while it serves, before it counts as in service."""
    probation_again: Seconds = 1800.0
    """The same, in a slot of which a replacement has failed already within 24 h."""
    probation_quiet: Seconds = 120.0
    """Probation ends only after this time without a failure."""
    vanished_after: Seconds = 60.0
    """A machine is gone once it has been missing from the cloud's list at least twice, this far apart."""
    stopped_after: Seconds = 15.0
    """A machine counts as stopped or terminated once it was shown so at least twice, this far apart."""
    amnesty_rounds: int = 2
    """Clean rounds of results after a start, blindness or lost time, before anything is condemned."""
    cold_start: Seconds = 600.0
    """For this long after a start, only one machine is removed at a time."""
    gap_discard: Seconds = 2.0
    """After more lost time than this (suspended, starved), results under way are discarded."""
    gap_amnesty: Seconds = 30.0
    """After more lost time than this, all suspicion starts afresh."""


@dataclass(frozen=True, slots=True)
class Explaining:
    """How what is wrong is told apart from who is sick."""

    instance_odds: float = 0.90
    """A machine is at fault itself, and may be removed, when that is at least this likely."""
    stateful_odds: float = 0.97
    """The same, in a fleet that is `stateful`."""
    shared_odds: float = 0.80
    """A shared cause (a zone, an image, a dependency, a check) is named when it is at least this likely."""
    holds_for: Seconds = 180.0
    """A shared cause stands for this long before a milder one may take its place; a graver one may at once."""
    challenge_peers: int = 59
    """So many well machines inside and outside of each suspected group are asked again before a removal."""
    challenge_answers: float = 0.9
    """The share of those asked that must have answered."""
    burst_hourly: float = 1e-4
    """As many newly sick in an hour as come by chance less often than this: the cause must be explained first."""
    burst_now: float = 1e-6
    """As many sick at once as come by chance less often than this: the cause must be explained first."""
    image_window: Seconds = 86400.0
    """A new image is a likelier cause for this long."""
    change_window: Seconds = 3600.0
    """A change of a check, of the configuration or of a dependency is a likelier cause for this long."""

    def odds_for(self, policy: FleetPolicy) -> float:
        """Return how likely it must be that a machine of a fleet is at fault itself."""
        return self.stateful_odds if policy.stateful else self.instance_odds


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps Sickbay from acting. Shares are fractions of the fleet's desired size."""

    lb_floor: float = 0.5
    """Nothing is withdrawn from the load balancer when fewer than this share would serve."""
    serving_floor: float = 0.8
    """Nothing is isolated or terminated when fewer than this share would serve; at least `lb_floor`."""
    breaker_share: float = 0.3
    """More sick than this share at once is a storm: nothing is removed."""
    breaker_window: Seconds = 900.0
    """A machine that turned sick counts for this long, removed or not."""
    breaker_quiet: Seconds = 300.0
    """After a storm, nothing is removed until this much time has passed below the share."""
    concurrent_share: float = 0.05
    """Healed at the same time, of a fleet, and the credits that removals cost; at least one."""
    concurrent_zone_share: float = 0.10
    """Healed at the same time, of one zone; at least one."""
    hourly_share: float = 0.10
    """Removals in an hour, of a fleet."""
    hourly_least: int = 2
    """Removals in an hour that even a small fleet is granted."""
    daily_share: float = 0.25
    """Removals in a day, of a fleet."""
    daily_least: int = 3
    """Removals in a day that even a small fleet is granted."""
    global_hourly: int = 10
    """Removals in an hour, over all fleets."""
    lineage_limit: int = 3
    """Replacements launched in one slot within `lineage_window`, or failed in a row, before a human must look."""
    lineage_window: Seconds = 86400.0
    """The time over which a slot's replacements are counted."""
    cooldown: Seconds = 600.0
    """After a replacement serves, nothing is removed from its slot for this long."""
    quarantine_cap: int = 2
    """Machines of a fleet that may be in quarantine at once."""
    quarantine_daily: float = 0.0
    """What the machines of a fleet in quarantine may cost a day, at its `hourly_price`; 0 for no limit."""
    max_instances: int = 0
    """Machines over all fleets, above which nothing is launched; 0 for no limit."""
    launch_failures: int = 2
    """Failed launches in a row, over a fleet's slots, before launching stops."""
    launch_half_open: Seconds = 1800.0
    """This long after the last failed launch, one is tried again."""
    launch_retry: tuple[Seconds, ...] = (0.0, 120.0, 480.0)
    """The waits after the first, second, … failed launch in a slot; the last goes on."""
    sight_quiet: Seconds = 60.0
    """Once nothing speaks against our own sight any more, it must stay so for this long before it is believed."""
    result_rate: float = 0.5
    """Fewer of the expected results than this share, and the supervisor is blind: it does nothing."""
    fresh_round: float = 0.9
    """The share of a silent machine's peers that must be well before silence alone condemns it."""
    rescue_share: float = 0.3
    """Machines that may be launched besides in a storm, while fewer serve than `serving_floor` wants; at least one."""
    rescue_after: Seconds = 60.0
    """Too few must have served for this long, without a break, before such machines are launched."""
    zone_rescue_after: Seconds = 300.0
    """The same, while a zone or a subnet is out: many outages are over before a machine launched for them would serve."""
    zone_surge: float = 0.33
    """As `rescue_share`, while a zone or a subnet is out."""
    zone_evacuate: bool = False
    """While a zone is out, launch elsewhere until as many serve as wanted, not only as `serving_floor` wants."""
    zone_well: float = 0.8
    """A zone is over its trouble once this share of its machines is well."""
    zone_quiet: Seconds = 600.0
    """It must have been so for this long."""
    shared_quiet: Seconds = 300.0
    """Any other shared trouble is over once nothing has spoken for it this long."""
    half_open: Seconds = 900.0
    """After a storm, machines are healed one at a time for this long."""
    unexplained_after: Seconds = 1800.0
    """What stays unexplained this long, and may well be each for itself, is healed very slowly."""
    unexplained_every: Seconds = 900.0
    """Then one machine in this time."""
    wave_gap: Seconds = 900.0
    """Removals no further apart than this belong together: they go in waves of 1, 1, 2, 4, …"""
    surprise_times: int = 20
    """Removals in an hour, as a multiple of the failures to be expected, before all that may be wrong must be weighed."""
    extra_share: float = 0.25
    """Machines that may run besides those wanted: new ones, and those that are kept."""
    extra_least: int = 3
    """The same, for a small fleet."""
    launch_burst: int = 10
    """Launches that a cloud is asked for at once."""
    launch_rate: int = 5
    """Launches in a second after that; half as many each time that the cloud says it is too much."""
    shadow_for: Seconds = 600.0
    """A check that is new or was changed is only watched for this long, and for three rounds, before it votes."""
    shadow_share: float = 0.8
    """It votes if this share of the machines passes it that all others call healthy."""
    shadow_again: float = 0.95
    """The same, after an earlier version of it was found wrong."""
    approval_valid: Seconds = 1800.0
    """How long an approval is good for, in mode `approve`."""
    hold_for: Seconds = 14400.0
    """How long `sickbay hold` holds without `--for`; not divided by `judgement.speed`."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a quarantined machine is kept. Never divided by `judgement.speed`."""

    running: Seconds = 4 * 3600.0
    """A machine that was set aside runs this long, then it is stopped."""
    kept: Seconds = 72 * 3600.0
    """It is destroyed after this time, unless somebody holds it."""
    notice: Seconds = 3600.0
    """Between the mark `expired` on a machine and its end: the time to hold it after all."""
    snapshots: Seconds = 30 * 86400.0
    """Snapshots of a machine that was set aside are kept this long after it is gone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the engine is told; a reload replaces it whole."""

    mode: Mode
    fleets: Mapping[str, FleetPolicy]
    judgement: Judgement = field(default_factory=Judgement)
    explaining: Explaining = field(default_factory=Explaining)
    guards: Guards = field(default_factory=Guards)
    retention: Retention = field(default_factory=Retention)
    surfaces: tuple[str, ...] = ()  # each gets one outbox row for each thing told
