"""A rig for each test, judged when the test is over; and a Slack that goes on while the test waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ec2.rig import SEVERAL_AT_ONCE, Rig, rig
from tests.standins.aws.thread import LoopThread
from tests.standins.slack import Slack

MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Make rigs of a wanted size; after the test the invariants hold for each, whatever happened to it."""
    made: list[Rig] = []
    with ExitStack() as ending:

        def make(desired: int = 2, guards: str = SEVERAL_AT_ONCE, *, grouped: bool = False) -> Rig:
            folder = tmp_path / str(len(made))
            folder.mkdir()
            made.append(ending.enter_context(rig(folder, desired, guards=guards, grouped=grouped)))
            return made[-1]

        yield make
        for one in made:
            assert [] == one.check(ended=False)


@pytest.fixture
def fleet(make_rig: MakeRig) -> Rig:
    """A fleet of three that serves, and its daemon."""
    made = make_rig(3)
    made.start()
    made.calm()
    return made


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A workspace that is less strict about the rate than the real one, so that a test need not wait for it."""
    made = Slack(rate=0.05)
    thread = LoopThread("slack")
    thread.start()
    thread.run(made.start())
    yield made
    thread.run(made.stop())
    thread.stop()
