"""A large fleet is looked at a few hundred at a time, and nobody is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from supervisor.core.engine import Engine
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Identity, Instance, Record, Slot
from supervisor.core.rounds import AT_ONCE
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.signals import InventorySeen, Result, ResultsReported, Turn
from supervisor.core.terms import Health, Lifecycle, Mode, Now, Role, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 3 * AT_ONCE + 7
IDS = [f"i-{number:04}" for number in range(COUNT)]


def records() -> Iterator[Record]:
    """Return a fleet that serves."""
    yield Identity("test", 0, T0)
    for number, name in enumerate(IDS):
        yield Slot("web", number, name)
        yield Instance(name, "web", Lifecycle.IN_SERVICE, number, "img", "1.0.0", "a", "10.0.0.1", T0, T0, True)


def engine() -> Engine:
    """Wake up on it."""
    check = CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0)
    policy = FleetPolicy("web", COUNT, "img", "1.0.0", ("a",), (check,), (), 10.0)
    return Engine(records(), Settings(Mode.OBSERVE, {"web": policy}), Now(0.0, T0))


def step(made: Engine, at: float, *signals: InventorySeen | ResultsReported) -> Turn:
    """Make one step."""
    turn = made.step(signals, Now(at, T0 + timedelta(seconds=at)))
    made.settle()
    return turn


def healthy(made: Engine) -> int:
    """Return how many are found healthy."""
    return sum(chart.finding.health is Health.HEALTHY for chart in made.ctx.fleets["web"].charts.values())


def test_the_first_results_of_everybody_at_once_are_judged_over_several_steps() -> None:
    """The first reported come first; while anybody waits the next step is wanted at once."""
    made = engine()
    step(made, 0.0)
    listed = tuple(
        Machine(name, "web", MachineState.RUNNING, "a", "img", "1.0.0", "10.0.0.1", True, TargetHealth.HEALTHY)
        for name in IDS
    )
    for tick in range(5):
        turn = step(made, 1.0 + tick, InventorySeen.of("web", listed, 1.0))
    turn = step(made, 6.0, ResultsReported([Result(n, "alive", Status.OK, False, 5.0, 5.1, "fine") for n in IDS]))
    seen = [healthy(made)]
    while turn.next_look == 6.0:
        turn = step(made, 6.0)
        seen.append(healthy(made))

    assert [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE, COUNT] == seen[:4]
    charts = made.ctx.fleets["web"].charts
    assert all(charts[name].serving for name in IDS)
