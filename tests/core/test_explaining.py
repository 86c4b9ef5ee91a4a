"""What the sick have in common: populations drawn from mechanics, and the verdict on each. A row is a sentence.

The mechanics know nothing of the judge's tables: a cut link silences every check, a dead process refuses, a broken
database fails what asks it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core import diagnosis
from supervisor.core.burst import gate, tail
from supervisor.core.changes import Recent
from supervisor.core.evidence import Evidence, weights
from supervisor.core.explaining import Beacon, Picture, by_chance, weigh
from supervisor.core.health import Chart, Finding
from supervisor.core.lifespan import Lifespan
from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Instance
from supervisor.core.population import Counts, Group, Label, Population
from supervisor.core.settings import CheckPolicy, Explaining, Judgement
from supervisor.core.signals import Result, Sense
from supervisor.core.signature import Pattern, Symptom, counts, read
from supervisor.core.terms import Cause, Health, Lifecycle, Role, Scope, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = Explaining()
CHECKS = (
    CheckPolicy("tcp", "tcp", Role.LIVENESS, 10.0, 3.0),
    CheckPolicy("http", "http", Role.LIVENESS, 10.0, 3.0),
    CheckPolicy("disk", "disk", Role.READINESS, 10.0, 3.0, Scope.LOCAL),
    CheckPolicy("deep", "http", Role.READINESS, 10.0, 3.0, Scope.DEEP, ("db",)),
    CheckPolicy("names", "dns", Role.READINESS, 10.0, 3.0, Scope.DEEP, ("dns",)),
)
FAULTS: dict[str, str] = {  # what each check of a machine gets: an answer, a bad one, none
    "host dead": "sssss",
    "link cut": "sssss",
    "process dead": "xxoxx",
    "hangs": "ososo",
    "disk full": "ooxoo",
    "app broken": "oxoxo",
    "page broken": "oxooo",
    "no database": "oooxo",
    "no database, page too": "oxoxo",
}


def chart(fault: str, state: MachineState = MachineState.RUNNING) -> Chart:
    """Return the chart of a machine that was asked twice since something broke."""
    made = Chart("i-1", "web", {c.name: Evidence(c, weights(c, 6, Judgement())) for c in CHECKS})
    made.machine = Machine("i-1", "web", state, "a", "img", "1", "127.0.0.1", True)
    for sign, check in zip(FAULTS[fault], CHECKS, strict=True):
        status = Status.OK if sign == "o" else Status.CRITICAL
        for at in (0.0, 2.0):
            made.checks[check.name].take(Result("i-1", check.name, status, sign == "s", at, at, sign))
    made.finding = Finding(Health.SUSPECT, "")
    return made


@cache
def symptom(fault: str, heartbeat: bool | None, stopped: bool = False) -> Symptom:
    """Return what a fault looks like."""
    return read(chart(fault, MachineState.STOPPED if stopped else MachineState.RUNNING), 2.0, heartbeat)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param("link cut", Symptom(Pattern.UNREACHABLE), id="nothing answers: unreachable"),
        pytest.param("process dead", Symptom(Pattern.UNREACHABLE, refuses=True), id="everything that goes there is refused"),
        pytest.param("hangs", Symptom(Pattern.MIXED), id="the port is open and nobody answers: mixed"),
        pytest.param("disk full", Symptom(Pattern.ONE_CHECK, "disk"), id="one check fails: that check"),
        pytest.param("no database", Symptom(Pattern.ONE_DEPENDENCY, "deep", "db"), id="what asks the database fails: the database"),
    ],
)  # fmt: skip
def test_a_symptom_is_read_from_which_checks_fail(fault: str, expected: Symptom) -> None:
    """Which checks, and whether anything answers at all."""
    assert expected == symptom(fault, None)


def test_a_blip_does_not_count_and_neither_does_the_unknown() -> None:
    """One failure is a blip; data that is too old says nothing; who counted counts until it is well."""
    made = chart("process dead")
    assert counts(made, 2.0, before=False)
    assert not counts(made, 500.0, before=False)
    made.finding = Finding(Health.UNKNOWN, "")
    assert not counts(made, 2.0, before=True)
    for check in made.checks.values():
        check.reset()
        check.take(Result("i-1", check.check.name, Status.CRITICAL, True, 3.0, 3.0))
    made.finding = Finding(Health.SUSPECT, "")
    assert not counts(made, 3.0, before=False)
    assert counts(made, 3.0, before=True)


# -- draws


def instance(number: int, total: int, rolled: float) -> Instance:
    """Return one of a fleet over three zones with two subnets each; a part of it has the new image."""
    version = "v2" if number < max(1, round(rolled * total)) and rolled else "v1"
    return Instance(
        f"i-{number:04}", "web", Lifecycle.IN_SERVICE, number, version, version, "abc"[number % 3], "", T0, T0
    )


@cache
def population(total: int, rolled: float = 0.0) -> Population:
    """Return such a fleet, all well."""
    made = Population()
    for number in range(total):
        one = instance(number, total, rolled)
        labels = (("subnet", f"{one.zone}{number // 3 % 2}"), ("type", "small" if number % 2 else "large"))
        made.place(one, Machine(one.id, "web", MachineState.RUNNING, one.zone, one.image, "", "", labels=labels))
    return made


Strikes = Callable[[random.Random, list[Instance]], list[tuple[Instance, Symptom]]]


@dataclass(frozen=True)
class Truth:
    """What happens: whom it strikes, and what each of them shows."""

    cause: Cause
    strikes: Strikes
    rolled: float = 0.0
    changes: Recent = field(default_factory=Recent)
    least: int = 2  # fewer struck than this nobody can tell from single faults


def beat(dice: random.Random, *, alive: bool) -> bool:
    """Return whether a heartbeat is fresh: now and then one is late, or the last one lingers."""
    return dice.random() < (0.93 if alive else 0.07)


def alone(dice: random.Random) -> Symptom:
    """Let one machine break by itself, in one of the ways machines do."""
    fault = dice.choices(list(FAULTS)[:8], (35, 8, 25, 12, 8, 5, 4, 3))[0]
    stopped = fault == "host dead" and dice.random() < 0.5
    return symptom(fault, beat(dice, alive=fault not in ("host dead", "link cut", "process dead")), stopped)


def some(share: float, fault: str, *, alive: bool, where: Callable[[Instance], bool] = lambda _: True) -> Strikes:
    """Return what strikes a share of those somewhere."""

    def strikes(dice: random.Random, fleet: list[Instance]) -> list[tuple[Instance, Symptom]]:
        struck = [one for one in fleet if where(one)]
        if share < 1:
            struck = dice.sample(struck, max(1, round(share * len(struck))))
        return [(one, symptom(fault, beat(dice, alive=alive))) for one in struck]

    return strikes


def single(count: int) -> Strikes:
    """Return so many machines that break by themselves, each in its way."""
    return lambda dice, fleet: [(one, alone(dice)) for one in dice.sample(fleet, count)]


def bad_image(dice: random.Random, fleet: list[Instance]) -> list[tuple[Instance, Symptom]]:
    """Break the new image: in one way for all of its machines, on most of them."""
    fault = dice.choice(["app broken", "process dead", "page broken"])
    rolled = [one for one in fleet if one.image == "v2"]
    struck = dice.sample(rolled, max(1, round(0.7 * len(rolled))))
    return [(one, symptom(fault, beat(dice, alive=fault != "process dead"))) for one in struck]


def half_blind(dice: random.Random, fleet: list[Instance]) -> list[tuple[Instance, Symptom]]:
    """Lose packets so badly that half of the machines seem gone; all of them live."""
    struck = dice.sample(fleet, max(2, len(fleet) // 2))
    return [(one, symptom("link cut", beat(dice, alive=True))) for one in struck]


def in_zone(one: Instance) -> bool:
    """Return whether it stands in zone a."""
    return one.zone == "a"


def in_subnet(one: Instance) -> bool:
    """Return whether it stands in the first subnet of zone a."""
    return one.zone == "a" and one.slot is not None and one.slot // 3 % 2 == 0


NEW_IMAGE = Recent(images={"v2": "v2 is rolled out"})
NEW_CHECK = Recent(checks={"http": "check http was changed"})
TRUTHS: dict[str, Truth] = {
    "one instance": Truth(Cause.INSTANCE, single(1), least=1),
    "two unrelated": Truth(Cause.INSTANCE, single(2), least=1),
    "zone down": Truth(Cause.ZONE, some(1, "link cut", alive=False, where=in_zone)),
    "zone 60 %": Truth(Cause.ZONE, some(0.6, "link cut", alive=False, where=in_zone)),
    "the way to a zone": Truth(Cause.ZONE, some(1, "link cut", alive=True, where=in_zone)),
    "subnet": Truth(Cause.SUBNET, some(1, "link cut", alive=False, where=in_subnet)),
    "bad image, 10 % rolled": Truth(Cause.IMAGE, bad_image, 0.1, NEW_IMAGE, least=1),
    "bad check, known": Truth(Cause.CHECK, some(1, "page broken", alive=True), changes=NEW_CHECK),
    "bad check, unknown": Truth(Cause.CHECK, some(1, "page broken", alive=True)),
    "dependency": Truth(Cause.DEPENDENCY, some(0.8, "no database", alive=True)),
    "blind": Truth(Cause.BLIND, some(1, "link cut", alive=True)),
    "half blind": Truth(Cause.BLIND, half_blind),
}
# Of a zone of four, two sick: they may share a subnet as well. It is held, and either is named.
DRAWS = {3: 120, 6: 120, 12: 100, 30: 60, 100: 25, 1000: 3}
EXPECTED: dict[str, dict[int, tuple[float, float]]] = {  # size -> (at least so many right, at most so many harmful)
    "one instance": {3: (0.9, 0), 6: (0.97, 0), 12: (0.97, 0), 30: (0.97, 0), 100: (0.97, 0), 1000: (1, 0)},
    "two unrelated": {3: (0.4, 0), 6: (0.4, 0), 12: (0.65, 0), 30: (0.9, 0), 100: (0.95, 0), 1000: (1, 0)},
    "zone down": {6: (0.6, 0.05), 12: (0.97, 0), 30: (0.97, 0), 100: (1, 0), 1000: (1, 0)},
    "zone 60 %": {12: (0.0, 0.0), 30: (0.85, 0.05), 100: (0.97, 0), 1000: (1, 0)},
    "the way to a zone": {6: (0.5, 0.05), 12: (0.9, 0), 30: (0.97, 0), 100: (1, 0), 1000: (1, 0)},
    "subnet": {12: (0.3, 0.1), 30: (0.9, 0), 100: (1, 0), 1000: (1, 0)},
    "bad image, 10 % rolled": {6: (0.6, 0.1), 12: (0.6, 0.1), 30: (0.8, 0.05), 100: (0.97, 0), 1000: (1, 0)},
    "bad check, known": {3: (1, 0), 6: (1, 0), 12: (1, 0), 30: (1, 0), 100: (1, 0), 1000: (1, 0)},
    "bad check, unknown": {3: (0.8, 0.05), 6: (0.97, 0), 12: (1, 0), 30: (1, 0), 100: (1, 0), 1000: (1, 0)},
    "dependency": {3: (0.8, 0.07), 6: (0.97, 0), 12: (1, 0), 30: (1, 0), 100: (1, 0), 1000: (1, 0)},
    "blind": {3: (0.97, 0), 6: (1, 0), 12: (1, 0), 30: (1, 0), 100: (1, 0), 1000: (1, 0)},
    "half blind": {3: (0.75, 0.05), 6: (0.9, 0.05), 12: (0.97, 0), 30: (1, 0), 100: (1, 0), 1000: (1, 0)},
}


def verdicts(truth: Truth, total: int, draws: int, seed: str) -> Iterator[Cause]:
    """Draw populations and judge each."""
    dice = random.Random(seed)
    there = population(total, truth.rolled)
    fleet = [instance(number, total, truth.rolled) for number in range(total)]
    for _ in range(draws):
        struck = truth.strikes(dice, fleet)
        for one, shows in struck:
            there.mark(one.id, shows, 0.0)
        ranked = weigh(Picture(there.counts(), truth.changes))
        yield diagnosis.conclude(ranked, there, NUMBERS, NUMBERS.instance_odds).cause
        for one, _ in struck:
            there.mark(one.id, None, 0.0)


@pytest.mark.parametrize(("name", "total"), [(name, total) for name, row in EXPECTED.items() for total in row])
def test_the_verdict_is_right_or_holds(name: str, total: int) -> None:
    """A single fault is healed, a shared one is named; where it can't be named, it is held, and hardly ever healed."""
    truth, draws = TRUTHS[name], DRAWS[total]
    tally = Counter(verdicts(truth, total, draws, f"{name}/{total}"))
    right, harmful = EXPECTED[name][total]
    assert tally[truth.cause] >= right * draws, tally
    if truth.cause is not Cause.INSTANCE:
        assert tally[Cause.INSTANCE] <= harmful * draws, tally


# -- what a verdict rests on

UNREACHABLE = symptom("link cut", None)
LATE = symptom("link cut", False)


def seen(
    total: int, *groups: tuple[str, str, int, int], shows: Symptom = UNREACHABLE, sick: int | None = None
) -> Counts:
    """Return the counts of a fleet: so many sick of so many by label."""
    most = max((k for _, _, k, _ in groups), default=0) if sick is None else sick
    made = tuple(Group(Label(name, value), n, k, Counter({shows: k})) for name, value, k, n in groups)
    return Counts(total, most, Counter({shows: most}), made)


def chance(counts: Counts, cause: Cause, **more: object) -> float:
    """Return how likely a cause is."""
    ranked = weigh(replace(Picture(counts), **more))  # type: ignore[arg-type]  # fields of a picture
    return sum(e.probability for e in ranked if e.cause is cause)


def test_chances_add_up_to_one() -> None:
    """Whatever is weighed."""
    ranked = weigh(Picture(seen(30, ("zone", "a", 8, 10), ("image", "v1", 8, 30))))
    assert 1.0 == pytest.approx(sum(e.probability for e in ranked))


@given(st.integers(2, 20), st.integers(0, 40), st.data())
def test_a_well_peer_elsewhere_never_makes_a_zone_less_likely(k: int, outside: int, data: st.DataObject) -> None:
    """All the sick stand in one zone: the more are well elsewhere, the more it is the zone."""
    n = data.draw(st.integers(k, 30))
    now, later = (seen(n + more, ("zone", "a", k, n)) for more in (outside, outside + 1))
    assert chance(later, Cause.ZONE) >= chance(now, Cause.ZONE) - 1e-12


@given(st.permutations(range(12)))
@settings(max_examples=25)
def test_who_is_called_what_changes_nothing(order: list[int]) -> None:
    """Names, and the order in which they fall sick, tell nothing."""
    made = Population()
    for number in order:
        made.place(instance(number, 12, 0.0), None)
    for number in order:
        if number % 3 == 0:
            made.mark(f"i-{number:04}", LATE, 1.0)
    plain = population(12)
    for number in range(0, 12, 3):
        plain.mark(f"i-{number:04}", LATE, 1.0)
    bare = tuple(group for group in plain.counts().groups if group.label.name not in ("subnet", "type"))
    expected = weigh(Picture(plain.counts()._replace(groups=bare)))
    for number in range(0, 12, 3):
        plain.mark(f"i-{number:04}", None, 1.0)
    assert expected == weigh(Picture(made.counts()))


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(("sick", "late", "well", "leave", "back", "old")))))
def test_the_counters_are_what_a_recount_gives(moves: list[tuple[int, str]]) -> None:
    """Whatever happens to whom."""
    made = Population()
    for at, (number, what) in enumerate(moves):
        one = instance(number, 9, 0.0)
        match what:
            case "sick" | "late" | "well":
                made.place(one, None)
                made.mark(one.id, {"sick": UNREACHABLE, "late": LATE, "well": None}[what], at)
            case "leave":
                made.leave(one.id)
            case "back":
                made.place(one, None)
            case _:
                made.expire(3.0, at)
    found = made.counts()
    sick = [m for m in made.members.values() if m.symptom is not None]
    assert (len(made.members), len(sick)) == (found.total, found.sick)
    assert Counter(m.symptom for m in sick) == found.symptoms
    hit = sorted({label for m in sick for label in m.labels})
    assert hit == [group.label for group in found.groups]
    for group in found.groups:
        there = [m for m in made.members.values() if group.label in m.labels]
        assert (len(there), sum(1 for m in there if m.symptom)) == (group.total, group.sick)
        assert Counter(m.symptom for m in there if m.symptom) == group.symptoms
    assert found == made.without({})


def test_who_was_removed_while_sick_stays_counted_for_the_window() -> None:
    """The second death in a zone meets the first one, although that machine is in quarantine."""
    made = Population()
    made.place(instance(0, 3, 0.0), None)
    made.mark("i-0000", LATE, 100.0)
    made.leave("i-0000")
    made.expire(900.0, 1000.0)
    assert 1 == made.counts().sick
    made.expire(900.0, 1001.0)
    assert 0 == made.counts().total


@pytest.mark.parametrize(
    ("counts", "more", "cause"),
    [
        pytest.param(seen(30, ("zone", "a", 10, 10), shows=symptom("link cut", True)), {}, Cause.ZONE, id="a zone unseen whose machines still send heartbeats: the zone, and nobody is removed"),
        pytest.param(seen(12, ("zone", "a", 1, 4)), {"beacons": (Beacon(Sense.ZONE, "a", False),)}, Cause.UNEXPLAINED, id="one machine, and its zone's sentinel fails: wait and see"),
        pytest.param(seen(12, ("zone", "a", 1, 4)), {"beacons": (Beacon(Sense.ZONE, "a", True),)}, Cause.INSTANCE, id="one machine, and its zone answers: the machine"),
        pytest.param(seen(6, sick=3, shows=symptom("no database", None)), {"beacons": (Beacon(Sense.DEPENDENCY, "db", False),)}, Cause.DEPENDENCY, id="the database does not answer us either: the database"),
        pytest.param(seen(10, ("image", "v2", 1, 1)), {"changes": NEW_IMAGE}, Cause.IMAGE, id="the only machine with the new image dies: the image"),
        pytest.param(seen(10, ("image", "v2", 1, 1)), {}, Cause.INSTANCE, id="the only machine with an old image dies: the machine"),
        pytest.param(seen(6, sick=6, shows=Symptom(Pattern.UNREACHABLE)), {}, Cause.BLIND, id="nobody answers: it is us who can't see"),
        pytest.param(seen(6, sick=6, shows=Symptom(Pattern.UNREACHABLE, refuses=True)), {}, Cause.FLEET, id="everybody refuses everything: we do see, and it is all of them"),
        pytest.param(seen(60, ("subnet", "a1", 9, 10)), {"changes": Recent(networks={"a1": "pushed"})}, Cause.SUBNET, id="a subnet after a push to its network: the subnet"),
        pytest.param(seen(300, ("host", "h7", 8, 8), shows=symptom("host dead", None, stopped=True)), {}, Cause.COHORT, id="all eight on one host are gone: the host"),
    ],
)  # fmt: skip
def test_what_else_speaks_counts(counts: Counts, more: dict[str, object], cause: Cause) -> None:
    """Heartbeats, sentinels, changes and other labels each can decide."""
    ranked = weigh(replace(Picture(counts), **more))  # type: ignore[arg-type]  # fields of a picture
    assert cause is diagnosis.conclude(ranked, Population(), NUMBERS, NUMBERS.instance_odds).cause


def test_fishers_p_is_the_share_of_deals_that_look_as_bad() -> None:
    """Two of two sick in a group of three of six: 3 of the 15 ways to choose two."""
    assert 3 / 15 == pytest.approx(by_chance(Group(Label("zone", "a"), 3, 2, {}), 2, 6))


def test_a_burst_is_what_chance_hardly_brings() -> None:
    """One death is life; three at once in a fleet of six are not; nor is an hour of five in three hundred."""
    assert "" == gate(1, 1, 6, Lifespan().rate, 0.0, NUMBERS)
    assert "3 of 6 are sick at once, by chance 1 in 10^10" == gate(1, 3, 6, Lifespan().rate, 0.0, NUMBERS)
    assert "5 of 300 turned sick within an hour" in gate(5, 2, 300, Lifespan().rate, 0.0, NUMBERS)
    assert 1.5 / 8766 == pytest.approx(Lifespan().rate)
    assert 0.2642411 == pytest.approx(tail(2, 1.0))
