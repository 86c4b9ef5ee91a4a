"""Each guard as a row: what it sees, whether it holds, and the sentence with value and threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.core.guards import (
    GUARDS,
    Act,
    Facts,
    _explanation,
    breaker_allows,
    floors,
    holding,
    holding_fill,
    read,
    share,
    wave_base,
)
from supervisor.core.terms import Cause, Mode

CALM = Facts(
    mode=Mode.AUTO, approved=False, by_operator=False, holders=(), held="", grace="", unheard="", fresh_rounds=2,
    fresh_rounds_needed=2, blind="", inventory_age=3.0, inventory_limit=45.0, desired=6, serving=5,
    costs_capacity=False, lb_floor=3, serving_floor=5, sick_lately=1, unwell=2, sick_allowed=2, breaker_quiet=0.0, concurrent=0,
    concurrent_allowed=1, zone="a", zone_concurrent=0, zone_allowed=1, credits=1, hourly=0, hourly_allowed=2, daily=0,
    daily_allowed=3, global_hourly=0, global_allowed=10, lineage=0, lineage_allowed=3, cooldown_left=0.0,
    needs_human="", quarantined=0, quarantine_allowed=2, launch_failures=0, launch_allowed=2, launch_half_open=False,
    instances=6, instances_allowed=0,
)  # fmt: skip

HOLDS: dict[str, tuple[Act, dict[str, Any], str]] = {
    "observe mode": (Act.REMEDIATE, {"mode": Mode.OBSERVE}, "mode: observe (needs auto)"),
    "approve mode without a word": (Act.REMEDIATE, {"mode": Mode.APPROVE}, "mode: approve, and nobody has approved (needs an approval)"),
    "a pause": (Act.ISOLATE, {"holders": ("ada (lunch)",)}, "pause: ada (lunch) (needs no holder)"),
    "a hold": (Act.WITHDRAW, {"held": "held by ada"}, "hold: held by ada (needs no hold on the instance)"),
    "startup grace": (Act.REMEDIATE, {"grace": "warming for 3s of 600s"}, "startup_grace: warming for 3s of 600s (needs startup over)"),
    "the amnesty": (Act.ISOLATE, {"fresh_rounds": 1}, "amnesty: 1 clean rounds (needs 2 clean rounds)"),
    "checks that say nothing": (Act.GIVE_UP, {"unheard": "page says nothing"}, "unheard: page says nothing (needs a check that says something)"),
    "blindness while it starts": (Act.GIVE_UP, {"blind": "sentinel prober fails"}, "blind: sentinel prober fails (needs every sentinel well)"),
    "blindness": (Act.RESTART, {"blind": "sentinel prober fails"}, "blind: sentinel prober fails (needs every sentinel well)"),
    "no inventory": (Act.LAUNCH, {"inventory_age": None}, "inventory: never seen (needs at most 45s old)"),
    "a stale inventory": (Act.TERMINATE, {"inventory_age": 60.0}, "inventory: 60s old (needs at most 45s old)"),
    "a burst of suspects": (Act.WITHDRAW, {"unwell": 3}, "burst: 3 sick or suspect (needs at most 2 of 6)"),
    "the breaker": (Act.REMEDIATE, {"sick_lately": 3}, "breaker: 3 sick lately, the removed ones counted (needs at most 2 of 6)"),
    "the breaker's calm": (Act.REMEDIATE, {"breaker_quiet": 60.0}, "breaker: 1 sick lately, the removed ones counted, calm needed for 60s more (needs at most 2 of 6)"),
    "an outage": (Act.WITHDRAW, {"verdict": Cause.ZONE, "verdict_words": "zone a: 3 of 3 there are unwell, 0 of 3 elsewhere (99 % sure)"}, "explanation: zone a: 3 of 3 there are unwell, 0 of 3 elsewhere (99 % sure) (needs its own fault at 90 % or more)"),
    "others who were not asked": (Act.ISOLATE, {"challenge": "31 of 60 asked have answered (needs 54)"}, "challenge: 31 of 60 asked have answered (needs 54) (needs the others asked afresh, and well)"),
    "the load balancer floor": (Act.WITHDRAW, {"costs_capacity": True, "serving": 2}, "lb_floor: 2 serving afterwards (needs at least 3)"),
    "the serving floor": (Act.ISOLATE, {"costs_capacity": True, "serving": 4}, "serving_floor: 4 serving afterwards (needs at least 5)"),
    "concurrency": (Act.REMEDIATE, {"concurrent": 1}, "concurrency: 1 under way (needs fewer than 1)"),
    "the zone's concurrency": (Act.REMEDIATE, {"zone_concurrent": 1}, "zone_concurrency: 1 under way in a (needs fewer than 1)"),
    "no credit": (Act.REMEDIATE, {"credits": 0}, "credits: 0 left (needs at least 1)"),
    "the hourly cap": (Act.REMEDIATE, {"hourly": 2}, "hourly_cap: 2 removals in 1h (needs fewer than 2)"),
    "the daily cap": (Act.REMEDIATE, {"daily": 3}, "daily_cap: 3 removals in 24h (needs fewer than 3)"),
    "the global cap": (Act.REMEDIATE, {"global_hourly": 10}, "global_cap: 10 removals in 1h, all fleets (needs fewer than 10)"),
    "the lineage": (Act.REMEDIATE, {"lineage": 3}, "lineage: 3 replacements in this slot (needs fewer than 3)"),
    "the cool-down": (Act.REMEDIATE, {"cooldown_left": 90.0}, "cooldown: 90s left (needs over since the slot's last replacement)"),
    "a slot that needs a human": (Act.LAUNCH, {"needs_human": "3 launches failed"}, "needs_human: 3 launches failed (needs `sickbay retry` by a person)"),
    "a full quarantine": (Act.ISOLATE, {"quarantined": 2}, "quarantine_cap: 2 kept (needs fewer than 2)"),
    "a quarantine that costs too much": (Act.ISOLATE, {"kept_cost": 4.8, "kept_running": 2, "machine_cost": 2.4, "cost_allowed": 6.0}, "quarantine_cost: $4.80 a day for 2 kept (needs at most $6.00 with one more)"),
    "an Auto Scaling group": (Act.LAUNCH, {"group": "web"}, 'group: Auto Scaling group "web" launches here (needs a new machine from it)'),
    "an amnesty at the end of a quarantine": (Act.TERMINATE, {"fresh_rounds": 0}, "amnesty: 0 clean rounds (needs 2 clean rounds)"),
    "observe mode, of what was left behind": (Act.SWEEP, {"mode": Mode.OBSERVE}, "mode: observe (needs auto)"),
    "a zone in trouble": (Act.WITHDRAW, {"zone_trouble": "zone a is impaired, incident 7 of api"}, "zone: zone a is impaired, incident 7 of api (needs a zone that is well)"),
    "waves not yet proved": (Act.REMEDIATE, {"waves": (3, 1)}, "waves: 3 in this spell, 1 of the waves before not yet proved (needs every earlier wave out of probation)"),
    "a surprise without an explanation": (Act.REMEDIATE, {"hourly": 3, "hourly_allowed": 30, "explained": False}, "surprise: 3 removals in 1h (needs fewer than 2, or a full explanation)"),
    "an image on trial": (Act.LAUNCH, {"image_trouble": "v2: 2 launches in a row failed"}, "image: v2: 2 launches in a row failed (needs an image that boots)"),
    "too many extra machines": (Act.LAUNCH, {"extra": 3}, "extra_machines: 3 more than wanted run (needs fewer than 3)"),
    "evidence that counts no more": (Act.ISOLATE, {"acquitted": "check page has no vote any more"}, "evidence: check page has no vote any more (needs what made it sick must still count)"),
    "failed launches": (Act.LAUNCH, {"launch_failures": 2}, "launch_breaker: 2 failed launches in a row (needs fewer than 2)"),
    "the machines' limit": (Act.LAUNCH, {"instances": 8, "instances_allowed": 8}, "max_instances: 8 machines (needs fewer than 8)"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS)
def test_a_guard_holds_alone_and_says_why(name: str) -> None:
    """One fact out of bounds, one guard, one sentence with value and threshold."""
    act, change, sentence = HOLDS[name]

    assert [sentence] == [r.sentence() for r in holding(act, replace(CALM, **change))]


@pytest.mark.parametrize("act", list(Act))
def test_when_all_is_calm_nothing_holds(act: Act) -> None:
    """And every guard still says its value and threshold."""
    assert () == holding(act, CALM)
    assert all(r.value and r.threshold for r in read(act, CALM))


def test_every_guard_is_proved_to_hold() -> None:
    """No guard without a row above."""
    guards = {r.guard for act in GUARDS for r in read(act, CALM)}

    assert guards == {row[2].split(":")[0] for row in HOLDS.values()}


PASSES: dict[str, tuple[Act, dict[str, Any]]] = {
    "what serves nobody costs nothing": (Act.ISOLATE, {"serving": 0, "costs_capacity": False}),
    "an approval": (Act.REMEDIATE, {"mode": Mode.APPROVE, "approved": True}),
    "an operator's word outranks the mode": (Act.TERMINATE, {"mode": Mode.OBSERVE, "by_operator": True}),
    "an operator's word outranks the amnesty": (Act.TERMINATE, {"fresh_rounds": 0, "by_operator": True}),
    "the first in quarantine, at any price": (Act.ISOLATE, {"machine_cost": 24.0, "cost_allowed": 6.0}),
    "a price that nobody limits": (Act.ISOLATE, {"kept_cost": 48.0, "kept_running": 2, "machine_cost": 24.0}),
    "a half-open try after failed launches": (Act.LAUNCH, {"launch_failures": 2, "launch_half_open": True}),
    "a storm, by a person's word": (
        Act.REMEDIATE,
        {
            "sick_lately": 4,
            "unwell": 4,
            "zone_trouble": "zone a is impaired",
            "permit": "ada allows it until 12:00 UTC",
        },
    ),
    "a storm, half-open": (Act.ISOLATE, {"sick_lately": 4, "unwell": 4, "half_open": True}),
    "many removals, all explained": (Act.REMEDIATE, {"hourly": 3, "hourly_allowed": 30}),
    "the control of an image on trial": (Act.LAUNCH, {"launch_failures": 2, "extra": 3, "is_control": True}),
    "a launch in a storm": (Act.LAUNCH, {"sick_lately": 6}),
    "a launch below the floor": (Act.LAUNCH, {"serving": 0, "costs_capacity": True}),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_guard_does_not_hold_what_it_should_not(name: str) -> None:
    """In a storm add, never remove; floors gate removal, never a launch."""
    act, change = PASSES[name]

    assert () == holding(act, replace(CALM, **change))


def test_a_fill_waits_for_its_mode_and_for_the_amnesty() -> None:
    """Capacity may be added in a storm, but not on hearsay."""
    assert () == holding_fill(replace(CALM, sick_lately=6))
    assert ["mode"] == [r.guard for r in holding_fill(replace(CALM, mode=Mode.OBSERVE))]
    assert ["amnesty"] == [r.guard for r in holding_fill(replace(CALM, fresh_rounds=0))]


@pytest.mark.parametrize(
    ("desired", "lb", "serving"), [(1, 1, 1), (2, 1, 1), (3, 2, 2), (4, 2, 3), (5, 3, 4), (6, 3, 5), (10, 5, 8), (100, 50, 80)]
)  # fmt: skip
def test_the_floors(desired: int, lb: int, serving: int) -> None:
    """Half for the load balancer; all but one below five machines, four fifths from there on."""
    assert (lb, serving) == floors(desired, 0.5, 0.8)


@pytest.mark.parametrize(("desired", "allowed"), [(1, 1), (2, 1), (3, 1), (4, 2), (10, 3), (100, 30)])
def test_the_breaker_allows(desired: int, allowed: int) -> None:
    """Three tenths, never all of them, at least one."""
    assert allowed == breaker_allows(0.3, desired)


def test_waves_double() -> None:
    """One, one, two, four: the next wave waits for all that were begun before it."""
    assert [0, 1, 2, 2, 4, 4, 4, 4, 8] == [wave_base(begun) for begun in range(9)]


EXPLAINED: dict[str, tuple[dict[str, Any], bool]] = {
    "its own fault": ({}, False),
    "a zone": ({"verdict": Cause.ZONE}, True),
    "a zone that is not over": ({"shared": "zone a is not over"}, True),
    "a cohort, in waves": ({"verdict": Cause.COHORT, "waiver": "it is healed in waves"}, False),
    "a dependency, by a person's word": ({"verdict": Cause.DEPENDENCY, "permit": "ada allows it"}, False),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_is_not_its_own_fault_is_held_unless_somebody_or_something_answers_for_it(name: str) -> None:
    """And the reading says who or what that is."""
    change, holds = EXPLAINED[name]
    reading = _explanation(replace(CALM, **change))

    assert holds is reading.holds
    assert all(str(change[word]) in reading.value for word in ("waiver", "permit") if word in change)


def test_a_share_is_rounded_down_and_at_least_one() -> None:
    """Five per cent of six machines is one machine."""
    assert [1, 1, 5] == [share(0.05, n) for n in (6, 39, 100)]
