"""The rest of the port: what machines leave behind, their consoles, acts, and the end."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.core.machine import LeftoverKind, MachineState
from supervisor.core.requests import Deregister, Done, Launch, Refused, Register, Throttled, Unclear
from supervisor.errors import ProviderError
from supervisor.providers.ec2 import Ec2Options, Ec2Provider
from supervisor.providers.ec2.cloud import Ec2Cloud
from supervisor.providers.ec2.region import Region
from tests.standins.aws import World
from tests.standins.aws.world import FLEET

pytestmark = pytest.mark.acceptance


def tagged(kind: str, **more: str) -> list[object]:
    """Return the tags of a thing of ours."""
    tags = {"sickbay:fleet": FLEET} | {f"sickbay:{key}": value for key, value in more.items()}
    return [{"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]


def volume(world: World, **more: str) -> str:
    """Make a volume that nobody uses."""
    made = world.aws.do(
        "ec2", "CreateVolume", Size=1, AvailabilityZone=world.zones[0], TagSpecifications=tagged("volume", **more)
    )
    return str(made["VolumeId"])


def interface(world: World, **more: str) -> str:
    """Make an interface that nobody uses."""
    made = world.aws.do(
        "ec2",
        "CreateNetworkInterface",
        SubnetId=world.subnets[world.zones[0]],
        TagSpecifications=tagged("network-interface", **more),
    )
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def snapshot(world: World, of: str, **more: str) -> str:
    """Make a snapshot."""
    made = world.aws.do("ec2", "CreateSnapshot", VolumeId=of, TagSpecifications=tagged("snapshot", **more))
    return str(made["SnapshotId"])


async def test_what_machines_leave_behind(world: World, cloud: Ec2Cloud) -> None:
    """What nobody uses, and carries our fleet's tag: with whose it was, and who holds it."""
    (machine,) = world.launch()
    free, held = volume(world, instance="i-gone"), volume(world, hold="the auditors")
    card = interface(world, instance="i-gone")
    evidence, orphan = snapshot(world, free, instance=machine), snapshot(world, free, instance="i-gone")
    world.aws.do("ec2", "CreateVolume", Size=1, AvailabilityZone=world.zones[0])
    found = {one.id: one for one in await cloud.leftovers()}

    assert {free, held, card, orphan} == set(found)
    assert evidence not in found
    assert ("i-gone", "", LeftoverKind.VOLUME) == (found[free].instance, found[free].held, found[free].kind)
    assert ("", "the auditors") == (found[held].instance, found[held].held)
    assert ("i-gone", LeftoverKind.INTERFACE) == (found[card].instance, found[card].kind)
    assert ("i-gone", LeftoverKind.SNAPSHOT) == (found[orphan].instance, found[orphan].kind)
    assert {FLEET} == {one.fleet for one in found.values()}
    assert all(datetime.now(UTC) - one.created_at < timedelta(minutes=5) for one in found.values())
    again = {one.id: one for one in await cloud.leftovers()}
    assert found[card].created_at == again[card].created_at


@pytest.mark.parametrize(
    "action", ["DescribeVolumes", "DescribeNetworkInterfaces", "DescribeSnapshots", "DescribeInstances"]
)
async def test_leftovers_are_all_or_nothing(world: World, cloud: Ec2Cloud, action: str) -> None:
    """A machine that is not shown would have its evidence taken for rubbish."""
    world.aws.faults.add(action, "500", times=3)
    with pytest.raises(ProviderError, match=action):
        await cloud.leftovers()


async def test_the_last_lines_of_a_console(world: World, cloud: Ec2Cloud) -> None:
    """Of our machines only; where there is none, none."""
    mine, other = world.launch(2)
    whole = await cloud.logs(mine, 1000)
    assert whole
    assert whole[-2:] == await cloud.logs(mine, 2)
    assert () == await cloud.logs(mine, 0)
    world.aws.do("ec2", "DeleteTags", Resources=[other], Tags=[{"Key": "sickbay:fleet"}])
    assert () == await cloud.logs(other, 10)
    assert () == await cloud.logs("i-0123456789abcdef0", 10)


async def test_an_old_kind_of_machine_has_only_an_old_console(world: World, cloud: Ec2Cloud) -> None:
    """AWS refuses to show its present one."""
    (name,) = world.launch()
    world.aws.faults.add("GetConsoleOutput", "error:UnsupportedOperation")
    assert await cloud.logs(name, 10)
    world.aws.faults.add("GetConsoleOutput", "error:UnsupportedOperation", times=2)
    assert () == await cloud.logs(name, 10)
    world.aws.faults.add("GetConsoleOutput", "500", times=3)
    with pytest.raises(ProviderError, match="GetConsoleOutput"):
        await cloud.logs(name, 10)


async def test_from_the_offer_to_a_machine_that_serves(world: World, cloud: Ec2Cloud) -> None:
    """The port as the engine uses it; each request twice, each effect once."""
    offer = await cloud.offer()
    place = offer.placements[1]
    tags = (("sickbay:fleet", FLEET), ("sickbay:launch-id", "t1"))
    launch = Launch(FLEET, offer.image, offer.version, place.zone, "t1", tags, offer.recipe + place.spec)
    done = await cloud.perform(launch)
    assert isinstance(done, Done)
    world.aws.forward(60)
    assert done.instance == getattr(await cloud.perform(launch), "instance", "")
    (machine,) = await cloud.inventory()
    assert (done.instance, "1.0.0", place.zone) == (machine.id, machine.version, machine.zone)
    for _ in range(2):
        assert isinstance(await cloud.perform(Register(FLEET, machine.id, "t2")), Done)
    (machine,) = await cloud.inventory()
    assert (MachineState.RUNNING, True) == (machine.state, machine.registered)
    assert ["RunInstances", "RegisterTargets"] == [entry.action for entry in world.aws.log.effects]


@pytest.mark.parametrize(
    ("kind", "late", "expected"),
    [
        ("500", False, Unclear),
        ("xhtml", True, Unclear),
        ("throttling", False, Throttled),
        ("error:InvalidTarget", False, Refused),
    ],
)
async def test_an_act_answers_in_one_of_four_ways(
    world: World, cloud: Ec2Cloud, kind: str, late: bool, expected: type
) -> None:
    """It never raises for what AWS does."""
    (name,) = world.launch()
    world.aws.faults.add("RegisterTargets", kind, late=late)
    assert expected is type(await cloud.perform(Register(FLEET, name, "t1")))
    assert isinstance(await cloud.perform(Register(FLEET, name, "t1")), Done)


async def test_a_cancelled_act_goes_on(world: World, cloud: Ec2Cloud) -> None:
    """So whoever cancels it must not take it for undone."""
    (name,) = world.launch()
    world.register(name)
    act = asyncio.create_task(cloud.perform(Deregister(FLEET, name, "t1")))
    await asyncio.sleep(0)
    act.cancel()
    with pytest.raises(asyncio.CancelledError):
        await act
    deadline = time.monotonic() + 10
    while not world.aws.log.effects and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert ["DeregisterTargets"] == [entry.action for entry in world.aws.log.effects]


async def test_opening_asks_nothing_and_closing_lets_go(world: World, options: Ec2Options, tmp_path: Path) -> None:
    """Through the provider, as the daemon does; what is asked after the end is unclear, never done by half."""
    cloud = Ec2Provider.open(FLEET, options, "1.0.0", tmp_path, "uid")
    assert [] == world.aws.server.calls
    (name,) = world.launch()
    assert [name] == [machine.id for machine in await cloud.inventory()]
    await cloud.close()
    await cloud.close()
    assert {} == Region._opened
    assert isinstance(await cloud.perform(Register(FLEET, name, "t1")), Unclear)
    with pytest.raises(ProviderError, match="closed"):
        await cloud.inventory()
    assert [] == world.aws.log.daemons


def test_a_missing_boto3_is_one_sentence(options: Ec2Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: who has no machines on AWS need not have it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ProviderError, match=r"boto3 is not installed: pip install 'sickbay\[ec2\]'"):
        Ec2Provider.open(FLEET, options, "", tmp_path, "uid")
