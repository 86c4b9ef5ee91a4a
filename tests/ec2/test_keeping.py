"""Stories of what is kept: a machine in quarantine is stopped, announced, and destroyed only when its time is over."""

from __future__ import annotations

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import RATE, Rig

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

SHORT = """
[quarantine]
running = "2s"
retention = "8s"
notice = "2s"
"""


def kept(make_rig: MakeRig, snapshot: float) -> tuple[Rig, str]:
    """Return a fleet with one machine in quarantine, for seconds only; its snapshot takes so many of ours."""
    there = make_rig(2)
    there.more = SHORT
    there.write()
    there.aws.timing.snapshot = snapshot * RATE
    there.start()
    there.calm()
    victim = there.serving()[0]
    there.sicken(victim, "errors")
    there.until(lambda: there.is_healed(victim))
    return there, victim


def state(there: Rig, name: str) -> str:
    """Return a machine's state as AWS has it."""
    return there.aws.instances.lives[name].state


def test_a_quarantine_ends_in_steps(make_rig: MakeRig) -> None:
    """Stopped, then announced on the machine itself, then destroyed; what is evidence stays."""
    there, victim = kept(make_rig, snapshot=3)
    there.until(lambda: state(there, victim) == "stopped")
    there.until(lambda: there.evidence().machines[victim].tags.get("sickbay:state") == "expired")
    there.until(lambda: there.lifecycle(victim) == "retired")
    there.calm()

    mine = [call.action for call in there.seen if victim in call.touched]
    assert mine.index("StopInstances") < mine.index("TerminateInstances")
    assert "DeleteSnapshot" not in mine
    assert [] == there.check()


def test_nothing_is_destroyed_before_its_snapshot_is_complete(make_rig: MakeRig) -> None:
    """Its time is over, and the copy of its disk is not there yet: it is refused, told, and put off; it stays protected."""
    there, victim = kept(make_rig, snapshot=3600)
    there.until(lambda: f"purge of {victim} was refused: snapshot" in there.chat())
    there.calm()

    assert "stopped" == state(there, victim)
    assert there.evidence().machines[victim].protected
    assert [] == there.check()


def test_who_is_held_on_aws_itself_stays(make_rig: MakeRig) -> None:
    """A tag is enough, from whatever tool: nobody need reach the daemon to keep the evidence."""
    there, victim = kept(make_rig, snapshot=3)
    there.aws.do("ec2", "CreateTags", Resources=[victim], Tags=[{"Key": "sickbay:hold", "Value": "we look at it"}])
    over = "SELECT 1 FROM quarantine WHERE expires_at < strftime('%Y-%m-%dT%H:%M:%f', 'now', '-4 seconds')"
    there.until(lambda: there.rows(over))

    assert state(there, victim) in ("running", "stopped")
    assert not [call for call in there.seen if call.action == "TerminateInstances"]
