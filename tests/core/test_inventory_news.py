"""A list of which only the news is looked at leads to what the whole list would have led to."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from supervisor.core.engine import Engine
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.model import Identity, Instance, Record, Slot
from supervisor.core.settings import CheckPolicy, FleetPolicy, Settings
from supervisor.core.signals import InventoryFailed, InventorySeen, Result, ResultsReported, Signal, Turn
from supervisor.core.terms import Lifecycle, Mode, Now, Role, Status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 12
IDS = [f"i-{number:02}" for number in range(COUNT)]
Listed = dict[str, Machine]


def engine() -> Engine:
    """Wake up on a fleet that serves."""
    records: list[Record] = [Identity("test", 0, T0)]
    for number, name in enumerate(IDS):
        records.append(Slot("web", number, name))
        records.append(
            Instance(name, "web", Lifecycle.IN_SERVICE, number, "img", "1.0.0", "a", "10.0.0.1", T0, T0, True)
        )
    policy = FleetPolicy(
        "web", COUNT, "img", "1.0.0", ("a",), (CheckPolicy("alive", "http", Role.LIVENESS, 10.0, 3.0),), (), 10.0
    )
    return Engine(records, Settings(Mode.AUTO, {"web": policy}), Now(0.0, T0))


def machine(name: str) -> Machine:
    """Return one that is well."""
    return Machine(name, "web", MachineState.RUNNING, "a", "img", "1.0.0", "10.0.0.1", True, TargetHealth.HEALTHY)


def lists(seed: int) -> Iterator[Listed | None]:
    """Yield what a cloud shows, look by look; None where it does not answer. Who is as before is the same object."""
    dice = random.Random(seed)
    shown: Listed = {name: machine(name) for name in IDS}
    yield shown
    for number in range(120):
        match dice.choice(
            ("same", "same", "fails", "empty", "gone", "back", "ends", "stops", "isolated", "moves", "new")
        ):
            case "fails":
                yield None
                continue
            case "empty":
                yield {}
                continue
            case "same":
                pass
            case "gone":
                shown = {name: each for name, each in shown.items() if name != dice.choice(IDS)}
            case "back":
                shown = shown | {name: machine(name) for name in [dice.choice(IDS)]}
            case "new":
                shown = shown | {f"n-{number}": machine(f"n-{number}")}
            case change:
                name = dice.choice(sorted(shown))
                changes = {
                    "ends": {"state": MachineState.TERMINATED},
                    "stops": {"state": MachineState.STOPPED},
                    "isolated": {"isolated": True},
                    "moves": {"address": f"10.0.1.{number}"},
                }[change]
                shown = shown | {name: replace(shown[name], **changes)}  # type: ignore[arg-type]  # as the table says
        yield shown


def told(made: Engine, at: float, signal: Signal) -> Turn:
    """Tell the engine of a list, and that everybody passes; until then it has been awake."""
    made.step([], Now(at - 1.0, T0 + timedelta(seconds=at - 1.0)))
    made.settle()
    passes = ResultsReported([Result(name, "alive", Status.OK, False, at - 0.5, at) for name in IDS])
    turn = made.step([signal, passes], Now(at, T0 + timedelta(seconds=at)))
    made.settle()
    return turn


@pytest.mark.parametrize("seed", range(5))
def test_news_alone_leads_where_whole_lists_lead(seed: int) -> None:
    """Whatever comes, goes, stops, moves or is not told; also when the engine refuses a list, or has lost one."""
    whole, quick, dice = engine(), engine(), random.Random(seed)
    before: Mapping[str, Machine] = {}
    for number, shown in enumerate(lists(seed)):
        at = 2.0 * number + 1.0
        if shown is None:
            signals: tuple[Signal, Signal] = (InventoryFailed("web", "503"), InventoryFailed("web", "503"))
        else:
            news = [name for name in before.keys() | shown.keys() if before.get(name) is not shown.get(name)]
            listed = InventorySeen("web", shown, at - 0.2, before, tuple(sorted(news)))
            before = shown
            if dice.random() < 0.1:
                continue  # lost on its way to both
            signals = InventorySeen("web", shown, at - 0.2), listed
        first, second = (told(made, at, signal) for made, signal in zip((whole, quick), signals, strict=True))
        assert (first.changes, first.deletes, first.commands) == (second.changes, second.deletes, second.commands)
        assert (first.events, first.next_look) == (second.events, second.next_look)
    assert list(whole.ctx.world.all(Instance)) == list(quick.ctx.world.all(Instance))


def test_of_a_fleet_at_rest_a_list_without_news_looks_at_nobody() -> None:
    """However large it is."""
    made, listed = engine(), {name: machine(name) for name in IDS}
    told(made, 1.0, InventorySeen("web", listed, 0.8, {}, tuple(IDS)))
    assert not made.ctx.fleets["web"].astir
    again = InventorySeen("web", listed, 2.8, listed)
    told(made, 3.0, again)
    assert (2, 2.8) == (made.ctx.fleets["web"].inventories, made.ctx.fleets["web"].inventory_at)


def test_a_step_that_was_taken_back_has_not_seen_its_list() -> None:
    """The next one is looked at whole, though it says that nothing is new."""
    made, listed = engine(), {name: machine(name) for name in IDS}
    told(made, 1.0, InventorySeen("web", listed, 0.8, {}, tuple(IDS)))
    later = listed | {"n-1": replace(machine("n-1"), isolated=True)}
    made.step([InventorySeen("web", later, 2.8, listed, ("n-1",))], Now(3.0, T0 + timedelta(seconds=3)))
    made.rollback()
    assert made.ctx.world.get(Instance, "n-1") is None
    told(made, 5.0, InventorySeen("web", later, 4.8, later))
    assert made.ctx.world.need(Instance, "n-1").lifecycle is Lifecycle.QUARANTINED
