"""The challenge round: whom it asks, when it is passed, and what makes it void."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from supervisor.core import challenge
from supervisor.core.fleet import Fleet
from supervisor.core.health import Finding
from supervisor.core.model import Instance
from supervisor.core.settings import CheckPolicy, Explaining, FleetPolicy, Judgement
from supervisor.core.signals import Result
from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Health, Lifecycle, Role, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = Explaining()
GONE = Symptom(Pattern.IMPAIRED)


def fleet(count: int) -> Fleet:
    """Return a fleet over three zones whose first machine is sick; the others are well, as of a while ago."""
    check = CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0)
    made = Fleet(FleetPolicy("web", count, "img", "1", ("a", "b", "c"), (check,), ()), Judgement(), 0.0)
    for number in range(count):
        name = f"i-{number:04}"
        chart = made.chart(name)
        chart.observed = True
        made.set_finding(chart, Finding(Health.HEALTHY if number else Health.SICK, ""))
        made.investigation.population.place(machine(number), None)
    made.investigation.population.mark("i-0000", GONE, 0.0)
    return made


def machine(number: int) -> Instance:
    """Return one of its instances."""
    return Instance(f"i-{number:04}", "web", Lifecycle.IN_SERVICE, number, "img", "1", "abc"[number % 3], "", T0, T0)


def answer(made: Fleet, name: str, at: float, status: Status = Status.OK) -> None:
    """Have one machine answer."""
    made.charts[name].checks["alive"].take(Result(name, "alive", status, False, at, at))


def why(made: Fleet, now: float) -> str:
    """Return what the challenge still lacks."""
    challenge.watch(made, now, NUMBERS)
    return challenge.reading(made, machine(0), now, NUMBERS)[0]


def asked(made: Fleet) -> tuple[str, ...]:
    """Return whose answers are waited for."""
    assert made.investigation.asked is not None
    return made.investigation.asked.peers


def test_it_waits_for_nine_in_ten_to_answer_after_it_began() -> None:
    """Older answers do not count, and neither does the silence of a few."""
    made = fleet(21)
    assert "the others have not been asked afresh yet" == why(made, 100.0)
    assert "i-0000" in challenge.begin(made, machine(0), 100.0, NUMBERS)
    assert 20 == len(asked(made))
    for place, name in enumerate(asked(made)):
        answer(made, name, 99.0 if place < 4 else 101.0)
    assert "16 of 20 asked have answered, 18 needed" == why(made, 102.0)
    for name in asked(made)[:2]:
        answer(made, name, 102.5)
    assert "" == why(made, 103.0)


def test_one_that_fails_is_asked_again_first() -> None:
    """A blip costs two seconds; the challenge passes when it is over."""
    made = fleet(6)
    challenge.begin(made, machine(0), 100.0, NUMBERS)
    for name in asked(made):
        answer(made, name, 101.0, Status.CRITICAL if name == "i-0003" else Status.OK)
    assert "1 of 5 asked fail as well, and are asked again" == why(made, 102.0)
    answer(made, "i-0003", 103.0)
    assert "" == why(made, 103.0)


def test_it_is_good_for_a_while_and_void_as_soon_as_another_falls_sick() -> None:
    """What was seen before says nothing of what comes after."""
    made = fleet(6)
    challenge.begin(made, machine(0), 100.0, NUMBERS)
    for name in asked(made):
        answer(made, name, 101.0)
    assert "" == why(made, 101.0)
    assert () == challenge.begin(made, machine(0), 105.0, NUMBERS)
    assert "" == why(made, 114.0)
    assert "" != why(made, 114.5)
    challenge.begin(made, machine(0), 115.0, NUMBERS)
    for name in asked(made):
        answer(made, name, 116.0)
    assert "" == why(made, 116.0)
    made.investigation.population.mark("i-0004", GONE, 117.0)
    assert "the others have not been asked afresh yet" == why(made, 117.0)


def test_after_a_round_without_answers_they_are_asked_again_and_that_is_told() -> None:
    """The first wait is nobody's business; a second one is."""
    made = fleet(6)
    challenge.begin(made, machine(0), 100.0, NUMBERS)
    assert () == challenge.begin(made, machine(0), 110.0, NUMBERS)
    assert challenge.begin(made, machine(0), 116.0, NUMBERS)
    assert made.investigation.asked is not None
    assert "0 of 5 asked have answered, 5 needed" == made.investigation.asked.failed


def test_of_a_large_fleet_so_many_are_asked_in_each_group_and_the_same_ones_each_time() -> None:
    """At most 59 in each group of the sick one, and 59 outside; by chance for them, not for a replay."""
    made, again = fleet(3000), fleet(3000)
    challenge.begin(made, machine(0), 100.0, NUMBERS)
    challenge.begin(again, machine(0), 100.0, NUMBERS)
    assert asked(made) == asked(again)
    inside = [name for name in asked(made) if int(name[2:]) % 3 == 0]
    assert 59 <= len(inside) <= 3 * 59
    assert 59 <= len(asked(made)) - len(inside) <= 3 * 59
    challenge.begin(again, machine(0), 200.0, replace(NUMBERS, challenge_peers=5))
    assert len(asked(again)) <= 4 * 5


def test_a_machine_without_peers_has_nobody_to_ask() -> None:
    """A fleet of one is healed all the same."""
    assert ("", "there is nobody else to ask") == challenge.reading(fleet(1), machine(0), 1.0, NUMBERS)
