"""Reading logs for dossiers: always one answer, few questions at once, whatever a cloud does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from supervisor.core.model import Moment
from supervisor.core.signals import LogRead, ReadLog
from supervisor.errors import ProviderError
from supervisor.runtime.log_reader import AT_ONCE, LINES, LONGEST, WAITING, LogReader
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Life
from supervisor.sim.time import VirtualClock
from supervisor.sim.world import World


class Talker(FakeCloud):
    """A cloud whose machines' names say what comes of asking."""

    def __init__(self, world: World) -> None:
        """Count who asks."""
        super().__init__(world, "web", Life())
        self.asking = self.most = 0

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Answer as the name says."""
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            await asyncio.sleep(1.0)
            if instance == "refuses":
                raise ProviderError("UnauthorizedOperation: token=c4n4ry")
            if instance == "breaks":
                raise RuntimeError("c4n4ry")
            return [f"line {n}" for n in range(500)] + ["", "\x1b[31m \x00", "x" * 9000]
        finally:
            self.asking -= 1


def answers(*machines: str) -> tuple[list[LogRead], Talker]:
    """Ask for the logs of these machines at once; return the answers."""
    clock = VirtualClock()
    cloud = Talker(World(clock))
    found: list[LogRead] = []

    async def story() -> None:
        reader = LogReader({"web": cloud}, found.append)
        for number, name in enumerate(machines):
            reader.read(ReadLog(number, Moment.OPENING, "gone" if name == "gone" else "web", name))
        await asyncio.sleep(len(machines) + 1.0)
        await reader.close()

    clock.run(story())
    return found, cloud


def test_the_last_lines_come_clean_and_cut() -> None:
    """Empty ones are left out, control characters too."""
    [found], _ = answers("talks")
    assert "" == found.trouble
    assert LINES - 2 == len(found.lines)
    assert "line 499" == found.lines[-2]
    assert LONGEST == len(found.lines[-1])


def test_why_there_is_no_log_is_told_without_what_a_bug_says() -> None:
    """A cloud's no in its words, a provider's bug by its name; a fleet that was configured away says nothing."""
    found, _ = answers("refuses", "breaks", "gone")
    said = {one.incident: one.trouble for one in found}
    assert "not read: UnauthorizedOperation: token=[masked]" == said[0]
    assert "not read: RuntimeError" == said[1]
    assert "not read: its fleet is not configured any more" == said[2]
    assert all(one.lines == () for one in found)


def test_a_storm_asks_few_at_once_and_leaves_the_rest_out() -> None:
    """Whoever gets no turn is answered at once; the cloud's patience is for healing."""
    found, cloud = answers(*["talks"] * (WAITING + 5))
    assert WAITING + 5 == len(found)
    assert AT_ONCE == cloud.most
    assert [f"not read: {WAITING} others are being read"] * 5 == [one.trouble for one in found[:5]]
    assert WAITING == sum(not one.trouble for one in found)
