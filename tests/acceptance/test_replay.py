"""`sickbay replay` on the history of a real daemon: while it runs, and after it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.providers.local import faults
from tests.program import Sickbay

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon whose fleet is well."""
    made = Sickbay(tmp_path)
    try:
        made.start()
        made.until(made.is_calm)
        made.kill(signal.SIGTERM)
        shutil.rmtree(
            made.folder / "history"
        )  # as if the first boot were long ago: replay launches machines of its own
        made.start()
        made.until(made.is_calm)
        yield made
    finally:
        made.end()


def test_other_settings_are_tried_on_what_happened(sickbay: Sickbay) -> None:
    """A machine errs and is replaced; the same file would do the same, another one would not; errors are sentences."""
    victim = sickbay.serving()[0]
    faults.errors(sickbay.folder, "web", victim)
    sickbay.until(lambda: victim not in sickbay.serving() and sickbay.is_calm())
    running = sickbay.run("replay", "--since", "1h")
    assert (0, "") == (running.returncode, running.stderr), "it works while the daemon runs"
    sickbay.kill(signal.SIGTERM)
    (segment,) = (sickbay.folder / "history").iterdir()
    assert 0o600 == segment.stat().st_mode & 0o777

    report = sickbay.json("replay")
    (mine,) = [one for one in report["compared"] if one["machine"] == victim]
    assert ("same", "replace") == (mine["compared"], mine["now"]["act"])
    assert report["acted_then"] == report["acted_now"]

    sickbay.config.write_text(sickbay.config.read_text().replace('mode = "auto"', 'mode = "observe"'))
    told = sickbay.run("replay", "--since", "1h").stdout
    assert victim in told
    assert "would not have acted: held by mode" in told
    assert "0 now" in told

    assert "--since soon: expected a duration" in sickbay.run("replay", "--since", "soon").stderr
    nowhere = sickbay.run("replay", "--state", str(sickbay.folder / "elsewhere" / "state.db"))
    assert (78, True) == (nowhere.returncode, "no history is kept here" in nowhere.stderr)
    sickbay.config.write_text(sickbay.config.read_text().replace("fleet.web", "fleet.api"))
    assert "configures other fleets (api) than the history tells of (web)" in sickbay.run("replay").stderr
