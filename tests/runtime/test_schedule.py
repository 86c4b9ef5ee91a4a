"""Who is asked when: everybody in its place, suspects more often, and nobody twice."""

from __future__ import annotations

from collections import Counter

from checks.tcp import TcpCheck
from supervisor.api import Instance
from supervisor.runtime.schedule import HURRY, MOST_HURRIED, Schedule, Spec

START = 1000.0


def schedule(interval: float = 10.0, checks: tuple[str, ...] = ("alive",)) -> Schedule:
    """Return one that knows the checks of the fleet web."""
    made = Schedule(START)
    made.configure(specs(interval, checks), START)
    return made


def specs(interval: float, checks: tuple[str, ...]) -> dict[str, dict[str, Spec]]:
    """Return the checks of the fleet web."""
    return {"web": {name: Spec(name, "tcp", "tcp.py", TcpCheck(port=80), interval, 1.0) for name in checks}}


def instance(name: str, fleet: str = "web") -> Instance:
    """Return one."""
    return Instance(name, fleet, "127.0.0.1")


def runs(made: Schedule, seconds: float, begin: float = START, step: float = 0.005) -> Counter[str]:
    """Turn for so long; return how often each check came."""
    found: Counter[str] = Counter()
    for number in range(1, round(seconds / step) + 1):
        now = begin + number * step
        for pair, due in made.due(now):
            assert due <= now < due + 3 * step
            found[str(pair)] += 1
    return found


def test_everybody_comes_once_an_interval_whoever_is_suspect_five_times() -> None:
    """At the very first turn of the interval already."""
    made = schedule()
    made.observe(instance("i-1"), START, fast=False)
    made.observe(instance("i-2"), START, fast=True)

    assert {"i-1/alive": 3, "i-2/alive": 3 * HURRY} == runs(made, 30.0)


def test_a_change_of_pace_counts_at_once_and_a_forgotten_one_never_comes() -> None:
    """What was asked of it is returned, so that what is under way can be dropped."""
    made = schedule()
    made.observe(instance("i-1"), START, fast=False)
    made.observe(instance("i-1"), START, fast=True)
    assert {"i-1/alive": 2 * HURRY} == runs(made, 20.0)
    gone = made.forget("i-1")

    assert ["i-1/alive"] == [str(pair) for pair in gone]
    assert not any(pair.waits for pair in gone)
    assert (0, ()) == (len(made), made.pairs("i-1"))
    assert {} == runs(made, 20.0, START + 20.0)


def test_what_was_lost_is_counted_and_the_phase_stays() -> None:
    """After 35 s without a turn each has missed three starts of four, and comes at the same places as before."""
    made, other = schedule(), schedule()
    for one in (made, other):
        one.observe(instance("i-1"), START, fast=False)
    ((pair, _),) = made.due(START + 40.0)
    list(other.due(START + 10.0))
    (twin,) = other.pairs("i-1")

    assert made.missed in (3, 4)
    assert pair.due > START + 40.0
    assert abs((pair.due - twin.due) % 10.0) < 1e-6


def test_in_a_mass_failure_suspects_share_what_may_be_spent_on_them() -> None:
    """Twice as many as may be hurried are hurried half as much; nobody is asked less often than well."""
    crowd = round(2 * MOST_HURRIED)
    made = schedule(interval=5.0)
    for number in range(crowd):
        made.observe(instance(f"i-{number}"), START, fast=True)
    calm = sum(runs(made, 10.0).values()) / 10.0

    assert 0.9 * MOST_HURRIED <= calm <= 1.1 * MOST_HURRIED
    for number in range(10, crowd):
        made.observe(instance(f"i-{number}"), START + 10.0, fast=False)
    assert runs(made, 10.0, START + 10.0)["i-3/alive"] in (9, 10, 11)


def test_a_new_configuration_keeps_what_goes_on_and_drops_what_is_gone() -> None:
    """The object of a check that remains is the same one, so that its run in flight is still known."""
    made = schedule(checks=("alive", "old"))
    made.observe(instance("i-1"), START, fast=False)
    kept, dropped = made.pairs("i-1")
    made.configure(specs(2.0, ("alive", "new")), START)

    assert kept is made.pairs("i-1")[0]
    assert not dropped.waits
    assert {"i-1/alive": 5, "i-1/new": 5} == runs(made, 10.0)


def test_starts_are_spread_evenly_and_stay_so_after_a_reload_and_a_restart() -> None:
    """Everybody's place in the interval is its own, whenever it was told of; so no tenth of a second is crowded."""
    count, slots = 20_000, 100
    made, again = schedule(), Schedule(START + 3.3)
    again.configure(specs(10.0, ("alive",)), START + 3.3)
    for number in range(count):
        made.observe(instance(f"i-{number:05}"), START, fast=False)
        again.observe(instance(f"i-{number:05}"), START + 3.3 + number * 1e-5, fast=False)
    first = spread(made, START)
    made.configure(specs(10.0, ("alive",)), START + 14.7)

    assert max(first.values()) <= 1.25 * count / slots
    assert min(first.values()) >= 0.75 * count / slots
    assert first == spread(made, START + 20.0) == spread(again, START + 20.0)


def spread(made: Schedule, begin: float) -> Counter[int]:
    """Return how many are due in each tenth of a second of the interval that begins then."""
    for _ in made.due(begin):
        pass
    return Counter(int(due * 10) % 100 for number in range(1, 1001) for _, due in made.due(begin + number * 0.01))
