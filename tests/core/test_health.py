"""Judging one instance: results in, a finding out, and the moment to look again. Each row is a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from supervisor.core.evidence import Evidence, weights
from supervisor.core.health import Chart, Surroundings, judge, judge_startup
from supervisor.core.machine import Machine, MachineState, TargetHealth
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
    silent = "alive: s — 16 failures in a row, 30s"
    assert f"{silent}, and the cloud's status check fails: {IMPAIRED}" == made.finding.reason


def test_a_readiness_failure_asks_to_leave_the_load_balancer() -> None:
    """Only that."""
    made = chart(Role.READINESS)
    feed(made, "o" + "x" * 20)

    assert made.finding.unready


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
