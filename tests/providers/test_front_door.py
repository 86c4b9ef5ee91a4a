"""The front door: people see the service answer while machines die. Real processes, real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.requests import Done, Launch, Register
from supervisor.errors import ProviderError
from supervisor.providers.local import WEB, LocalCloud, LocalOptions, LocalProvider, faults
from supervisor.providers.local.image import image_id

pytestmark = pytest.mark.acceptance

PACE = timedelta(milliseconds=200)


class Place:
    """Three registered machines behind a front door."""

    def __init__(self, folder: Path) -> None:
        """Choose a port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        self.options = LocalOptions(
            image=WEB, port=18060, front_door=f"127.0.0.1:{self.port}", health_interval=PACE, health_timeout=PACE
        )
        self.cloud = self.open()
        self.machines: list[str] = []

    def open(self) -> LocalCloud:
        """Open the fleet."""
        return LocalProvider.open("web", self.options, "1.0.0", self.folder, "test")

    async def up(self) -> None:
        """Launch and register three machines."""
        image = image_id(WEB)
        for number in range(3):
            done = await self.cloud.perform(Launch("web", image, "1.0.0", "ab"[number % 2], f"t{number}"))
            assert isinstance(done, Done)
            self.machines.append(done.instance)
        await self.until(lambda found: all(m.state is MachineState.RUNNING for m in found.values()))
        for name in self.machines:
            assert isinstance(await self.cloud.perform(Register("web", name, f"r-{name}")), Done)
        await self.until(lambda found: all(m.target is TargetHealth.HEALTHY for m in found.values()))

    async def until(self, wanted: Callable[[dict[str, Machine]], bool]) -> None:
        """Wait until the inventory is as wanted."""
        async with asyncio.timeout(20):
            while not wanted({m.id: m for m in await self.cloud.inventory()}):
                await asyncio.sleep(0.05)

    async def ask(self, session: aiohttp.ClientSession) -> tuple[int, str]:
        """Ask the front door once: status, and who served."""
        async with session.get(f"http://127.0.0.1:{self.port}/") as answer:
            return answer.status, answer.headers.get("X-Served-By", "")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Return a fleet that serves."""
    made = Place(tmp_path)
    await made.up()
    yield made
    await made.cloud.close()
    await made.open().destroy()


async def test_nobody_notices_that_a_machine_dies(place: Place) -> None:
    """Every request is answered while one of three is killed: a refused connection goes to the next machine."""
    async with aiohttp.ClientSession() as session:
        served = set()
        for number in range(120):
            if number == 30:
                faults.crash(place.folder, "web", place.machines[0])
            status, by = await place.ask(session)
            assert 200 == status
            served.add(by)
            await asyncio.sleep(0.01)

    assert set(place.machines) == served


async def test_when_all_are_unhealthy_it_fails_open(place: Place) -> None:
    """Sending people to a machine that errs beats sending them away."""
    for name in place.machines:
        faults.errors(place.folder, "web", name)
    await place.until(lambda found: all(m.target is TargetHealth.UNHEALTHY for m in found.values()))
    async with aiohttp.ClientSession() as session:
        status, by = await place.ask(session)

    assert 500 == status
    assert by in place.machines


async def test_it_outlives_the_supervisor_and_keeps_its_targets(place: Place) -> None:
    """Closed and opened anew: the same machines are registered, nobody was asked again."""
    await place.cloud.close()
    async with aiohttp.ClientSession() as session:
        assert 200 == (await place.ask(session))[0]
    place.cloud = place.open()
    await place.until(lambda found: {m.id for m in found.values() if m.registered} == set(place.machines))


async def test_a_dead_front_door_is_started_again_with_its_targets(place: Place) -> None:
    """It is a process like any other: found dead, it comes back as it was."""
    found = json.loads((place.folder / "local" / "web" / "front_door" / "process.json").read_text())
    os.kill(found["pid"], signal.SIGKILL)
    await place.until(lambda machines: {m.id for m in machines.values() if m.registered} == set(place.machines))
    async with aiohttp.ClientSession() as session:
        assert 200 == (await place.ask(session))[0]


async def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """Nothing is started beside somebody else's server."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = LocalOptions(image=WEB, port=18060, front_door=f"127.0.0.1:{port}")
        with pytest.raises(ProviderError, match=f"127.0.0.1:{port}"):
            LocalProvider.open("web", options, "1.0.0", tmp_path, "test")


def image(folder: Path, *, mode: int = 0o755, extra: str = "") -> Path:
    """Write a golden image."""
    folder.mkdir()
    (folder / "start").write_text("#!/bin/sh\n" + extra)
    (folder / "start").chmod(mode)
    return folder


def test_an_image_is_known_by_its_content_alone(tmp_path: Path) -> None:
    """The same files are the same image; a changed byte, or a mode, is another one."""
    one, two = image(tmp_path / "one"), image(tmp_path / "two")
    other = image(tmp_path / "other", extra="# changed\n")

    assert image_id(one) == image_id(two)
    assert image_id(one) != image_id(other)
    (two / "data").write_text("x")
    assert image_id(one) != image_id(two)


def nothing(folder: Path) -> Path:
    """Leave the folder out."""
    return folder


def empty(folder: Path) -> Path:
    """Leave `start` out."""
    folder.mkdir()
    return folder


def not_executable(folder: Path) -> Path:
    """Forget `chmod +x`."""
    return image(folder, mode=0o644)


IMAGES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (nothing, "nowhere"),
    "no start": (empty, "start"),
    "a start that can't run": (not_executable, "executable"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_is_named(name: str, tmp_path: Path) -> None:
    """Missing, without `start`, or not executable."""
    make, word = IMAGES[name]
    with pytest.raises(ProviderError, match=word):
        image_id(make(tmp_path / "nowhere"))
