"""Every metric that Sickbay publishes: name, type, labels and help. Data only; docs/reference/metrics.md follows it.

No label is ever an instance's id: the number of series depends on how many fleets, zones, checks and images there
are, never on how many machines. Base units; counters end in `_total`, and begin at zero with the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The types of metrics, in OpenMetrics' words. In the older text format `info` and `stateset` are gauges."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"  # sum and count only
    INFO = "info"
    STATESET = "stateset"  # one series for each state, 1 for the one that is; its label is the metric's name


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is what a query names; a histogram's adds `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(self.name + suffix for suffix in ("_bucket", "_sum", "_count"))
        if self.kind is Kind.SUMMARY:
            return (f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


G, C, H, S = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY
FLEET = ("fleet",)

# -- the supervisor
BUILD = Family("sickbay_build_info", Kind.INFO, ("version", "python"), "What runs.")
BLIND = Family("sickbay_blind", G, (), "Whether the supervisor can't believe its own eyes: 1 while it can't.")
SELF_SCORE = Family(
    "sickbay_self_score", G, (), "How slow the supervisor itself is, 0 to 8: time limits are multiplied by one more."
)
SENTINEL_UP = Family(
    "sickbay_sentinel_up",
    G,
    ("sentinel",),
    "Whether something works that must work if the supervisor can see at all: 0 after two failures in a row.",
)
HOLDERS = Family("sickbay_pause_holders", G, (), "How many people or programs pause all acting.")
CONFIG_AT = Family(
    "sickbay_config_last_reload_success_timestamp_seconds", G, (), "When the configuration in use was read."
)
CONFIG_OK = Family(
    "sickbay_config_last_reload_successful", G, (), "Whether the last try to read the configuration succeeded."
)
CONFIG_REFUSED = Family("sickbay_config_reloads_refused_total", C, (), "Configurations that were refused whole.")
NOTICES = Family(
    "sickbay_notices_total",
    C,
    ("fleet", "kind"),
    "Things told that belong to no incident: storms, amnesties, pauses and the like.",
)

# -- fleets
FLEET_INFO = Family(
    "sickbay_fleet_info",
    Kind.INFO,
    ("fleet", "environment", "mode", "image", "version"),
    "A fleet as it is configured; mode is observe, approve or auto.",
)
FLEET_STATE = Family(
    "sickbay_fleet_state",
    Kind.STATESET,
    FLEET,
    "The fleet in one word: optimal, degraded, down, or unknown before the first clean rounds.",
)
DESIRED = Family("sickbay_fleet_desired", G, FLEET, "Machines that the fleet should have.")
SERVING = Family("sickbay_fleet_serving", G, FLEET, "Machines that are registered with the load balancer and healthy.")
STORM = Family(
    "sickbay_fleet_storm",
    G,
    FLEET,
    "Whether more are sick at once than may plausibly be: 1 while nobody is removed for it.",
)
VERDICT = Family(
    "sickbay_verdict",
    G,
    ("fleet", "cause"),
    "What is judged to be wrong: 1 for the verdict that stands; instance also where nobody is sick.",
)
INSTANCES = Family("sickbay_instances", G, ("fleet", "lifecycle", "zone"), "Instances that are not retired.")
HEALTH = Family(
    "sickbay_instances_health", G, ("fleet", "health"), "Watched instances by health: healthy, suspect, sick, unknown."
)
IMAGES = Family(
    "sickbay_instances_image",
    G,
    ("fleet", "image", "status"),
    "Instances by golden image; current is the configured one, else outdated, or unknown.",
)
MOVES = Family("sickbay_instance_moves_total", C, ("fleet", "lifecycle"), "Instances that entered a lifecycle.")
STUCK = Family(
    "sickbay_slots_needing_human", G, FLEET, "Slots in which nothing is launched any more until a person says so."
)
AMNESTY = Family(
    "sickbay_amnesty_clean_rounds", G, FLEET, "Clean rounds since the last amnesty, at most as many as are needed."
)
AMNESTY_NEEDED = Family(
    "sickbay_amnesty_needed_rounds", G, FLEET, "Clean rounds that are needed before anything is judged."
)
INVENTORY_AGE = Family(
    "sickbay_inventory_age_seconds",
    G,
    FLEET,
    "Age of the cloud's last whole answer; of the daemon while there has been none.",
)
INVENTORY_FAILURES = Family(
    "sickbay_inventory_failures_total", C, FLEET, "Answers of the cloud that failed or could not be used."
)
QUARANTINED = Family("sickbay_quarantined", G, FLEET, "Machines that are set aside and kept.")
QUARANTINE_LIMIT = Family("sickbay_quarantine_limit", G, FLEET, "How many machines may be kept before one must go.")
QUARANTINE_EXPIRY = Family(
    "sickbay_quarantine_next_expiry_timestamp_seconds", G, FLEET, "When the next kept machine is let go."
)

# -- incidents
INCIDENTS = Family(
    "sickbay_incidents",
    G,
    ("fleet", "state"),
    "Incidents that are not closed, by state: open, escalated (needs a human), resolved.",
)
HELD = Family("sickbay_incidents_held", G, ("fleet", "guard"), "Incidents that a guard holds now.")
OPENED = Family("sickbay_incidents_opened_total", C, ("fleet", "kind"), "Incidents opened.")
RESOLVED = Family(
    "sickbay_incidents_resolved_total",
    C,
    ("fleet", "kind", "resolution"),
    "Incidents in which service was restored, by how.",
)
ESCALATED = Family("sickbay_incidents_escalated_total", C, ("fleet", "kind"), "Incidents for which a human was asked.")
DETECTION = Family("sickbay_incident_detection_seconds", H, ("fleet", "kind"), "From the first sign to the incident.")
RECOVERY = Family(
    "sickbay_incident_recovery_seconds", H, ("fleet", "kind"), "From the first sign until service was restored."
)
REFUSALS = Family("sickbay_guard_refusals_total", C, ("fleet", "guard"), "Times a guard began to hold an incident.")

# -- acts
REMOVALS = Family(
    "sickbay_removals_total", C, ("fleet", "zone"), "Machines taken out of service: withdrawn or isolated."
)
LAUNCHES = Family("sickbay_launches_total", C, ("fleet", "zone", "outcome"), "Answers of the cloud to launches.")
STEPS = Family(
    "sickbay_steps_total",
    C,
    ("fleet", "verb", "outcome"),
    "Steps by what came of them: done, refused, failed, skipped; throttled and unclear are tried again.",
)
STEP_SECONDS = Family(
    "sickbay_step_duration_seconds",
    H,
    ("fleet", "verb"),
    "From a step's intent to its definite answer, tries and waits included.",
)
WORKFLOWS = Family("sickbay_workflows_running", G, FLEET, "Plans under way.")
FLYING = Family("sickbay_steps_in_flight", G, (), "Calls to a cloud under way.")

# -- checks
RESULTS = Family(
    "sickbay_results_total", C, ("fleet", "check", "role", "status"), "Results of checks that were taken as evidence."
)
RESULT_AGE = Family(
    "sickbay_result_age_seconds", S, (), "Age of a batch's newest result when the engine took it: the engine's lag."
)
HOST_UP = Family(
    "sickbay_check_host_up",
    G,
    ("host",),
    "Whether a check host lives; prober runs the built-in checks, plugins the others.",
)
HOST_RESTARTS = Family(
    "sickbay_check_host_restarts_total", C, ("host",), "Times a check host died and was started again."
)
CHECKS_STARTED = Family("sickbay_checks_started_total", C, ("host",), "Checks started since the check host began.")
CHECKS_MISSED = Family(
    "sickbay_checks_missed_total",
    C,
    ("host",),
    "Starts of checks that were left out because time or places were short.",
)
CHECKS_FLYING = Family("sickbay_checks_in_flight", G, ("host",), "Checks under way.")
LAG_P99 = Family(
    "sickbay_check_lag_p99_seconds", G, ("host",), "How late checks started within the last second, 99th percentile."
)
LAG_MAX = Family("sickbay_check_lag_max_seconds", G, ("host",), "How late the latest check of the last second started.")
HOST_LAG = Family("sickbay_check_host_loop_lag_seconds", G, ("host",), "How late the check host's own loop is.")

# -- heartbeats
HEARTBEATS = Family(
    "sickbay_heartbeats_total",
    C,
    ("outcome",),
    "Messages of machines by what came of them: accepted, or why they were refused.",
)
DEAF = Family(
    "sickbay_heartbeats_deaf", G, (), "Whether nobody's heartbeats can be heard: 1 while silence accuses nobody."
)

# -- engine, store, outbox
TURNS = Family("sickbay_engine_turns_total", C, (), "Turns of the engine.")
STEP_TIME = Family("sickbay_engine_step_seconds", S, (), "Time the engine takes to decide one turn.")
INBOX = Family("sickbay_inbox_length", G, (), "Signals that wait for the engine.")
COMMITS = Family("sickbay_commits_total", C, (), "Commits that the store took.")
COMMITS_REFUSED = Family("sickbay_commits_refused_total", C, (), "Commits that the store refused.")
COMMIT_TIME = Family("sickbay_commit_seconds", S, (), "Time the store takes for one commit.")
STORE_REFUSES = Family("sickbay_store_refuses", G, (), "Whether the store refuses now: 1 while nothing is done for it.")
WAITING = Family("sickbay_outbox_waiting", G, ("surface",), "Messages that a surface has not taken yet.")
OLDEST = Family(
    "sickbay_outbox_oldest_seconds", G, ("surface",), "Age of the oldest message that waits; 0 when none does."
)
DEAD_LETTERS = Family("sickbay_outbox_dead_letters", G, ("surface",), "Messages given up.")
DELIVERED = Family("sickbay_outbox_delivered_total", C, ("surface",), "Messages that a surface took.")
MESSAGES_REFUSED = Family("sickbay_outbox_refused_total", C, ("surface",), "Times a surface did not take a message.")

CATALOGUE: tuple[Family, ...] = tuple(value for value in dict(globals()).values() if isinstance(value, Family))
"""All of them, in the order in which they are published."""
