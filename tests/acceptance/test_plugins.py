"""Foreign checks in the real daemon: programs heal and report like any other check, and a bad plugin is only told of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.providers.local import faults
from tests.program import Sickbay
from tests.watching import plugin_folder

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

BAD = """
import os
from supervisor.api import Check, CheckResult, Instance, Probe

class Bad(Check, kind="bad"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        os._exit(7)
"""
FOREIGN = """
[[fleet.web.check]]
name = "page"
kind = "exec"
command = ["/usr/lib/nagios/plugins/check_http", "-H", "{address}", "-p", "MACHINES", "-u", "/healthz"]
interval = "300ms"
timeout = "250ms"

[[fleet.web.check]]
kind = "bad"
role = "advisory"
interval = "300ms"
timeout = "250ms"

[plugins]
paths = ["plugins"]

[judgement]"""


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon with foreign checks that is not started yet."""
    made = Sickbay(tmp_path)
    (tmp_path / "plugins").mkdir()
    plugin_folder(tmp_path / "plugins", BAD)
    made.write(**{"\n[judgement]": FOREIGN.replace("MACHINES", str(made.machines))})
    yield made
    made.end()


def test_a_bad_plugin_is_told_of_and_a_program_still_heals(sickbay: Sickbay) -> None:
    """People read one sentence; the machine that Debian's plugin finds sick is replaced, and no other."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    sickbay.until(
        lambda: "the check kind 'bad' brought the plugin host down" in (sickbay.folder / "out.log").read_text()
    )
    victim, *others = sickbay.serving()
    faults.errors(sickbay.folder, "web", victim)
    sickbay.until(lambda: sickbay.rows(f"SELECT 1 FROM incident WHERE instance = '{victim}' AND state = 'closed'"))
    sickbay.until(sickbay.is_calm)
    told = (sickbay.folder / "out.log").read_text()

    assert 1 == told.count("the check kind 'bad' brought the plugin host down: it ended with exit code 7")
    assert set(others) <= set(sickbay.serving())
    assert [(victim,)] == sickbay.rows("SELECT instance FROM incident WHERE resolution = 'replaced'")


def test_the_command_line_runs_programs_too(sickbay: Sickbay) -> None:
    """Once, from here, with their numbers."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    found = sickbay.json("check", "web", "--check", "page")

    assert {("ok", True)} == {(row["status"], row["text"].startswith("HTTP OK")) for row in found}
    assert {"time", "size"} == set(found[0]["metrics"])
    assert 0 == sickbay.run("check", "web", "--check", "page").returncode
