"""Heartbeats with the real daemon, a real Mosquitto as it ships, and the program for the golden image."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.program import Sickbay
from tests.standins.broker import Mosquitto, beat, send, topic

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parents[2] / "image" / "sickbay-heartbeat"
CHECK = """
[[fleet.web.check]]
name = "heart"
kind = "heartbeat"
role = "advisory"
interval = "300ms"
timeout = "300ms"
"""


class Hearts:
    """The golden image's program, once for each machine."""

    def __init__(self, broker: Mosquitto) -> None:
        """Start none."""
        self._broker = broker
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, instance: str) -> None:
        """Let a machine beat."""
        certificate, key = self._broker.authority.issue(instance)
        config = self._broker.folder / f"{instance}.json"
        told = {"broker": "127.0.0.1", "port": self._broker.port, "fleet": "web", "interval": 0.3, "units": ["none.service"]}  # fmt: skip
        files = {"ca_file": f"{self._broker.folder}/ca.crt", "certificate": str(certificate), "key": str(key)}
        config.write_text(json.dumps({**told, **files}))
        self._running[instance] = subprocess.Popen([sys.executable, str(PROGRAM), str(config)])

    def stop(self, instance: str) -> None:
        """Kill a machine's heart where it stands."""
        process = self._running.pop(instance)
        process.kill()
        process.wait(10)

    def end(self) -> None:
        """Kill them all."""
        for instance in list(self._running):
            self.stop(instance)


class Ward:
    """A daemon whose machines beat over a broker."""

    def __init__(self, folder: Path) -> None:
        """Start all of it, and wait until each heart is heard."""
        (folder / "broker").mkdir()
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        self.hearts = Hearts(self.broker)
        self.sickbay = Sickbay(folder)
        text = self.sickbay.config.read_text().replace("[judgement]", f"{CHECK}\n[judgement]")
        self.sickbay.config.write_text(text + self.broker.table())

    def start(self) -> None:
        """Start the daemon, and a heart for each machine."""
        self.sickbay.start()
        self.sickbay.until(self.sickbay.is_calm)
        for instance in self.sickbay.serving():
            self.hearts.start(instance)
        for instance in self.sickbay.serving():
            self.sickbay.until(partial(self.beats, instance))

    def heart(self, instance: str) -> dict[str, Any]:
        """Return what is told of a machine's heart."""
        found = json.loads(self.get(f"/api/v1/instances/{instance}/explain"))["checks"]
        return next((check for check in found if check["name"] == "heart"), {"status": "", "text": ""})

    def beats(self, instance: str) -> bool:
        """Return whether a machine is heard."""
        return bool(self.heart(instance)["status"] == "ok")

    def get(self, path: str) -> str:
        """Return a page of the daemon's."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sickbay.listen}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def told(self, kind: str) -> list[str]:
        """Return what the log tells under this name."""
        return [line["text"] for line in self.sickbay.log() if line.get("event") == kind]

    def end(self) -> None:
        """End all of it."""
        self.hearts.end()
        self.sickbay.end()
        self.broker.kill()


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """Return a ward in which everybody beats."""
    made = Ward(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_beats_show_in_explain_and_a_dead_broker_makes_nobody_sick(ward: Ward) -> None:
    """Heard, with what came with it; a broker that dies is told once, and once that it is back; one that is mute is told."""
    sickbay = ward.sickbay
    names = sickbay.serving()
    assert [(1,)] == sickbay.rows("SELECT count(*) FROM incident")  # the fleet's beginning
    assert ward.heart(names[0])["text"].startswith("heard ")
    scrape = ward.get("/metrics")
    assert 'sickbay_heartbeats_total{outcome="accepted"}' in scrape
    assert "sickbay_heartbeats_deaf 0.0" in scrape

    ward.broker.kill()
    sickbay.until(lambda: ward.told("heartbeats.lost"))
    assert "heartbeats are not heard: no connection to the broker 127.0.0.1" in ward.told("heartbeats.lost")[0]
    sickbay.until(lambda: ward.heart(names[0])["status"] == "unknown")
    assert "no connection to the broker" in next(
        surface["trouble"] for surface in sickbay.json("status")["surfaces"] if surface["name"] == "mqtt"
    )
    ward.broker.start()
    sickbay.until(lambda: ward.told("heartbeats.back"))
    for name in names:
        sickbay.until(partial(ward.beats, name))
    # At thirty times the speed, hearts that come back after two seconds are late ones: that may be told besides.
    assert 1 == len([text for text in ward.told("heartbeats.lost") if "no connection" in text])
    assert [(1,)] == sickbay.rows("SELECT count(*) FROM incident")

    ward.hearts.stop(names[0])
    sickbay.until(lambda: ward.heart(names[0])["status"] == "critical")
    assert "no sign of life for " in ward.heart(names[0])["text"]
    assert "ok" == ward.heart(names[1])["status"]
    with ward.broker.client(names[1] + "-forger") as forger:
        send(forger, topic(names[0]), beat(2**40, "another boot"))
    assert "critical" == ward.heart(names[0])["status"]

    pid = sickbay.process
    assert pid is not None
    sickbay.config.write_text(sickbay.config.read_text().replace("\n[mqtt]", '\n[mqtt]\nclient_id = "another"'))
    pid.send_signal(signal.SIGHUP)
    sickbay.until(lambda: len([line for line in sickbay.log() if line.get("event") == "mqtt.connected"]) == 3)
    assert [(1,)] == sickbay.rows("SELECT count(*) FROM incident")
