"""Judging one instance: results in, a finding out, and the moment to look again. Each row is a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from supervisor.core.evidence import Evidence, weights
from supervisor.core.flapping import Flapping
from supervisor.core.health import Chart, Surroundings, judge, judge_startup
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.pace import Slow
from supervisor.core.settings import CheckPolicy, Judgement
from supervisor.core.signals import Result
from supervisor.core.terms import Health, Role, Status

NUMBERS = Judgement()
SEES = Surroundings(may_condemn=True, cloud_fresh=True, peers_well=True)
OK, BAD, SILENT, BROKEN, WARN = "o", "x", "s", "?", "w"


def chart(role: Role = Role.LIVENESS, *, target: TargetHealth = TargetHealth.HEALTHY, desired: int = 6) -> Chart:
    """Return the chart of one running, registered machine with one check."""
    check = CheckPolicy("alive", "http", role, 10.0, 3.0)
    made = Chart("i-1", "web", {"alive": Evidence(check, weights(check, desired, NUMBERS))})
    made.machine = Machine("i-1", "web", MachineState.RUNNING, "a", "img", "1", "127.1.1.1", True, target)
    return made


def feed(made: Chart, results: str, *, every: float = 2.0, start: float = 0.0, around: Surroundings = SEES) -> float:
    """Give results at a steady pace, judging after each; return the time of the last."""
    now = start
    for place, sign in enumerate(results):
        now = start + place * every
        status = {
            OK: Status.OK,
            BAD: Status.CRITICAL,
            SILENT: Status.CRITICAL,
            BROKEN: Status.UNKNOWN,
            WARN: Status.WARNING,
        }
        made.checks["alive"].take(Result("i-1", "alive", status[sign], sign == SILENT, now, now, sign))
        made.finding = judge(made, NUMBERS, around, now)
    return now


@dataclass(frozen=True)
class Row:
    """Results every two seconds, and what is found after the last."""

    results: str
    health: Health
    role: Role = Role.LIVENESS
    target: TargetHealth = TargetHealth.HEALTHY
    around: Surroundings = SEES
    look_in: float | None = None
    impaired: str = ""


BLIND = Surroundings(may_condemn=False, cloud_fresh=True, peers_well=True)
ALONE = Surroundings(may_condemn=True, cloud_fresh=True, peers_well=False)
NO_BEAT = Surroundings(may_condemn=True, cloud_fresh=False, peers_well=False, heartbeat_stale=True)
STARVED = Surroundings(may_condemn=True, cloud_fresh=True, peers_well=True, score=2)
STALE_CLOUD = Surroundings(may_condemn=True, cloud_fresh=False, peers_well=False)
ILL = TargetHealth.UNHEALTHY
IMPAIRED = "instance reachability failed"

ROWS = {
    "passes are healthy, and it looks again when they go stale": Row("ooo", Health.HEALTHY, look_in=28.0),
    "one failure makes a suspect": Row("ooox", Health.SUSPECT, look_in=28.0),
    "failures condemn after thirty seconds": Row("o" + "x" * 16, Health.SICK),
    "not after twenty-eight": Row("o" + "x" * 15, Health.SUSPECT, look_in=2.0),
    "a blip is forgotten after two passes and twenty seconds": Row("oox" + "o" * 10, Health.HEALTHY),
    "not after eighteen": Row("oox" + "o" * 9, Health.SUSPECT),
    "silence alone is only suspect": Row("o" + "s" * 30, Health.SUSPECT),
    "silence and an unhealthy target condemn": Row("o" + "s" * 16, Health.SICK, target=ILL),
    "silence and a failing status check condemn": Row("o" + "s" * 16, Health.SICK, impaired=IMPAIRED),
    "a failing status check long ago does not": Row(
        "o" + "s" * 30, Health.SUSPECT, impaired=IMPAIRED, around=STALE_CLOUD
    ),
    "a failing status check alone condemns nobody": Row("o" * 60, Health.HEALTHY, impaired=IMPAIRED),
    "nor does it make the unknown sick": Row("?" * 30, Health.UNKNOWN, impaired=IMPAIRED),
    "nor those of whom nothing is heard any more": Row("ooo" + "?" * 20, Health.UNKNOWN, impaired=IMPAIRED),
    "an unhealthy target long ago does not": Row("o" + "s" * 30, Health.SUSPECT, target=ILL, around=STALE_CLOUD),
    "silence for three minutes condemns when all else is well": Row("o" + "s" * 91, Health.SICK),
    "not when the others are not": Row("o" + "s" * 91, Health.SUSPECT, around=ALONE),
    "one answered failure among the silent ones counts as an answer": Row("ox" + "s" * 16, Health.SICK),
    "nobody turns sick while we are blind": Row("o" + "x" * 40, Health.SUSPECT, around=BLIND),
    "a broken check says nothing": Row("ooo" + "?" * 5, Health.HEALTHY),
    "a broken check alone is unknown": Row("?" * 30, Health.UNKNOWN),
    "a check that breaks for long leaves it unknown": Row("ooo" + "?" * 20, Health.UNKNOWN),
    "warnings never condemn": Row("o" + "w" * 60, Health.HEALTHY),
    "a readiness check never condemns": Row("o" + "x" * 60, Health.SUSPECT, role=Role.READINESS),
    "silence and a stale heartbeat condemn": Row("o" + "s" * 16, Health.SICK, around=NO_BEAT),
    "a stale heartbeat alone condemns nobody": Row("o" * 60, Health.HEALTHY, around=NO_BEAT),
    "a stale heartbeat makes the unknown no sicker": Row("ooo" + "?" * 20, Health.UNKNOWN, around=NO_BEAT),
    "a slow supervisor needs more failures": Row("o" + "x" * 16, Health.SICK, around=STARVED),
    "one that fails a fifth is suspect between its failures": Row("ooooxo" * 10 + "oo", Health.SUSPECT),
    "and sick after five minutes of it": Row("ooooxo" * 40 + "ooooxo" * 14, Health.SICK),
    "one failure in forty is noise": Row(("o" * 39 + "x") * 10 + "o" * 14, Health.HEALTHY),
    "one that fails a fifth by silence waits for a second class": Row("ooooso" * 60, Health.SUSPECT, around=ALONE),
    "and is sick with it": Row("ooooso" * 60, Health.SICK, target=ILL),
    "a readiness check that fails a fifth condemns nobody": Row("ooooxo" * 60, Health.SUSPECT, role=Role.READINESS),
    "an advisory check is not even heard": Row("x" * 60, Health.HEALTHY, role=Role.ADVISORY),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_finding_follows_from_the_results(name: str) -> None:
    """And it says when the answer may change by itself."""
    row = ROWS[name]
    made = chart(row.role, target=row.target)
    made.machine = replace(made.machine, impaired=row.impaired) if made.machine else None
    now = feed(made, row.results, around=row.around)

    assert row.health is made.finding.health, made.finding
    if row.look_in is not None:
        assert made.finding.look_at is not None
        assert row.look_in == pytest.approx(made.finding.look_at - now)


def test_the_reason_names_both_classes_of_evidence() -> None:
    """Our own check first, then what the cloud says."""
    made = chart()
    made.machine = replace(made.machine, impaired=IMPAIRED) if made.machine else None
    feed(made, "ooo")
    well = made.finding.reason
    feed(made, "s" * 16, start=10.0)

    assert f"all checks pass, and the cloud's status check fails: {IMPAIRED}" == well
    silent = "alive: s — 16 failures in a row in 30s"
    assert f"{silent}, and the cloud's status check fails: {IMPAIRED}" == made.finding.reason


def test_a_readiness_failure_asks_to_leave_the_load_balancer() -> None:
    """Only that."""
    made = chart(Role.READINESS)
    feed(made, "o" + "x" * 20)

    assert made.finding.unready


def test_what_passes_again_does_not_leave_the_load_balancer() -> None:
    """Its failures came just short of the thirty seconds: they do not get old enough while it passes."""
    made = chart(Role.READINESS)
    feed(made, "o" + "x" * 13 + "oooo")

    assert (Health.SUSPECT, False) == (made.finding.health, made.finding.unready)


def test_the_sick_recover_after_six_passes_and_a_minute() -> None:
    """Parole: not the first pass, not the fifth."""
    made = chart()
    found = []
    now = -2.0
    for results in ("o" + "x" * 20, "o" * 29, "o" * 3):
        now = feed(made, results, start=now + 2)
        found.append(made.finding.health)

    assert [Health.SICK, Health.SICK, Health.HEALTHY] == found


def test_a_machine_that_the_cloud_calls_stopped_is_sick_and_one_that_a_user_stopped_is_not() -> None:
    """The second one is a question for people."""
    made = chart()
    made.machine = Machine("i-1", "web", MachineState.STOPPED, "a", "img", "1", "", True, reason="exited")
    made.confirmed_stopped = True
    assert Health.SICK is judge(made, NUMBERS, SEES, 100.0).health
    assert Health.SICK is not judge(made, NUMBERS, BLIND, 100.0).health
    made.confirmed_stopped = False
    made.machine = Machine("i-1", "web", MachineState.STOPPED, "a", "img", "1", "", True, stopped_by_user=True)
    assert "a user stopped it: ask before healing" == judge(made, NUMBERS, SEES, 100.0).reason


def test_startup_ignores_failures_and_wants_five_passes_over_twenty_seconds() -> None:
    """A newcomer may stumble; it must then stand."""
    made = chart()
    now = feed(made, "x" * 50)
    assert not judge_startup(made, NUMBERS, now).ready
    now = feed(made, "o" * 10, start=now + 2)
    waiting = judge_startup(made, NUMBERS, now)
    assert (False, 2.0) == (waiting.ready, (waiting.look_at or 0) - now)
    now = feed(made, "o", start=now + 2)
    assert judge_startup(made, NUMBERS, now).ready


@pytest.mark.parametrize(("desired", "fails"), [(6, 4), (100, 5), (1_000, 5), (10_000, 6), (100_000, 6)])
def test_a_larger_fleet_needs_more_failures(desired: int, fails: int) -> None:
    """So that the whole fleet sees one false alarm in ten months, whatever its size."""
    check = CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0)
    found = weights(check, desired, NUMBERS)

    assert fails == -(-found.condemns_at // found.on_fail)


WAITS = {
    "too few failures yet wait for nothing": (Row("oxx", Health.SUSPECT), ""),
    "enough of them wait for time": (Row("o" + "x" * 10, Health.SUSPECT), "failures over 30s"),
    "silence waits for a second class": (
        Row("o" + "s" * 30, Health.SUSPECT),
        "a second class of evidence, or 180s of silence while the peers are well",
    ),
    "blindness waits for sight": (
        Row("o" + "x" * 40, Health.SUSPECT, around=BLIND),
        "clear sight, and clean rounds of results after it",
    ),
    "half-sickness waits for its time": (Row("ooooxo" * 24, Health.SUSPECT), "failures that go on for 300s"),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_suspicion_says_what_it_waits_for(name: str) -> None:
    """Above what condemns, a person asks why nothing is done."""
    row, lacks = WAITS[name]
    made = chart(row.role, target=row.target)
    feed(made, row.results, around=row.around)

    assert (Health.SUSPECT, lacks) == (made.finding.health, made.finding.waits_for)


def test_a_machine_that_lives_is_accused_by_half_a_silence() -> None:
    """Its own signs of life weigh against what our probes don't hear."""
    dead, alive = chart(), chart()
    silence = Result("i-1", "alive", Status.CRITICAL, True, 0.0, 3.0, "no answer")
    dead.checks["alive"].take(silence)
    alive.checks["alive"].take(silence, 0.5)

    assert dead.checks["alive"].score == 2 * alive.checks["alive"].score
    assert dead.checks["alive"].gray == 2 * alive.checks["alive"].gray


@pytest.mark.parametrize(
    ("lasts", "role", "health"),
    [
        (300.0, Role.LIVENESS, Health.SUSPECT),
        (900.0, Role.LIVENESS, Health.SICK),
        (900.0, Role.READINESS, Health.SUSPECT),
    ],
)
def test_a_slow_machine_leaves_the_load_balancer_and_is_sick_ten_minutes_later(
    lasts: float, role: Role, health: Health
) -> None:
    """Only by a liveness check: the others may not condemn."""
    made = chart(role)
    now = feed(made, "o" * 500)
    made.slow = Slow("alive", role, now - lasts, 0.4, 0.1)
    found = judge(made, NUMBERS, SEES, now)

    assert (health, True) == (found.health, found.unready)
    assert f"alive: 4 times as slow as its peers (400ms, median 100ms) for {lasts:.0f}s" == found.reason


@pytest.mark.parametrize(
    ("spells", "role", "health"),
    [(1, Role.LIVENESS, Health.SUSPECT), (3, Role.LIVENESS, Health.SICK), (3, Role.READINESS, Health.SUSPECT)],
)
def test_a_flapping_machine_leaves_the_load_balancer_and_is_given_up_at_the_third_spell(
    spells: int, role: Role, health: Health
) -> None:
    """It says which, and when it may come back."""
    made = chart(role)
    now = feed(made, "oxxoooooooooooooo")
    made.flapping = Flapping()
    made.flapping.since, made.flapping.spells = now, spells
    found = judge(made, NUMBERS, SEES, now)

    assert (health, True) == (found.health, found.unready)
    assert f"flapping, back once it has passed for {300 * 2 ** (spells - 1)}s" in found.reason


def test_nobody_leaves_the_load_balancer_while_nothing_is_known_of_him() -> None:
    """Unknown never leads to an act."""
    made = chart()
    now = feed(made, "oooo")
    made.slow = Slow("alive", Role.LIVENESS, now - 900, 0.4, 0.1)
    found = judge(made, NUMBERS, BLIND, now + 100)

    assert (Health.UNKNOWN, False) == (found.health, found.unready)


@pytest.mark.parametrize(("returns", "passes", "health"), [
    (0, 31, Health.HEALTHY), (1, 31, Health.SICK), (1, 61, Health.HEALTHY), (2, 500, Health.SICK),
])  # fmt: skip
def test_each_return_makes_the_next_one_harder_and_the_third_is_none(returns: int, passes: int, health: Health) -> None:
    """A minute, two minutes, never: it is replaced."""
    made = chart()
    now = feed(made, "o" + "x" * 20)
    feed(made, "o" * passes, start=now + 2, around=replace(SEES, returns=returns, withdrawn=True))

    assert health is made.finding.health
    assert ("recovered 2 times within a day already" in made.finding.reason) is (returns == 2)


def test_the_words_of_a_pass_are_the_last_that_were_told() -> None:
    """A check host tells them once, when they are new: here after a pass of the version before, which came late."""
    check = CheckPolicy("mood", "mood", Role.LIVENESS, 10.0, 3.0)
    made = Evidence(check, weights(check, 6, NUMBERS))
    for text in ("", "second", ""):
        made.take(Result("i-1", "mood", Status.OK, False, 0.0, 0.1, text))

    assert "second" == made.text
