"""The real program: machines that crash with a last word, and what a person finds looked up already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.providers.local.image import WEB
from tests.program import Sickbay

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

CANARY = "c4n4ry"
PANICS = """        if fault() == "panic":
            import datetime
            print(f"{datetime.datetime.now()} panic: cart {os.getpid()} of {INSTANCE} is on fire, token=c4n4ry", flush=True)
            os._exit(3)
        word, _, seconds ="""


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon, not started yet, with an image that can panic."""
    image = tmp_path / "panicky"
    shutil.copytree(WEB, image)
    start = image / "start"
    start.write_text(start.read_text().replace("        word, _, seconds =", PANICS))
    made = Sickbay(tmp_path)
    made.write(**{'"builtin:web"': f'"{image}"', "speed = 30": "speed = 100"})
    yield made
    made.end()


def panics(sickbay: Sickbay, until: str) -> dict[str, Any]:
    """Let a machine panic; return its incident as soon as this is true of it."""
    victim = sickbay.serving()[0]
    root = sickbay.folder / "local" / "web" / "instances" / victim / "root"
    (root / "fault").write_text("panic")
    found = f"SELECT id FROM incident WHERE instance = '{victim}' AND {until}"
    sickbay.until(lambda: sickbay.rows(found))
    document: dict[str, Any] = sickbay.json("incidents", str(sickbay.rows(found)[0][0]))
    return document


def test_the_second_crash_of_a_kind_names_the_first(sickbay: Sickbay) -> None:
    """Another process, another machine, another second: the same last words. Its secret is nowhere."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    first = panics(sickbay, "state = 'closed'")
    sickbay.until(sickbay.is_calm)
    second = panics(sickbay, "fingerprint <> ''")

    assert first["fingerprint"] == second["fingerprint"] != ""
    assert [first["id"]] == second["alike"]
    said = f"second like this in 7 days, see #{first['id']}"
    assert said == second["alike_in_words"]
    sickbay.until(lambda: said in sickbay.chat())
    assert f"  {said}" in sickbay.run("incidents", str(second["id"])).stdout.splitlines()
    opening, removal = first["dossiers"]
    assert ["opening", "removal"] == [opening["moment"], removal["moment"]]
    assert opening["telling"].endswith("is on fire, token=[masked]")
    assert opening["telling"] == opening["log"][-1]
    assert ["critical"] == [one["status"] for one in opening["checks"]]
    kept = [path for path in sickbay.folder.glob("state.db*") if CANARY.encode() in path.read_bytes()]
    assert [] == kept
    assert CANARY not in sickbay.story()
    assert CANARY not in sickbay.chat()
