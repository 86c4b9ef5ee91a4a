"""The broker's connection against a real Mosquitto, configured as it ships: what arrives, what does not, and deafness."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from paho.mqtt import client as paho

from supervisor.config import Config, load
from supervisor.core.signals import Beat, HeartbeatsDeaf, HeartbeatsReported
from supervisor.errors import ConfigError
from supervisor.plugins import discover
from supervisor.runtime.ears import Ears
from supervisor.runtime.heartbeats import Refused
from supervisor.surfaces.mqtt import connection, listen, open_broker
from tests.standins.broker import Mosquitto, beat, send, topic

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(60)]

CATALOGUE = discover()
MACHINES = {"i-1": "web", "i-2": "web", "i-3": "web"}
FLEET = """
[supervisor]
state = "sqlite:///tmp/sickbay-test/state.db"
[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"
[fleet.web.local]
image = "builtin:web"
[[fleet.web.check]]
kind = "http"
port = 8080
"""


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Return a broker as it ships."""
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def lax(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Return a broker that lets everybody write everywhere, in messages of any size."""
    broker = Mosquitto(tmp_path_factory.mktemp("lax"), acl=False)
    settings = broker.folder / "sickbay.conf"
    settings.write_text(settings.read_text().replace("max_packet_size 66560", ""))
    broker.start()
    yield broker
    broker.kill()


def configured(folder: Path, table: str) -> Config:
    """Return a configuration with this table [mqtt]."""
    path = folder / "config.toml"
    path.write_text(FLEET + table)
    return load(path, CATALOGUE)


class Heard:
    """What came out of the ears."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.beats: list[Beat] = []
        self.deaf: list[str] = []
        self.hints: list[str] = []
        self.notices: list[str] = []
        self.ears = Ears(MACHINES.get, self.hints.append, self._put, lambda _, text: self.notices.append(text))

    def _put(self, signal: HeartbeatsReported | HeartbeatsDeaf) -> None:
        if isinstance(signal, HeartbeatsReported):
            self.beats += signal.beats
        else:
            self.deaf.append(signal.why)

    @property
    def names(self) -> list[str]:
        """Who beat."""
        return [one.instance for one in self.beats]

    def refused(self, why: Refused) -> int:
        """How many messages were refused so."""
        return self.ears.counts[why]

    async def until(self, done: Callable[[], object]) -> None:
        """Wait for something."""
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def hearing(folder: Path, broker: Mosquitto, **changes: str) -> AsyncIterator[Heard]:
    """Listen to a broker until the end of the block."""
    heard = Heard()
    opened = open_broker(configured(folder, broker.table(**changes)), "uid")
    assert opened is not None
    heard.ears.use(opened, opened.root, partial(listen, opened))
    running = asyncio.create_task(heard.ears.run())
    try:
        await heard.until(lambda: heard.deaf[-1:] == [""] or not opened.tls)
        yield heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def say(client: paho.Client, where: str, payload: bytes, *, retain: bool = False) -> None:
    """Publish, without holding those up who listen."""
    await asyncio.to_thread(partial(send, client, where, payload, retain=retain))


async def test_only_what_a_machine_says_of_itself_arrives(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Forged under another's topic, kept by the broker, too large: the broker or we drop it, and the next one lives."""
    with mosquitto.client("i-2") as client:
        await say(client, topic("i-2"), beat(1), retain=True)
        async with hearing(tmp_path, mosquitto) as heard:
            assert [f"the broker 127.0.0.1:{mosquitto.port} has not answered yet", ""] == heard.deaf
            await heard.until(lambda: heard.refused(Refused.RETAINED))
            await say(client, topic("i-1"), beat(2))
            await say(client, "sickbay/v1/status", b"down", retain=True)
            await say(client, topic("i-2"), beat(3, metrics={"load": 0.5}))
            await heard.until(lambda: heard.beats)
            await say(client, topic("i-2"), beat(3))
            await heard.until(lambda: heard.refused(Refused.REPLAYED))

            assert ["i-2"] == heard.names
            assert {"load": 0.5} == heard.ears.said("i-2").metrics
        await say(client, topic("i-2"), b"", retain=True)


async def test_where_everybody_may_write_everywhere_the_message_itself_must_not_lie(
    tmp_path: Path, lax: Mosquitto
) -> None:
    """A name that is not the topic's is dropped, and what is too large; from what is huge we hang up, and hear on."""
    async with hearing(tmp_path, lax) as heard:
        with lax.client("i-2") as client:
            await say(client, topic("i-1"), beat(1, instance="i-2"))
            await say(client, topic("i-1"), beat(2, pad="x" * 70_000))
            await say(client, topic("i-1", fleet="none"), beat(3))
            await say(client, topic("i-3"), beat(4, instance="i-3"))
            await heard.until(lambda: heard.beats)

            await say(client, topic("i-1"), beat(5, pad="x" * 2_000_000))
            await heard.until(lambda: len(heard.deaf) == 4)

        assert heard.deaf[2].startswith("no connection to the broker")
        assert ["i-3"] == heard.names
        assert [1, 1, 1] == [heard.refused(why) for why in (Refused.FORGED, Refused.STRANGER, Refused.OVERSIZE)]


async def test_a_machine_that_breaks_off_is_a_hint(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """Its last will is told by the broker, and kept: whoever comes later learns nothing from it."""
    async with hearing(tmp_path, mosquitto) as heard:
        with mosquitto.client("i-1", will=True) as client:
            await say(client, topic("i-1"), beat(1))
            await heard.until(lambda: heard.beats)
            connected = client.socket()
            assert connected is not None
            connected.close()
            await heard.until(lambda: heard.hints)
        assert ["i-1"] == heard.hints
    async with hearing(tmp_path, mosquitto) as again:
        await again.until(lambda: again.refused(Refused.RETAINED))

        assert [] == again.hints


async def test_a_broker_that_is_killed_makes_deaf_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by its reason each time; afterwards all goes on, with nothing kept of what was said meanwhile."""
    monkeypatch.setattr(connection, "LEAST_WAIT", 0.1)
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    try:
        async with hearing(tmp_path, broker) as heard:
            with broker.client("i-1") as client:
                await say(client, topic("i-1"), beat(1))
                await heard.until(lambda: heard.beats)
                await asyncio.to_thread(broker.kill)
                await heard.until(lambda: heard.deaf[-1])
            assert heard.deaf[-1].startswith(f"no connection to the broker 127.0.0.1:{broker.port}: ")
            await heard.until(lambda: "Connection refused" in heard.deaf[-1])
            await asyncio.to_thread(broker.start)
            await heard.until(lambda: heard.deaf[-1] == "")
            with broker.client("i-1") as client:
                await say(client, topic("i-1"), beat(2))
                await heard.until(lambda: len(heard.beats) == 2)
    finally:
        broker.kill()


async def test_whoever_looks_sees_whether_the_supervisor_listens(tmp_path: Path, lax: Mosquitto) -> None:
    """`v1/status` is retained: online while it listens, offline when it left or broke off."""
    seen: list[str] = []
    with lax.client("somebody") as client:
        client.on_message = lambda _, __, message: seen.append(message.payload.decode())
        client.subscribe("sickbay/v1/status")
        async with hearing(tmp_path, lax) as heard:
            await heard.until(lambda: seen and '"online"' in seen[-1])
        await heard.until(lambda: '"offline"' in seen[-1])


async def test_a_broker_that_can_not_be_trusted_is_not_talked_to(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """The reason stands in the sentence."""
    (tmp_path / "other").mkdir()
    stranger = Mosquitto(tmp_path / "other").folder / "ca.crt"
    heard = Heard()
    opened = open_broker(configured(tmp_path, mosquitto.table(ca_file=f'"{stranger}"')), "uid")
    assert opened is not None
    heard.ears.use(opened, opened.root, partial(listen, opened))
    running = asyncio.create_task(heard.ears.run())
    await heard.until(lambda: "its certificate is not accepted" in str(heard.deaf[-1:]))
    heard.ears.use(None, "", None)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert heard.deaf[-1] == ""


def test_two_tables_that_mean_the_same_broker_are_equal(tmp_path: Path, mosquitto: Mosquitto) -> None:
    """So that a reload leaves the connection alone; a renewed certificate under the same path makes another one."""
    first, again = (open_broker(configured(tmp_path, mosquitto.table()), "uid") for _ in range(2))
    other = open_broker(configured(tmp_path, mosquitto.table(root='"other/"')), "uid")
    certificate, key = mosquitto.authority.issue("renewed")
    for old, new in ((tmp_path / "own.crt", certificate), (tmp_path / "own.key", key)):
        old.write_text(new.read_text())
        old.chmod(0o600)
    renewed = open_broker(
        configured(tmp_path, mosquitto.table(certificate='"own.crt"', key=f'{{ file = "{tmp_path}/own.key" }}')), "uid"
    )

    assert first == again
    assert first != other
    assert first != renewed
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize("which", ["a key of another certificate", "no certificate at all", "no extra"])
def test_what_can_not_be_used_is_refused_at_once(
    tmp_path: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """In one sentence, with its place, and without the secret."""
    key = mosquitto.authority.issue("another")[1]
    table = {
        "a key of another certificate": mosquitto.table(key=f'{{ file = "{key}" }}'),
        "no certificate at all": mosquitto.table(ca_file=f'"{key}"'),
        "no extra": mosquitto.table(),
    }[which]
    expected = {
        "a key of another certificate": "[mqtt] ca_file, certificate and key can't be used together: KEY_VALUES_MISMATCH",
        "no certificate at all": "[mqtt] ca_file, certificate and key can't be used together: ",
        "no extra": "[mqtt] needs paho-mqtt, which is not installed; run `pip install 'sickbay[mqtt]'`",
    }[which]
    if which == "no extra":
        monkeypatch.delitem(sys.modules, "supervisor.surfaces.mqtt.connection")
        for name in [name for name in sys.modules if name.split(".")[0] == "paho"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(ConfigError) as error:
        open_broker(configured(tmp_path, table), "uid")

    assert str(error.value).startswith(f"{tmp_path}/config.toml: {expected}")
    assert 1 == len(str(error.value).splitlines())
