"""The policy that `sickbay iam-policy` prints is enough for everything, and AWS enforces it here."""

from __future__ import annotations

import json

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import RATE, told
from tests.ec2.test_keeping import SHORT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_printed_policy_is_enough_from_the_first_boot_to_the_end_of_a_quarantine(make_rig: MakeRig) -> None:
    """Nothing more is allowed, and nothing is refused: boot, heal, release, heal again, stop, announce, destroy."""
    there = make_rig(2)
    there.aws.timing.snapshot = 3 * RATE
    there.aws.policy = json.loads(there.run("iam-policy").stdout)
    there.start()
    there.calm()
    victim = there.serving()[0]
    there.sicken(victim, "errors")
    there.until(lambda: there.is_healed(victim))
    there.cure(victim)
    there.asked.add(victim)
    assert "is released" in told(there.run("quarantine", "release", victim))
    there.until(lambda: victim in there.serving())

    there.more = SHORT
    there.write()
    there.restart()
    other = next(name for name in there.serving() if name != victim)
    there.sicken(other, "crash")
    there.until(lambda: there.lifecycle(other) == "retired", 90)
    there.calm()
    refused = [c for c in there.seen if c.entry.answer in ("UnauthorizedOperation", "AccessDenied")]
    assert [] == refused
    assert [] == there.check()
