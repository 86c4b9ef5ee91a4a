"""The machines of a fleet over real HTTP: seen together with those of other fleets, and never half."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.requests import Deregister, Done
from supervisor.errors import ProviderError
from supervisor.providers.ec2 import Ec2Options, region
from supervisor.providers.ec2.acts import Acts
from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.cloud import Ec2Cloud
from supervisor.providers.ec2.region import Region
from tests.standins.asking import until
from tests.standins.aws import Aws, World, build
from tests.standins.aws.world import FLEET

pytestmark = pytest.mark.acceptance

FAULTS = ("500", "hang", "reset", "close", "html", "xhtml", "truncated", "cut", "throttling", "limit")
ONE_LOOK = ("DescribeInstances", "DescribeInstanceStatus", "DescribeTargetHealth")


async def only(cloud: Ec2Cloud) -> Machine:
    """Return the only machine."""
    (machine,) = await cloud.inventory()
    return machine


def asked(world: World) -> list[str]:
    """Return the calls since the last time, sorted."""
    calls = sorted(world.aws.server.calls)
    world.aws.server.calls.clear()
    return calls


async def test_a_machine_from_its_launch_to_its_end(world: World, cloud: Ec2Cloud, region: Region) -> None:
    """Each time the whole truth, in our words."""
    assert [] == await cloud.inventory()
    world.aws.do("ec2", "RunInstances", **world.request("t1"))
    world.aws.forward(3)
    region.api.changes += 1  # somebody changed something: the next look is a fresh one
    machine = await only(cloud)
    assert (MachineState.PENDING, world.zones[0], world.image) == (machine.state, machine.zone, machine.image)
    assert (False, "t1") == (machine.registered, machine.tag("sickbay:launch-id"))

    world.aws.forward(200)
    world.register(machine.id)
    region.api.changes += 1
    machine = await only(cloud)
    assert (MachineState.RUNNING, True, TargetHealth.INITIAL) == (machine.state, machine.registered, machine.target)
    assert machine.address.startswith("127.")

    world.aws.forward(30)
    until(("healthy", ""), lambda: world.health(machine.id))
    world.aws.instances.impair(machine.id)
    world.aws.instances.schedule(machine.id, "instance-retirement")
    region.api.changes += 1
    machine = await only(cloud)
    assert (TargetHealth.HEALTHY, "instance reachability failed") == (machine.target, machine.impaired)
    assert ("instance-retirement",) == machine.notices

    cards = [nic.id for nic in world.aws.instances.lives[machine.id].instance.nics.values()]
    for card in cards:
        world.aws.do("ec2", "ModifyNetworkInterfaceAttribute", NetworkInterfaceId=card, Groups=[world.isolation])
    world.aws.do("ec2", "StopInstances", InstanceIds=[machine.id])
    region.api.changes += 1
    machine = await only(cloud)
    assert (True, MachineState.STOPPED, True) == (machine.isolated, machine.state, machine.stopped_by_user)

    world.aws.do("ec2", "TerminateInstances", InstanceIds=[machine.id])
    world.aws.forward(60)
    region.api.changes += 1
    machine = await only(cloud)
    assert (MachineState.TERMINATED, "Client.UserInitiatedShutdown: User initiated shutdown") == (
        machine.state,
        machine.reason,
    )
    world.aws.forward(4000)
    region.api.changes += 1
    assert [] == await cloud.inventory()


async def test_machines_of_the_template_without_our_tag_stay_out(world: World, cloud: Ec2Cloud) -> None:
    """Whoever took the tag away took the machine from us."""
    mine, other = world.launch(2)
    world.aws.do("ec2", "DeleteTags", Resources=[other], Tags=[{"Key": "sickbay:fleet"}])
    assert [mine] == [machine.id for machine in await cloud.inventory()]


async def test_the_members_of_an_auto_scaling_group(
    monkeypatch: pytest.MonkeyPatch, options: Ec2Options, tmp_path: Path
) -> None:
    """Auto Scaling itself says who is in its group."""
    with Aws(rate=50) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        world = build(aws, group_size=2)
        until(2, lambda: len(aws.instances.lives))
        aws.forward(60)
        group = aws.groups.known[FLEET]
        until(["InService", "InService"], lambda: [m.lifecycle for m in group.members.values()])
        for name in group.members:
            tags = [{"Key": "sickbay:fleet", "Value": FLEET}]
            aws.do("ec2", "CreateTags", Resources=[name], Tags=tags)
        api = BotoApi(aws.region)
        region = Region(aws.region, "", api)
        grouped = options.model_copy(update={"auto_scaling_group": FLEET, "target_groups": (world.target_group,)})
        cloud = Ec2Cloud(FLEET, grouped, "", region, Acts(FLEET, grouped, api, tmp_path))
        first, second = sorted(group.members)
        assert [(FLEET, True), (FLEET, True)] == [(m.group, m.registered) for m in await cloud.inventory()]
        params = {"AutoScalingGroupName": FLEET, "ShouldDecrementDesiredCapacity": False}
        aws.do("autoscaling", "DetachInstances", InstanceIds=[first], **params)
        region.api.changes += 1
        found = {m.id: (m.group, m.registered) for m in await cloud.inventory()}
        assert [("", False), (FLEET, True)] == [found[first], found[second]]
        await cloud.close()


# ---------------------------------------------------------------------------------------------- what fails


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_list_that_fails_is_unknown_and_never_empty(
    world: World, cloud: Ec2Cloud, region: Region, kind: str
) -> None:
    """Whatever comes instead of it; the next look is well again."""
    (name,) = world.launch()
    world.aws.faults.add("DescribeInstances", kind, times=3)
    with pytest.raises(ProviderError, match="ec2 DescribeInstances in eu-central-1"):
        await cloud.inventory()
    world.aws.faults.clear()
    region.api.changes += 1
    assert name == (await only(cloud)).id


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_silent_load_balancer_or_status_speaks_against_nobody(world: World, cloud: Ec2Cloud, kind: str) -> None:
    """The machines are known all the same."""
    (name,) = world.launch()
    world.register(name)
    world.aws.instances.impair(name)
    for action in ("DescribeTargetHealth", "DescribeInstanceStatus"):
        world.aws.faults.add(action, kind, times=3)
    machine = await only(cloud)

    assert (MachineState.RUNNING, None, TargetHealth.UNKNOWN) == (machine.state, machine.registered, machine.target)
    assert "" == machine.impaired


async def test_a_load_balancer_that_takes_its_time_is_not_waited_for(world: World, options: Ec2Options) -> None:
    """Nor asked again while it still owes an answer."""
    world.launch()
    api = BotoApi(world.aws.region, patience=1.5)
    region = Region(world.aws.region, "", api, late=0.2)
    world.aws.faults.add("DescribeTargetHealth", "hang", times=9)
    for _ in range(3):
        look = await region.look(FLEET, options)
        assert (1, {world.target_group: None}) == (len(look.instances), look.targets)
        api.changes += 1
    assert 1 == asked(world).count("DescribeTargetHealth")
    region.close()


async def test_a_zone_that_is_out_is_named(world: World, cloud: Ec2Cloud, region: Region) -> None:
    """The list fails as a whole: nobody is gone, here or there."""
    world.launch(2)
    zone = world.zones[1]
    assert 2 == len(await cloud.inventory())
    with world.aws.zone_down(zone):
        region.api.changes += 1
        with pytest.raises(ProviderError, match=f"AWS can't describe zone {zone}: its machines are unknown"):
            await cloud.inventory()
    region.api.changes += 1
    assert 2 == len(await cloud.inventory())


async def test_a_zone_is_named_also_right_after_a_start(world: World, cloud: Ec2Cloud) -> None:
    """From where machines may be launched."""
    world.launch(2)
    await cloud.offer()
    with world.aws.zone_down(world.zones[0]), pytest.raises(ProviderError, match=world.zones[0]):
        await cloud.inventory()


async def test_a_region_that_is_out(world: World, cloud: Ec2Cloud) -> None:
    """All is unknown."""
    world.launch()
    world.aws.faults.region_down = "reset"
    with pytest.raises(ProviderError, match="ConnectionClosedError"):
        await cloud.inventory()


# ---------------------------------------------------------------------------------------------- one look for all


def clouds(region: Region, options: Ec2Options, tmp_path: Path, count: int) -> Sequence[Ec2Cloud]:
    """Return fleets of one region."""
    found = []
    for number in range(count):
        acts = Acts(f"f{number}", options, region.api, tmp_path)
        found.append(Ec2Cloud(f"f{number}", options, "", region, acts))
    return found


async def test_many_fleets_cost_one_description(
    world: World, region: Region, options: Ec2Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of them ask at once; each gets its own machines."""
    monkeypatch.setattr("supervisor.providers.ec2.region.STALE", 60.0)  # however slow this machine is
    one, other = world.launch(2)
    world.aws.do("ec2", "CreateTags", Resources=[other], Tags=[{"Key": "sickbay:fleet", "Value": "f7"}])
    fleets = clouds(region, options, tmp_path, 100)
    asked(world)
    found = await asyncio.gather(*(cloud.inventory() for cloud in fleets))

    assert sorted(ONE_LOOK) == asked(world)
    assert {7: [other]} == {n: [m.id for m in machines] for n, machines in enumerate(found) if machines}
    assert one not in {m.id for machines in found for m in machines}


async def test_an_answer_grows_old(world: World, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked a moment ago is shared; what is older is asked anew."""
    monkeypatch.setattr(region, "STALE", 60.0)
    await cloud.inventory()
    await cloud.inventory()
    assert sorted(ONE_LOOK) == asked(world)
    monkeypatch.setattr(region, "STALE", 0.0)
    await cloud.inventory()
    assert sorted(ONE_LOOK) == asked(world)


async def test_a_slow_answer_gets_no_queue(world: World, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks meanwhile waits for its end, and shares the next one: one call at a time for one question."""
    monkeypatch.setattr(region, "STALE", 60.0)
    world.launch()
    world.aws.faults.add("DescribeInstances", "hang")  # until our patience ends, and botocore asks again
    asked(world)
    first = asyncio.create_task(cloud.inventory())
    await asyncio.sleep(0.1)
    cloud._region.api.changes += 1
    later = [asyncio.create_task(cloud.inventory()) for _ in range(5)]
    assert [1] * 6 == [len(machines) for machines in await asyncio.gather(first, *later)]
    # The one that hung, botocore's second try (a third on a busy machine), and one for all five that waited.
    assert 3 <= asked(world).count("DescribeInstances") <= 4


async def test_nobody_sees_a_look_from_before_a_change(world: World, cloud: Ec2Cloud) -> None:
    """Not even within the second, nor by another fleet's act."""
    (name,) = world.launch()
    world.register(name)
    assert (await only(cloud)).registered
    assert isinstance(await cloud.perform(Deregister(FLEET, name, "t2")), Done)
    assert not (await only(cloud)).registered


async def test_who_waits_no_longer_does_not_end_the_look_of_others(world: World, cloud: Ec2Cloud) -> None:
    """One fleet's time limit is not another's."""
    world.launch()
    impatient, patient = (asyncio.create_task(cloud.inventory()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert 1 == len(await patient)
    assert impatient.cancelled()


async def test_acts_never_wait_for_reads(region: Region) -> None:
    """All threads that read are stuck; an act has others."""
    stuck = threading.Event()
    reads = [asyncio.create_task(region.reading(stuck.wait, 10.0)) for _ in range(20)]
    await asyncio.sleep(0)
    assert "done" == await asyncio.wait_for(region.acting(lambda: "done"), 2.0)
    stuck.set()
    await asyncio.gather(*reads)


def test_the_last_fleet_closes_the_region() -> None:
    """A reload opens a fleet anew before it closes the old one."""
    first, again, other = (Region.open("eu-central-1", "") for _ in range(3))
    elsewhere, otherwise = Region.open("eu-west-1", ""), Region.open("eu-central-1", "ops")
    assert (1, 3) == (len({first, again, other}), len({first, elsewhere, otherwise}))
    for _ in range(3):
        assert first is Region._opened["eu-central-1", ""]
        first.close()
    elsewhere.close()
    otherwise.close()
    assert {} == Region._opened


async def test_only_spot_machines_are_asked_about_as_such(world: World, cloud: Ec2Cloud) -> None:
    """One more call for a fleet that has some; what AWS has forgotten is left out, and fails nobody."""
    world.launch()
    asked(world)
    await cloud.inventory()
    assert "DescribeSpotInstanceRequests" not in asked(world)
    made = world.aws.do(
        "ec2",
        "RequestSpotInstances",
        InstanceCount=1,
        LaunchSpecification={"ImageId": world.image, "InstanceType": "t3.micro"},
    )["SpotInstanceRequests"][0]["SpotInstanceRequestId"]
    found = cloud._region._spots([made, "sir-00000000"])
    assert {made} == set(found)
    assert found[made]["Status"]["Code"]
