"""A cloud's list, as it reaches the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Instance
from supervisor.core.signals import InventoryFailed, InventorySeen
from supervisor.core.terms import Lifecycle
from supervisor.core.world import Key
from supervisor.runtime.clock import SystemClock
from supervisor.runtime.poller import Poller

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY: Mapping[Key, Instance] = {}
M1 = Machine("i-1", "web", MachineState.RUNNING, "a", "img", "1", "10.0.0.1")
M2 = Machine("i-2", "web", MachineState.RUNNING, "a", "img", "1", "10.0.0.2")


class Lists:
    """A cloud that describes everything afresh at each look."""

    def __init__(self, *answers: Sequence[Machine]) -> None:
        """Answer these, one after the other."""
        self.answers = list(answers)

    async def inventory(self) -> Sequence[Machine]:
        """Return the next one."""
        return [replace(machine) for machine in self.answers.pop(0)]


async def polled(*answers: Sequence[Machine], journal: Mapping[Key, Instance] = NOBODY) -> list[InventorySeen]:
    """Return what the engine is told of these lists, one after the other."""
    seen: list[InventorySeen | InventoryFailed] = []
    poller = Poller("web", Lists(*answers), SystemClock(), 0.0, seen.append, journal)  # type: ignore[arg-type]  # only its inventory is asked
    polling = asyncio.create_task(poller.run())
    while len(seen) < len(answers):
        poller.poke()
        await asyncio.sleep(0)
    polling.cancel()
    return [signal for signal in seen if isinstance(signal, InventorySeen)]


async def test_what_is_described_as_before_is_the_same_object_and_what_is_not_is_another() -> None:
    """So that nobody need compare it again, and nothing is kept twice."""
    moved = replace(M2, address="10.0.0.9")
    lists = [signal.machines for signal in await polled([M1, M2], [M2, M1], [M1, moved], [M1, M2])]

    assert [[M1, M2], [M1, M2], [M1, moved], [M1, M2]] == [list(machines.values()) for machines in lists]
    assert lists[0] is lists[1]
    assert lists[0]["i-1"] is lists[2]["i-1"] is lists[3]["i-1"]
    assert lists[2]["i-2"] is not lists[0]["i-2"]


async def test_each_list_names_who_came_changed_or_went_since_the_one_before() -> None:
    """Also when one list is empty, which the engine may not believe."""
    moved = replace(M2, address="10.0.0.9")
    told = await polled([M1], [M1, M2], [M1, M2], [moved, M1], [M2], [], [M1])

    assert [("i-1",), ("i-2",), (), ("i-2",), ("i-2", "i-1"), ("i-2",), ("i-1",)] == [signal.news for signal in told]
    assert all(later.before is earlier.machines for earlier, later in pairwise(told))


async def test_what_the_journal_says_too_is_kept_once() -> None:
    """The name, and the address while it is the same."""
    known: dict[Key, Instance] = {
        name: Instance(name, "web", Lifecycle.IN_SERVICE, 0, "img", "1", "a", "10.0.0.1", T0, T0)
        for name in ("i-1", "i-2")
    }
    fresh = [replace(m, id=f"{m.id} "[:-1], address=f"{m.address} "[:-1]) for m in (M1, M2)]
    (told,) = await polled(fresh, journal=known)

    one, other = told.machines.values()
    assert (one.id, one.address, other.address) == ("i-1", "10.0.0.1", "10.0.0.2")
    assert one.id is known["i-1"].id
    assert one.address is known["i-1"].address


async def test_labels_that_many_share_are_one_object() -> None:
    """A cloud's client makes them anew for each machine."""
    labels = [(("subnet", f"a{number}"),) for number in (1, 1, 2)]
    (told,) = await polled([replace(M1, id=f"i-{n}", labels=words) for n, words in enumerate(labels)])

    one, other, third = (machine.labels for machine in told.machines.values())
    assert one is other
    assert one != third
