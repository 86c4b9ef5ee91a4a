"""One contract for every cloud: a request carried out twice has the effect of once, and a no is an answer.

Runs over the local provider with real processes, over the simulator's fake, and over `ec2` with a stand-in for AWS.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from supervisor.core.machine import Machine, MachineState, Placement, TargetHealth
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Refused,
    Register,
    Restart,
    Restore,
    Stop,
    Terminate,
    Words,
)
from supervisor.ports import Cloud
from supervisor.providers.ec2 import Ec2Options, Ec2Provider
from supervisor.providers.local import WEB, LocalCloud, LocalOptions, LocalProvider
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.time import VirtualClock
from supervisor.sim.world import World
from tests.standins.aws import Aws, build

pytestmark = pytest.mark.acceptance

LIMIT = 20.0
PACE = timedelta(milliseconds=200)


@dataclass
class Place:
    """A cloud with one image, and a way to wait there."""

    cloud: Cloud
    image: str
    pause: Callable[[], None] = lambda: None
    places: tuple[Placement, ...] = (Placement("a"), Placement("b"))
    recipe: Words = ()

    def launch(self, token: str, place: int = 0) -> Launch:
        """Return a launch."""
        tags = (("sickbay:fleet", "web"), ("sickbay:launch-id", token))
        where = self.places[place]
        return Launch("web", self.image, "1.0.0", where.zone, token, tags, self.recipe + where.spec)

    async def launched(self, token: str = "t1") -> str:
        """Launch a machine, wait until it runs, and return its id."""
        outcome = await self.cloud.perform(self.launch(token))
        assert isinstance(outcome, Done)
        await self.seen(outcome.instance, lambda m: m.state is MachineState.RUNNING)
        return outcome.instance

    async def seen(self, name: str, wanted: Callable[[Machine], bool]) -> Machine:
        """Wait until the inventory shows a machine as wanted."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            found = [m for m in await self.cloud.inventory() if m.id == name]
            if found and wanted(found[0]):
                return found[0]
            await asyncio.sleep(0.02)
            self.pause()
        raise AssertionError(f"{name} was never seen as wanted")


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Place]:
    """Real processes behind a real front door."""
    options = LocalOptions(
        image=WEB, port=18080, front_door=f"127.0.0.1:{free_port()}", health_interval=PACE, health_timeout=PACE
    )
    cloud = LocalProvider.open("web", options, "1.0.0", folder, "test")
    yield Place(cloud, LocalProvider.offline(options, "1.0.0").image)
    await cloud.close()
    await LocalProvider.open("web", options, "1.0.0", folder, "test").destroy()


@asynccontextmanager
async def fake(_: Path) -> AsyncIterator[Place]:
    """The simulator's cloud; its time goes on a little at each look."""
    clock = VirtualClock()
    world = World(clock)
    yield Place(FakeCloud(world, "web"), "img-1", lambda: clock.suspend(1.0))


@asynccontextmanager
async def ec2(folder: Path) -> AsyncIterator[Place]:
    """AWS as it is on a good day, only faster."""
    with Aws(rate=50) as aws, pytest.MonkeyPatch.context() as environment:
        for name, value in aws.environment.items():
            environment.setenv(name, value)
        world = build(aws)
        options = Ec2Options(
            region=aws.region,
            launch_template=world.template,
            subnets=tuple(world.subnets.values()),
            target_groups=(world.target_group,),
            isolation_group=world.isolation,
            untrack_group=world.untrack,
        )
        cloud = Ec2Provider.open("web", options, "1.0.0", folder, "test")
        offer = await cloud.offer()
        yield Place(cloud, offer.image, places=offer.placements, recipe=offer.recipe)
        await cloud.close()


@pytest.fixture(params=[local, fake, ec2], ids=["local", "fake", "ec2"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Return each kind of cloud in turn."""
    async with request.param(tmp_path) as found:
        yield found


async def test_one_token_is_one_machine(place: Place) -> None:
    """However often it is sent, and at the same time."""
    outcomes = await asyncio.gather(*(place.cloud.perform(place.launch("t1")) for _ in range(5)))
    again = await place.cloud.perform(place.launch("t1"))

    assert {Done} == {type(o) for o in [*outcomes, again]}
    assert 1 == len({o.instance for o in [*outcomes, again] if isinstance(o, Done)})
    assert 1 == len(await place.cloud.inventory())


async def test_one_token_with_other_parameters_is_refused(place: Place) -> None:
    """Never answered by a second machine."""
    await place.launched("t1")
    outcome = await place.cloud.perform(place.launch("t1", 1))

    assert isinstance(outcome, Refused)
    assert "IdempotentParameterMismatch" in outcome.reason
    assert 1 == len(await place.cloud.inventory())


async def test_a_machine_carries_its_tags_from_the_first_look(place: Place) -> None:
    """What a lost journal is rebuilt from."""
    name = await place.launched("t7")
    machine = next(m for m in await place.cloud.inventory() if m.id == name)

    assert "t7" == machine.tag("sickbay:launch-id")
    assert ("web", place.places[0].zone, place.image) == (machine.fleet, machine.zone, machine.image)


async def test_registering_and_deregistering_are_idempotent(place: Place) -> None:
    """Twice in, twice out; the load balancer says how it finds the machine."""
    name = await place.launched()
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Register("web", name, "r")), Done)
    await place.seen(name, lambda m: m.registered is True and m.target is TargetHealth.HEALTHY)
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Deregister("web", name, "d")), Done)
    await place.seen(name, lambda m: m.registered is False)


async def test_an_isolated_machine_is_out_and_comes_back_by_restore(place: Place) -> None:
    """Isolation takes it out of the load balancer too; restoring leaves it outside."""
    name = await place.launched()
    await place.cloud.perform(Register("web", name, "r"))
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Isolate("web", name, "i")), Done)
    await place.seen(name, lambda m: m.isolated and m.registered is False)
    assert isinstance(await place.cloud.perform(Register("web", name, "r2")), Refused)
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Restore("web", name, "s")), Done)
    await place.seen(name, lambda m: not m.isolated and m.registered is False and m.state is MachineState.RUNNING)


async def test_a_stopped_machine_is_shown_as_stopped_and_restored_anew(place: Place) -> None:
    """Its disk stays."""
    name = await place.launched()
    await place.cloud.perform(Isolate("web", name, "i"))
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Stop("web", name, "x")), Done)
    await place.seen(name, lambda m: m.state is MachineState.STOPPED)
    assert isinstance(await place.cloud.perform(Restore("web", name, "s")), Done)
    await place.seen(name, lambda m: m.state is MachineState.RUNNING)


async def test_captures_are_found_by_their_token(place: Place) -> None:
    """Twice asked, the same evidence."""
    name = await place.launched()
    first = await place.cloud.perform(Capture("web", name, "c"))
    second = await place.cloud.perform(Capture("web", name, "c"))

    assert isinstance(first, Done)
    assert first.detail
    assert first == second


async def test_a_restart_happens_once_for_each_token(place: Place) -> None:
    """The replay of an answer that was lost restarts nothing."""
    name = await place.launched()
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Restart("web", name, "again")), Done)
    await place.seen(name, lambda m: m.state is MachineState.RUNNING)


async def test_what_serves_is_not_destroyed_and_what_is_gone_is_done(place: Place) -> None:
    """Registered: no. Deregistered, and its end announced on it: yes. A second time: done already."""
    name = await place.launched()
    await place.cloud.perform(Register("web", name, "r"))
    assert isinstance(await place.cloud.perform(Terminate("web", name, "t")), Refused)
    await place.cloud.perform(Deregister("web", name, "d"))
    assert isinstance(await place.cloud.perform(Mark("web", name, "m", "expired")), Done)
    for _ in range(2):
        assert isinstance(await place.cloud.perform(Terminate("web", name, "t2")), Done)
    await place.seen(name, lambda m: m.state is MachineState.TERMINATED)


async def test_a_stranger_is_refused_in_one_sentence(place: Place) -> None:
    """Nothing is known of it, so nothing is done to it."""
    for request in (Register("web", "i-0000", "r"), Isolate("web", "i-0000", "i"), Restart("web", "i-0000", "x")):
        outcome = await place.cloud.perform(request)
        assert isinstance(outcome, Refused)
        assert "i-0000" in outcome.reason
    assert isinstance(await place.cloud.perform(Terminate("web", "i-0000", "t")), Done)


async def test_a_local_machine_outlives_its_cloud_and_is_found_again(tmp_path: Path) -> None:
    """Closed and opened anew: the same process, by pid, start time and boot id."""
    async with local(tmp_path) as place:
        name = await place.launched()
        before = await place.cloud.inventory()
        await place.cloud.close()
        assert isinstance(place.cloud, LocalCloud)
        reopened = LocalProvider.open("web", place.cloud.options, "1.0.0", tmp_path, "test")
        assert before == await reopened.inventory()
        process = tmp_path / "local" / "web" / "instances" / name / "process.json"
        process.write_text(process.read_text().replace('"started": ', '"started": 1'))
        found = next(m for m in await reopened.inventory() if m.id == name)
        assert MachineState.STOPPED is found.state  # another process has this pid now
        process.write_text(process.read_text().replace('"started": 1', '"started": '))
        await reopened.close()
