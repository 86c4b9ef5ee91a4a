"""A journal that is lost, or an older copy of itself: the tags on the machines say what is ours. Nobody is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import Rig, told

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def healed(there: Rig) -> str:
    """Let one machine fall sick and be replaced; return it."""
    victim = there.serving()[0]
    there.sicken(victim, "errors")
    there.until(lambda: there.is_healed(victim))
    there.calm()
    return victim


def journal(there: Rig) -> list[Path]:
    """Return the files of the journal; only while the daemon is dead."""
    assert there.is_dead
    return sorted(there.folder.glob("state.db*"))


def test_without_its_journal_it_finds_everything_again_and_changes_nothing(make_rig: MakeRig) -> None:
    """Who serves is adopted, who is isolated stays in quarantine, and no machine is launched or ended."""
    there = make_rig(2)
    there.start()
    there.calm()
    victim = healed(there)
    serving = there.serving()
    there.shoot()
    for file in journal(there):
        file.unlink()
    there.seen.clear()
    there.start()
    there.calm()
    there.until(lambda: there.lifecycle(victim) == "quarantined")
    there.until(there.is_settled)

    assert serving == there.serving()
    assert [] == [call.action for call in there.seen]
    assert there.evidence().machines[victim].is_isolated
    assert "was found isolated and is kept in quarantine" in there.chat()


def test_an_older_copy_of_its_journal_stops_it_until_a_person_has_looked(make_rig: MakeRig, tmp_path: Path) -> None:
    """It has counted less than the machines say: history. After a person's word the cloud is believed where they differ."""
    there = make_rig(2)
    there.start()
    there.calm()
    there.shoot()
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in journal(there):
        shutil.copy2(file, copy)
    there.start()
    there.calm()
    victim = healed(there)
    serving = there.serving()
    there.shoot()
    for file in journal(there):
        file.unlink()
    for file in copy.iterdir():
        shutil.copy2(file, there.folder)
    there.seen.clear()
    there.start()
    there.until(lambda: "restored-journal" in str(there.get("status")))
    there.until(lambda: "older copy" in there.chat())
    assert [] == [call.action for call in there.seen]

    assert "resumed" in told(there.run("resume", "--name", "restored-journal"))
    there.calm()
    there.until(there.is_settled)
    assert serving == there.serving()
    assert "quarantined" == there.lifecycle(victim)
    assert [] == [call.action for call in there.seen]
