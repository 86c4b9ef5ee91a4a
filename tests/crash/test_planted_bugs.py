"""The checker is proved by bugs that are put in on purpose: each must be found, by the invariant that it breaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from supervisor.core.journal import Step, StepStatus
from supervisor.core.model import Record
from supervisor.core.requests import Capture, Done, Launch, Outcome, Request
from supervisor.ports import Store
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Commit, Journal, Life
from supervisor.sim.run import MakeCloud, MakeJournal
from supervisor.sim.world import World
from tests.crash.test_every_point import CASES, ready, verdict

FRESH = itertools.count()


class NoToken(FakeCloud):
    """Sends every launch under a token of its own, as an SDK does that nobody gave one."""

    async def perform(self, request: Request) -> Outcome:
        """Forget the token."""
        if isinstance(request, Launch):
            request = replace(request, token=f"random-{next(FRESH)}")
        return await super().perform(request)


class BlindSnapshot(FakeCloud):
    """Makes a snapshot without looking for an earlier one."""

    def _capture(self, request: Capture) -> Outcome:
        self._world.snapshots.append((request.instance, request.token))
        return Done(request.instance)


class ActsBeforeIntent(Journal):
    """Says that intents are committed, and writes them only with the next commit."""

    def __init__(self, store: Store, world: World, life: Life, commits: list[Commit]) -> None:
        super().__init__(store, world, life, commits)
        self._late: list[Record] = []

    def _write(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        late = [c for c in changes if isinstance(c, Step) and c.status is StepStatus.INTENT and c.request]
        super()._write([*self._late, *(c for c in changes if c not in late)], deletes)
        self._late = list(late)


BUGS: dict[str, tuple[MakeCloud, MakeJournal, str]] = {
    "no token": (NoToken, Journal, "I9"),
    "act before intent": (FakeCloud, ActsBeforeIntent, "I8"),
    "blind snapshot": (BlindSnapshot, Journal, "I21"),
}


def broken_by_killing(make_cloud: MakeCloud, make_journal: MakeJournal) -> Iterator[str]:
    """Yield the invariants that are broken without a kill, then by a kill at each point in turn."""
    case = CASES["errors, replaced"]
    there, player = ready(case)
    there.make_cloud, there.make_journal = make_cloud, make_journal
    points = there.live(player.play).points
    yield from (v.invariant for v in verdict(there, player))
    for at in range(len(points)):
        there, player = ready(case)
        there.make_cloud, there.make_journal = make_cloud, make_journal
        there.live(player.play, kill_at=at)
        there.live(player.play)
        yield from (v.invariant for v in verdict(there, player))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    """The checker can fail, and for the right reason."""
    make_cloud, make_journal, invariant = BUGS[bug]

    assert any(invariant == broken for broken in broken_by_killing(make_cloud, make_journal))
