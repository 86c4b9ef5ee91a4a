"""The acts as they are in production, bound to the policy that is printed for their fleet: none of them is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
)
from supervisor.providers.ec2.acts import Acts
from supervisor.providers.ec2.api import BotoApi
from tests.providers.ec2_gate.conftest import bound, options_of, reached
from tests.standins.asking import instances, shown
from tests.standins.aws import Aws, World, build
from tests.standins.aws.world import FLEET

pytestmark = pytest.mark.acceptance


@pytest.fixture
def quick() -> Iterator[World]:
    """Fifty of AWS's seconds pass in one of ours: acts wait for some of them."""
    with Aws(rate=50) as aws:
        yield build(aws)


@pytest.fixture
def quick_api(quick: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotoApi]:
    """Reach it as the daemon does."""
    yield from reached(quick, monkeypatch)


def launch_of(world: World, token: str) -> Launch:
    """Return a launch as the engine writes it."""
    zone = world.zones[0]
    tags = {"fleet": FLEET, "incident": "7", "launch-id": token, "supervisor": "uid/1"}
    spec = {"template": world.template, "template_version": "1", "subnet": world.subnets[zone]}
    named = tuple((f"sickbay:{key}", value) for key, value in tags.items())
    return Launch(FLEET, world.image, "1.0.0", zone, token, named, tuple(spec.items()))


def done(acts: Acts, *requests: Request) -> str:
    """Send requests, each until it is done, as the journal does; return the last instance that was named."""
    name = ""
    for request in requests:
        outcome = next((o for _ in range(8) if isinstance(o := acts.perform(request), Done | Refused)), None)
        assert isinstance(outcome, Done), f"{request.verb}: {outcome}"
        name = outcome.instance or name
    return name


def snapshots(world: World) -> list[str]:
    """Return the fleet's snapshots; the golden image has one as well."""
    ours = [{"Name": "tag:sickbay:fleet", "Values": [FLEET]}]
    return [s["SnapshotId"] for s in world.aws.admin("ec2").describe_snapshots(Filters=ours)["Snapshots"]]


def test_every_act_is_permitted_from_launch_to_the_last_snapshot(
    quick: World, quick_api: BotoApi, tmp_path: Path
) -> None:
    """Healed, released, restarted, stopped, ended and swept: AWS refuses nothing on the way."""
    aws = bound(quick).aws
    acts = Acts(FLEET, options_of(quick), quick_api, tmp_path)
    name = done(acts, launch_of(quick, "t1"))
    timing = aws.timing
    aws.forward(timing.visible + timing.pending + timing.booting + timing.initializing)
    done(
        acts,
        Register(FLEET, name, "r1"),
        Deregister(FLEET, name, "d1"),
        Restart(FLEET, name, "s1"),
        Capture(FLEET, name, "c1"),
        Isolate(FLEET, name, "i1"),
        Restore(FLEET, name, "b1"),
        Isolate(FLEET, name, "i2"),
        Stop(FLEET, name, "h1"),
    )
    aws.forward(timing.stopping + timing.snapshot)
    done(acts, Restore(FLEET, name, "b2"), Isolate(FLEET, name, "i3"))
    aws.forward(timing.pending + timing.snapshot)
    disk = shown(quick, name)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    done(acts, Mark(FLEET, name, "m1", "expired"), Terminate(FLEET, name, "e1"))
    aws.forward(timing.shutting_down)
    found = snapshots(quick)
    done(
        acts,
        Sweep(FLEET, disk, "w1", "volume"),
        *(Sweep(FLEET, snapshot, f"w {snapshot}", "snapshot") for snapshot in found),
    )

    assert found
    assert [] == aws.gate.refused
    assert [] == aws.admin("ec2").describe_volumes()["Volumes"]
    assert [] == snapshots(quick)


def test_a_newcomer_that_never_came_up_may_be_ended(quick: World, quick_api: BotoApi, tmp_path: Path) -> None:
    """Its mark is of its own kind."""
    aws = bound(quick).aws
    acts = Acts(FLEET, options_of(quick), quick_api, tmp_path)
    name = done(acts, launch_of(quick, "t1"))
    aws.forward(aws.timing.visible + aws.timing.pending)
    done(acts, Capture(FLEET, name, "c1"), Mark(FLEET, name, "m1", "failed-candidate"), Terminate(FLEET, name, "e1"))

    assert [] == aws.gate.refused


def test_a_fleet_without_target_groups_needs_none(quick: World, quick_api: BotoApi, tmp_path: Path) -> None:
    """That it serves is a tag."""
    without = {"target_groups": (), "untrack_group": None, "snapshot": False}
    aws = bound(quick, **without).aws
    acts = Acts(FLEET, options_of(quick, **without), quick_api, tmp_path)
    name = done(acts, launch_of(quick, "t1"))
    aws.forward(aws.timing.visible + aws.timing.pending)
    done(acts, Register(FLEET, name, "r1"), Deregister(FLEET, name, "d1"), Isolate(FLEET, name, "i1"))

    assert [] == aws.gate.refused


def test_a_member_of_a_group_may_be_set_aside_and_ended(group: World, group_api: BotoApi, tmp_path: Path) -> None:
    """Detached, isolated, released, and in the end ended; the group keeps its own."""
    aws = bound(group).aws
    acts = Acts(FLEET, options_of(group), group_api, tmp_path)
    name = instances(aws.admin("ec2"))[0]["InstanceId"]
    done(acts, Capture(FLEET, name, "c1"), Isolate(FLEET, name, "i1"), Restore(FLEET, name, "b1"))
    done(acts, Isolate(FLEET, name, "i2"), Mark(FLEET, name, "m1", "expired"))
    aws.forward(aws.timing.snapshot)
    done(acts, Terminate(FLEET, name, "e1"))

    assert [] == aws.gate.refused
