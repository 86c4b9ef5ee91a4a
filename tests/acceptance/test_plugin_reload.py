"""A plugin is edited while the daemon runs: it counts after SIGHUP and not before, is watched first, and can't do harm."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import PluginError
from supervisor.plugins import read_sources
from supervisor.runtime import stragglers
from supervisor.runtime.rehearsal import rehearse
from tests.program import Sickbay
from tests.watching import plugin_folder

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

MOOD = """
import os
from supervisor.api import Check, CheckResult, Instance, Probe

class Mood(Check, kind="mood"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.{answer}("{text}")
"""
CONFIG = """
[[fleet.web.check]]
kind = "mood"
interval = "300ms"
timeout = "250ms"

[guards]
shadow_for = "30s"

[plugins]
paths = ["plugins"]

[judgement]"""


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon with a check of its own, whose fleet is well."""
    made = Sickbay(tmp_path)
    (tmp_path / "plugins").mkdir()
    edit(made, "ok", "first")
    made.write(**{"\n[judgement]": CONFIG})
    try:
        made.start()
        made.until(lambda: made.is_calm() and moods(made) == {"first"})
        yield made
    finally:
        made.end()


def edit(sickbay: Sickbay, answer: str, text: str, *, more: str = "") -> None:
    """Write the plugin anew; nobody is told."""
    plugin_folder(sickbay.folder / "plugins", MOOD.format(answer=answer, text=text) + more)


def reload(sickbay: Sickbay) -> None:
    """Have the daemon read it."""
    assert sickbay.process is not None
    sickbay.process.send_signal(signal.SIGHUP)


def get(sickbay: Sickbay, path: str) -> Any:
    """Ask the API."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sickbay.listen}/api/v1/{path}", timeout=5) as answer:
        return json.load(answer)


def moods(sickbay: Sickbay) -> set[str]:
    """Return what the check says of every machine that serves."""
    told = [get(sickbay, f"instances/{name}/explain")["checks"] for name in sickbay.serving()]
    return {check["text"] for checks in told for check in checks if check["name"] == "mood"}


def standing(sickbay: Sickbay) -> str:
    """Return whether the check votes."""
    found = sickbay.rows("SELECT standing FROM check_standing WHERE [check] = 'mood'")
    return str(found[0][0]) if found else ""


def plugin_host(sickbay: Sickbay) -> int:
    """Return the process of the plugin host."""
    assert sickbay.process is not None
    children = stragglers.children(sickbay.process.pid)
    found = [pid for pid in children if b"\0plugins\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found[0] if found else 0


def restart_host(sickbay: Sickbay) -> None:
    """Kill the plugin host, and wait for its successor's answers."""
    old = plugin_host(sickbay)
    os.kill(old, signal.SIGKILL)
    sickbay.until(lambda: plugin_host(sickbay) not in (0, old))
    answers = seen(sickbay)
    sickbay.until(lambda: seen(sickbay) > answers + 2)


def seen(sickbay: Sickbay) -> int:
    """Return how often the check has passed or failed with a machine, without a break."""
    name = sickbay.serving()[0]
    found = [check for check in get(sickbay, f"instances/{name}/explain")["checks"] if check["name"] == "mood"]
    return int(found[0]["passes_in_a_row"] + found[0]["failures_in_a_row"])


def test_an_edit_counts_after_a_reload_is_watched_first_and_a_bad_one_leaves_the_old_one_running(
    sickbay: Sickbay,
) -> None:
    """The whole life of a plugin under one daemon."""
    assert "good" == standing(sickbay)

    # 1. After SIGHUP an edited file runs and is watched. One that calls everybody sick moves nobody, and gets no vote.
    edit(sickbay, "critical", "second")
    reload(sickbay)
    sickbay.until(lambda: moods(sickbay) == {"second"})
    sickbay.until(lambda: "check mood is watched before it votes: it was changed" in sickbay.chat())
    sickbay.until(lambda: standing(sickbay) == "condemned")
    sickbay.until(lambda: "check mood has no vote until it is another version" in sickbay.chat())
    assert [] == sickbay.rows("SELECT 1 FROM incident WHERE instance <> ''")

    # 2. A version that can't be read is refused, everywhere that people look; the one before goes on.
    for text, sentence in (
        ("\nx = = 1\n", "mine.py can't be loaded: SyntaxError: invalid syntax"),
        ("\nos._exit(3)\n", "mine.py changed; mend it, or take it out of [plugins] paths"),
    ):
        edit(sickbay, "ok", "third", more=text)
        reload(sickbay)
        sickbay.until(lambda: sentence in sickbay.chat())  # noqa: B023  # it is called here and now
        assert sentence in " ".join(get(sickbay, "status")["config_refused"])
        assert sentence in [line["error"] for line in sickbay.log() if "error" in line][-1]
        assert {"second"} == moods(sickbay)
    assert "reading the plugins ended with exit code 3, and since the last time " in sickbay.chat()

    # 3. That holds when the plugin host is started anew, too: what lies on disk counts after a reload only.
    restart_host(sickbay)
    assert {"second"} == moods(sickbay)

    # 4. Mended, it is read, watched, and votes.
    edit(sickbay, "ok", "fourth")
    reload(sickbay)
    sickbay.until(lambda: moods(sickbay) == {"fourth"})
    assert [] == get(sickbay, "status")["config_refused"]
    sickbay.until(lambda: standing(sickbay) == "good")
    sickbay.until(lambda: "check mood votes from now on" in sickbay.chat())


async def test_a_plugin_that_blocks_as_it_is_read_is_refused_with_its_name(tmp_path: Path) -> None:
    """The daemon itself would stand still for ever."""
    made = Sickbay(tmp_path)
    (tmp_path / "plugins").mkdir()
    edit(made, "ok", "first")
    made.write(**{"\n[judgement]": CONFIG})
    before = read_sources([tmp_path / "plugins"])
    edit(made, "ok", "first", more="\nimport time; time.sleep(1000)\n")
    after = read_sources([tmp_path / "plugins"])
    with pytest.raises(PluginError) as caught:
        await rehearse(made.config, before, after, 2.0)

    assert f"did not come to an end within 2s, and since the last time {tmp_path}/plugins/mine.py changed" in str(
        caught.value
    )
