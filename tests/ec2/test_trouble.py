"""Stories of an AWS that is in trouble itself: answers that get lost, a zone that is out. Nobody well is touched."""

from __future__ import annotations

import time

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import Rig

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

LOST = {
    "RunInstances": "xhtml",
    "RegisterTargets": "close",
    "DeregisterTargets": "500",
    "ModifyInstanceAttribute": "truncated",
    "ModifyNetworkInterfaceAttribute": "cut",
    "CreateTags": "reset",
    "CreateSnapshots": "html",
}
"""For each call that healing needs, another way in which the answer to the first one is lost after its effect."""


def test_answers_that_get_lost_double_nothing(fleet: Rig) -> None:
    """Each call has its effect, and its answer never comes: one machine, one snapshot, one place in the load balancer."""
    for action, kind in LOST.items():
        fleet.aws.faults.add(action, kind, late=True)
    victim = fleet.serving()[0]
    fleet.sicken(victim, "errors")
    fleet.until(lambda: fleet.is_healed(victim))
    fleet.calm()

    assert [] == fleet.aws.faults.planned  # each of them came
    assert [] == fleet.check()
    assert [] == fleet.rest()


def test_a_zone_that_is_out_removes_nobody(make_rig: MakeRig) -> None:
    """Half of the fleet is silent, and AWS can't speak of that zone: nothing is removed, and what is added is elsewhere."""
    there = make_rig(6, guards="")
    there.start()
    there.calm(90)
    there.until(there.is_settled)
    calls = len(there.seen)
    with there.aws.zone_down(there.world.zones[0]):
        time.sleep(15)
        removed = there.rows("SELECT instance FROM removal")
        trouble = there.status()["inventory"]["error"]
    there.until(lambda: there.status().get("state") == "optimal" and not there.status()["sick"], 90)

    assert [] == removed
    assert there.world.zones[0] in trouble
    added = there.seen[calls:]
    assert {call.action for call in added} <= {"RunInstances", "CreateTags", "RegisterTargets"}
    assert there.world.subnets[there.world.zones[0]] not in {call.entry.params.get("SubnetId") for call in added}


def test_a_zone_without_word_is_not_a_zone_without_machines(make_rig: MakeRig) -> None:
    """Only the API of a zone is out, the machines serve on: nothing is missing, so nothing is launched or told of them."""
    there = make_rig(4)
    there.start()
    there.calm(90)
    calls = len(there.seen)
    there.aws.faults.zones_down.add(there.world.zones[0])
    there.until(lambda: there.status().get("inventory", {}).get("error"))
    time.sleep(5)
    there.aws.faults.clear()
    there.until(lambda: not there.status()["inventory"]["error"])
    there.calm()

    assert calls == len(there.seen)
    assert [] == there.rows("SELECT instance FROM incident WHERE instance <> ''")
