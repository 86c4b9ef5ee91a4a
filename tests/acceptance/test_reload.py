"""SIGHUP to the real daemon: a good file is taken, a bad one is refused whole, and people are told of both."""

from __future__ import annotations

import signal
import socket
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from supervisor.providers.local import faults
from tests.program import Sickbay, free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon whose fleet is well."""
    made = Sickbay(tmp_path)
    try:
        made.start()
        made.until(made.is_calm)
        yield made
    finally:
        made.end()


def reload(sickbay: Sickbay, text: str) -> None:
    """Write a configuration, and have it read."""
    assert sickbay.process is not None
    sickbay.config.write_text(text)
    sickbay.process.send_signal(signal.SIGHUP)


def test_a_bad_file_changes_nothing_and_the_fleet_goes_on_healing(sickbay: Sickbay) -> None:
    """Refused in log, chat and status, until a good one is read; machines are healed and served all the while."""
    good = sickbay.config.read_text()
    elsewhere = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        refusals = {
            "broken syntax": (
                good.replace("desired = 3", "desired = many"),
                ["desired = many — column 11: Invalid value; mend the TOML syntax there"],
            ),
            "two mistakes": (
                good.replace("desired = 3", "desird = 3").replace("speed = 30", "speed = 0"),
                [
                    "[judgement] speed = 0 — expected at least",
                    "[fleet.web] desird — this key is not known; did you",
                ],
            ),
            "what only a restart changes": (
                good.replace("state.db", "other.db").replace(
                    f'listen = "127.0.0.1:{sickbay.listen}"',
                    f'listen = "127.0.0.1:{elsewhere}"\nsocket = "other.sock"',
                ),
                [
                    f"other.db — this daemon runs with {sickbay.folder}/state.db; restart it to change `state`",
                    f"other.sock — this daemon runs with {sickbay.folder}/sickbay.sock; restart it to change `socket`",
                    f"listen = 127.0.0.1:{elsewhere} — this daemon runs with 127.0.0.1:{sickbay.listen}; restart it to",
                ],
            ),
            "a front door that somebody else has": (
                good.replace(f"127.0.0.1:{sickbay.port}", f"127.0.0.1:{taken}"),
                [f"the front door of fleet web can't listen: 127.0.0.1:{taken} is taken by another process"],
            ),
        }
        for text, sentences in refusals.values():
            reload(sickbay, text)
            sickbay.until(partial(_told, sickbay, sentences))
            if "other.sock" not in text:  # that file names a socket on which nobody listens
                found = sickbay.json("status")["config_refused"]
                assert len(sentences) == len(found)
                assert all(sentence in " ".join(found) for sentence in sentences)
            assert "the new configuration is refused, the old one goes on: " in sickbay.chat()
            assert sentences[0] in [line for line in sickbay.log() if "error" in line][-1]["error"]
    assert "the configuration file is refused, the one before it goes on: " in sickbay.run("status").stdout
    victim = sickbay.serving()[0]
    faults.crash(sickbay.folder, "web", victim)
    sickbay.until(lambda: sickbay.rows("SELECT 1 FROM incident WHERE state = 'closed' AND resolution = 'replaced'"))
    with urllib.request.urlopen(f"http://127.0.0.1:{sickbay.port}/", timeout=5) as answer:
        assert 200 == answer.status
    assert sickbay.json("status")["config_refused"]

    reload(sickbay, good.replace("desired = 3", "desired = 4"))
    sickbay.until(lambda: len(sickbay.serving()) == 4)
    sickbay.until(lambda: "config.toml was read anew" in sickbay.chat())

    assert [] == sickbay.json("status")["config_refused"]


def _told(sickbay: Sickbay, sentences: list[str]) -> bool:
    """Return whether people were told so, in this order of time."""
    return all(sentence in sickbay.chat() for sentence in sentences)
