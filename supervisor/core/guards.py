"""The guards: named reasons not to act. Each reading carries its value and its threshold, held or not.

Pure functions of `Facts`, one fleet's numbers at one moment. `explain` prints every reading; an act needs that none
of the guards of its kind holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor

from supervisor.core.terms import Cause, Mode, Seconds


class Act(StrEnum):
    """Kinds of act, each with guards of its own."""

    REMEDIATE = "remediate"  # begin to heal a sick instance
    WITHDRAW = "withdraw"  # take out of the load balancer
    LAUNCH = "launch"
    REGISTER = "register"
    ISOLATE = "isolate"
    RESTART = "restart"
    TERMINATE = "terminate"
    GIVE_UP = "give_up"  # call a launch failed, because its machine did not come up in time
    SWEEP = "sweep"  # destroy what a machine left behind
    KEEP = "keep"  # capture, restore, stop, mark: harmless or asked for


@dataclass(frozen=True, slots=True)
class Reading:
    """One guard's answer: whether it holds the act, with the value it saw and the threshold it keeps."""

    guard: str
    holds: bool
    value: str
    threshold: str

    def sentence(self) -> str:
        """Say it in one breath."""
        return f"{self.guard}: {self.value} ({'needs' if self.holds else 'fine,'} {self.threshold})"


@dataclass(frozen=True, slots=True)
class Facts:
    """The numbers that the guards read. Those about one instance or slot are neutral where there is none."""

    mode: Mode
    approved: bool
    by_operator: bool
    holders: tuple[str, ...]
    held: str  # why this instance is held, '' when it is not
    grace: str  # why this instance is in startup grace, '' when it is not
    unheard: str  # why nobody can say how this instance is, '' when its checks speak
    fresh_rounds: int
    fresh_rounds_needed: int
    blind: str
    inventory_age: Seconds | None  # None: never seen since the start
    inventory_limit: Seconds
    desired: int
    serving: int  # registered and healthy, the instance itself not counted
    costs_capacity: bool  # the load balancer still sends it traffic
    lb_floor: int
    serving_floor: int
    sick_lately: int
    unwell: int  # sick lately or suspect now
    sick_allowed: int
    breaker_quiet: Seconds  # until the breaker may close again, 0 when it may
    concurrent: int
    concurrent_allowed: int
    zone: str
    zone_concurrent: int
    zone_allowed: int
    credits: int
    hourly: int
    hourly_allowed: int
    daily: int
    daily_allowed: int
    global_hourly: int
    global_allowed: int
    lineage: int
    lineage_allowed: int
    cooldown_left: Seconds
    needs_human: str
    quarantined: int
    quarantine_allowed: int
    launch_failures: int
    launch_allowed: int
    launch_half_open: bool
    instances: int
    instances_allowed: int  # 0: no limit
    left_aside: int = 0  # sick or suspect, not counted: the standing trouble of a place explains them
    rejected: str = ""  # who rejected the incident's remediation, '' for nobody
    group: str = ""  # the Auto Scaling group that launches and registers, '' where we do
    kept_cost: float = 0.0  # a day, of those in quarantine that run
    kept_running: int = 0
    machine_cost: float = 0.0  # a day, of one more
    cost_allowed: float = 0.0  # a day; 0: no limit
    verdict: Cause = Cause.INSTANCE  # what is wrong with this instance, and perhaps with others
    verdict_words: str = "nobody else is suspect"
    odds_needed: float = 0.9  # that it is this instance alone
    challenge: str = ""  # why the others have not been asked afresh yet, '' when they have, or need not be
    challenge_words: str = "not needed"
    acquitted: str = ""  # why what was held against this instance counts no more, '' while it does
    explained: bool = True  # everything that may be wrong was weighed, not only the plain case seen
    shared: str = ""  # the shared trouble that covers this instance, though the verdict may have changed since
    zone_trouble: str = ""  # what is wrong with its zone, as any fleet has found
    waiver: str = ""  # why what is not plainly its own fault may be healed all the same
    permit: str = ""  # whose word lets it be healed, storm or not
    half_open: bool = False  # after a storm, or in one that new machines withstand: one at a time
    waves: tuple[int, int] = (0, 0)  # removals that belong together: begun; and those of earlier waves not yet proved
    surprise_allowed: int = 2
    extra: int = 0  # machines that run besides those wanted
    extra_allowed: int = 3
    image_trouble: str = ""  # why nothing is launched from its image
    is_control: bool = False  # the launch that tells whether the image is at fault


def floors(desired: int, lb_share: float, serving_share: float) -> tuple[int, int]:
    """Return (load balancer floor, serving floor), both counted after the act."""
    lb = max(1, ceil(lb_share * desired))
    serving = max(1, desired - 1) if desired < 5 else ceil(serving_share * desired)
    return lb, serving


def share(fraction: float, count: int, *, least: int = 1) -> int:
    """Return a share of the fleet, rounded down, but at least `least`."""
    return max(least, floor(fraction * count))


def wave_base(begun: int) -> int:
    """Return how many of the removals begun belong to earlier waves (1, 1, 2, 4, …) than the next one."""
    return 0 if begun == 0 else 1 << (begun.bit_length() - 1)


def breaker_allows(fraction: float, desired: int) -> int:
    """Return how many machines may be sick at once before it counts as a storm."""
    return max(1, min(ceil(fraction * desired), desired - 1))


def _mode(f: Facts) -> Reading:
    if f.by_operator:
        return Reading("mode", False, "asked for by an operator", "auto")
    if f.mode is Mode.APPROVE:
        word = "nobody has approved" if not f.rejected else f"rejected by {f.rejected}"
        return Reading("mode", not f.approved, f"approve, and {'approved' if f.approved else word}", "an approval")
    return Reading("mode", f.mode is Mode.OBSERVE, str(f.mode), "auto")


def _observe_only(f: Facts) -> Reading:
    holds = f.mode is Mode.OBSERVE and not f.by_operator
    return Reading("mode", holds, str(f.mode), "auto or approve")


def _pause(f: Facts) -> Reading:
    return Reading("pause", bool(f.holders), ", ".join(f.holders) or "nobody", "no holder")


def _hold(f: Facts) -> Reading:
    return Reading("hold", bool(f.held), f.held or "not held", "no hold on the instance")


def _grace(f: Facts) -> Reading:
    return Reading("startup_grace", bool(f.grace), f.grace or "not starting", "startup over")


def _amnesty(f: Facts) -> Reading:
    if f.by_operator:
        return Reading("amnesty", False, "asked for by an operator", f"{f.fresh_rounds_needed} clean rounds")
    holds = f.fresh_rounds < f.fresh_rounds_needed
    return Reading("amnesty", holds, f"{f.fresh_rounds} clean rounds", f"{f.fresh_rounds_needed} clean rounds")


def _blind(f: Facts) -> Reading:
    return Reading("blind", bool(f.blind), f.blind or "sees well", "every sentinel well")


def _inventory(f: Facts) -> Reading:
    holds = f.inventory_age is None or f.inventory_age > f.inventory_limit
    value = "never seen" if f.inventory_age is None else f"{f.inventory_age:.0f}s old"
    return Reading("inventory", holds, value, f"at most {f.inventory_limit:.0f}s old")


def _unheard(f: Facts) -> Reading:
    return Reading("unheard", bool(f.unheard), f.unheard or "its checks speak", "a check that says something")


def _lb_floor(f: Facts) -> Reading:
    if not f.costs_capacity:
        return Reading("lb_floor", False, "it serves nobody", f"{f.lb_floor} serving afterwards")
    return Reading("lb_floor", f.serving < f.lb_floor, f"{f.serving} serving afterwards", f"at least {f.lb_floor}")


def _serving_floor(f: Facts) -> Reading:
    if not f.costs_capacity:
        return Reading("serving_floor", False, "it serves nobody", f"{f.serving_floor} serving afterwards")
    holds = f.serving < f.serving_floor
    return Reading("serving_floor", holds, f"{f.serving} serving afterwards", f"at least {f.serving_floor}")


def _breaker(f: Facts) -> Reading:
    holds = (f.sick_lately > f.sick_allowed or f.breaker_quiet > 0) and not f.permit and not f.half_open
    value = f"{f.sick_lately} sick lately, the removed ones counted{_left_aside(f)}{_passes(f)}"
    if f.breaker_quiet > 0 and f.sick_lately <= f.sick_allowed:
        value += f", calm needed for {f.breaker_quiet:.0f}s more"
    return Reading("breaker", holds, value, f"at most {f.sick_allowed} of {f.desired}")


def _burst(f: Facts) -> Reading:
    value = f"{f.unwell} sick or suspect{_left_aside(f)}{_passes(f)}"
    holds = f.unwell > f.sick_allowed and not f.permit and not f.half_open
    return Reading("burst", holds, value, f"at most {f.sick_allowed} of {f.desired}")


def _explanation(f: Facts) -> Reading:
    own = f.verdict is Cause.INSTANCE and not f.shared
    why = f.permit or f.waiver
    value = f.verdict_words if f.verdict is not Cause.INSTANCE or own else f.shared
    if not own and why:
        value += f", but {why}"
    return Reading("explanation", not own and not why, value, f"its own fault at {100 * f.odds_needed:g} % or more")


def _zone_trouble(f: Facts) -> Reading:
    value = f.zone_trouble or f"zone {f.zone} is well" if f.zone else "no zone"
    if f.zone_trouble and f.permit:
        value += f", but {f.permit}"
    return Reading("zone", bool(f.zone_trouble) and not f.permit, value, "a zone that is well")


def _left_aside(f: Facts) -> str:
    """Say how many are held by the trouble of their place, and so do not count."""
    return f", besides {f.left_aside} that the trouble of their place explains" if f.left_aside else ""


def _passes(f: Facts) -> str:
    """Say why a storm does not hold it, where that is so."""
    if f.permit:
        return f", but {f.permit}"
    return ", half-open: one at a time" if f.half_open else ""


def _challenge(f: Facts) -> Reading:
    return Reading(
        "challenge", bool(f.challenge), f.challenge or f.challenge_words, "the others asked afresh, and well"
    )


def _evidence(f: Facts) -> Reading:
    return Reading("evidence", bool(f.acquitted), f.acquitted or "it stands", "what made it sick must still count")


def _concurrent(f: Facts) -> Reading:
    holds = f.concurrent >= f.concurrent_allowed
    return Reading("concurrency", holds, f"{f.concurrent} under way", f"fewer than {f.concurrent_allowed}")


def _zone(f: Facts) -> Reading:
    holds = f.zone_concurrent >= f.zone_allowed
    return Reading(
        "zone_concurrency",
        holds,
        f"{f.zone_concurrent} under way in {f.zone or 'no zone'}",
        f"fewer than {f.zone_allowed}",
    )


def _waves(f: Facts) -> Reading:
    begun, unproved = f.waves
    value = f"{begun} in this spell, {unproved} of the waves before not yet proved"
    return Reading("waves", unproved > 0, value, "every earlier wave out of probation")


def _surprise(f: Facts) -> Reading:
    holds = f.hourly >= f.surprise_allowed and not f.explained
    value = f"{f.hourly} removals in 1h{', all explained' if f.explained else ''}"
    return Reading("surprise", holds, value, f"fewer than {f.surprise_allowed}, or a full explanation")


def _credits(f: Facts) -> Reading:
    return Reading("credits", f.credits < 1, f"{f.credits} left", "at least 1")


def _hourly(f: Facts) -> Reading:
    return Reading(
        "hourly_cap", f.hourly >= f.hourly_allowed, f"{f.hourly} removals in 1h", f"fewer than {f.hourly_allowed}"
    )


def _daily(f: Facts) -> Reading:
    return Reading(
        "daily_cap", f.daily >= f.daily_allowed, f"{f.daily} removals in 24h", f"fewer than {f.daily_allowed}"
    )


def _global(f: Facts) -> Reading:
    holds = f.global_hourly >= f.global_allowed
    return Reading(
        "global_cap", holds, f"{f.global_hourly} removals in 1h, all fleets", f"fewer than {f.global_allowed}"
    )


def _lineage(f: Facts) -> Reading:
    holds = f.lineage >= f.lineage_allowed
    return Reading("lineage", holds, f"{f.lineage} replacements in this slot", f"fewer than {f.lineage_allowed}")


def _cooldown(f: Facts) -> Reading:
    holds = f.cooldown_left > 0
    value = f"{f.cooldown_left:.0f}s left" if holds else "over"
    return Reading("cooldown", holds, value, "over since the slot's last replacement")


def _needs_human(f: Facts) -> Reading:
    return Reading("needs_human", bool(f.needs_human), f.needs_human or "no", "`sickbay retry` by a person")


def _quarantine_cap(f: Facts) -> Reading:
    holds = f.quarantined >= f.quarantine_allowed
    return Reading("quarantine_cap", holds, f"{f.quarantined} kept", f"fewer than {f.quarantine_allowed}")


def _quarantine_cost(f: Facts) -> Reading:
    value = f"${f.kept_cost:.2f} a day for {f.kept_running} kept"
    if not f.cost_allowed or not f.machine_cost:
        return Reading("quarantine_cost", False, value, "no limit set" if not f.cost_allowed else "price not known")
    # The first one may be kept at any price: evidence there must be.
    holds = f.kept_running > 0 and f.kept_cost + f.machine_cost > f.cost_allowed
    return Reading("quarantine_cost", holds, value, f"at most ${f.cost_allowed:.2f} with one more")


def _group(f: Facts) -> Reading:
    value = f'Auto Scaling group "{f.group}" launches here' if f.group else "none"
    return Reading("group", bool(f.group), value, "a new machine from it" if f.group else "no group that launches")


def _launch_breaker(f: Facts) -> Reading:
    holds = f.launch_failures >= f.launch_allowed and not f.launch_half_open and not f.is_control
    value = f"{f.launch_failures} failed launches in a row{', this one tells why' if f.is_control else ''}"
    return Reading("launch_breaker", holds, value, f"fewer than {f.launch_allowed}")


def _image(f: Facts) -> Reading:
    return Reading("image", bool(f.image_trouble), f.image_trouble or "boots", "an image that boots")


def _extra(f: Facts) -> Reading:
    holds = f.extra >= f.extra_allowed and not f.is_control
    return Reading("extra_machines", holds, f"{f.extra} more than wanted run", f"fewer than {f.extra_allowed}")


def _max_instances(f: Facts) -> Reading:
    holds = 0 < f.instances_allowed <= f.instances
    limit = f"fewer than {f.instances_allowed}" if f.instances_allowed else "no limit set"
    return Reading("max_instances", holds, f"{f.instances} machines", limit)


Guard = Callable[[Facts], Reading]

TAKING: tuple[Guard, ...] = (
    _observe_only,
    _pause,
    _hold,
    _amnesty,
    _blind,
    _inventory,
    _burst,
    _breaker,
    _explanation,
)
"""Before anything is taken from a machine, be it only its place in the load balancer."""
REMOVING: tuple[Guard, ...] = (*TAKING, _challenge, _zone_trouble, _evidence, _serving_floor)
"""Before a machine is kept from serving by something harder to undo than leaving the load balancer."""

GUARDS: dict[Act, tuple[Guard, ...]] = {
    Act.REMEDIATE: (
        _mode,
        _pause,
        _hold,
        _grace,
        _amnesty,
        _blind,
        _inventory,
        _burst,
        _breaker,
        _explanation,
        _challenge,
        _zone_trouble,
        _concurrent,
        _zone,
        _waves,
        _credits,
        _surprise,
        _hourly,
        _daily,
        _global,
        _lineage,
        _cooldown,
        _needs_human,
    ),
    Act.WITHDRAW: (*TAKING, _zone_trouble, _lb_floor),
    Act.LAUNCH: (
        _observe_only,
        _pause,
        _inventory,
        _needs_human,
        _launch_breaker,
        _image,
        _extra,
        _max_instances,
        _group,
    ),
    Act.REGISTER: (_observe_only, _pause),
    Act.ISOLATE: (*REMOVING, _quarantine_cap, _quarantine_cost),
    Act.RESTART: REMOVING,
    Act.TERMINATE: (_observe_only, _pause, _hold, _amnesty, _inventory),
    Act.SWEEP: (_mode, _pause, _amnesty, _inventory),
    Act.GIVE_UP: (_blind, _inventory, _unheard),
    Act.KEEP: (_observe_only, _pause),
}


def read(act: Act, facts: Facts) -> tuple[Reading, ...]:
    """Return every guard's reading for one kind of act, in a fixed order."""
    return tuple(guard(facts) for guard in GUARDS[act])


def holding(act: Act, facts: Facts) -> tuple[Reading, ...]:
    """Return the readings that hold the act; empty when it may go on."""
    held = tuple(reading for reading in read(act, facts) if reading.holds)
    # The others are asked last: while anything else holds, nobody needs to know.
    return tuple(reading for reading in held if reading.guard != "challenge") or held


FILL_MODE: tuple[Guard, ...] = (_mode, _amnesty)
"""A fill begins under these, besides the launch guards: capacity may be added in a storm, but not on hearsay."""


def holding_fill(facts: Facts) -> tuple[Reading, ...]:
    """Return what holds the beginning of a fill."""
    begin = tuple(guard(facts) for guard in FILL_MODE)
    return tuple(r for r in (*begin, *read(Act.LAUNCH, facts)[1:]) if r.holds)
