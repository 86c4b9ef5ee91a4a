"""A cloud's list, as it reaches the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from supervisor.core.machine import Machine, MachineState
from supervisor.core.signals import InventoryFailed, InventorySeen
from supervisor.runtime.clock import SystemClock
from supervisor.runtime.poller import Poller

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


async def test_what_is_described_as_before_is_the_same_object_and_what_is_not_is_another() -> None:
    """So that nobody need compare it again, and nothing is kept twice."""
    moved = replace(M2, address="10.0.0.9")
    seen: list[InventorySeen | InventoryFailed] = []
    poller = Poller("web", Lists([M1, M2], [M2, M1], [M1, moved], [M1, M2]), SystemClock(), 0.0, seen.append)  # type: ignore[arg-type]  # only its inventory is asked
    polling = asyncio.create_task(poller.run())
    while len(seen) < 4:
        poller.poke()
        await asyncio.sleep(0)
    polling.cancel()
    lists = [signal.machines for signal in seen if isinstance(signal, InventorySeen)]

    assert [(M1, M2), (M2, M1), (M1, moved), (M1, M2)] == lists
    assert lists[1][1] is lists[0][0] is lists[2][0] is lists[3][0]
    assert lists[1][0] is lists[0][1]
    assert lists[2][1] is not lists[0][1]
