"""Stories of a fleet that an Auto Scaling group owns: the group launches and registers, we detach what is sick."""

from __future__ import annotations

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import Rig

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def members(there: Rig) -> set[str]:
    """Return who belongs to the group."""
    found = there.aws.do("autoscaling", "DescribeAutoScalingInstances")["AutoScalingInstances"]
    return {str(one["InstanceId"]) for one in found}


def test_a_sick_member_is_detached_and_kept_and_its_group_replaces_it(make_rig: MakeRig) -> None:
    """Detached first, so that the group neither ends it nor misses it; not one launch or registration of ours."""
    there = make_rig(3, grouped=True)
    there.start()
    there.calm(90)
    assert members(there) == set(there.serving())
    assert [] == there.seen
    there.until(there.is_settled)

    victim = there.serving()[0]
    there.sicken(victim, "errors")
    there.until(lambda: there.is_healed(victim), 120)
    there.calm(90)

    actions = [call.action for call in there.seen]
    assert {"RunInstances", "RegisterTargets"}.isdisjoint(actions)
    assert 1 == actions.count("DetachInstances")
    assert actions.index("DetachInstances") < actions.index("ModifyNetworkInterfaceAttribute")
    assert victim not in members(there)
    assert 3 == len(members(there))
    assert "quarantined" == there.lifecycle(victim)
    assert there.evidence().machines[victim].is_isolated
    assert there.rest() == []
