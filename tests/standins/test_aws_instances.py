"""The stand-in's instances: late to be seen, slow to run, protected as far as AWS protects, and gone in the end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.standins.asking import code, get, instances, shown, state, status, until
from tests.standins.aws import World, template_data

pytestmark = pytest.mark.acceptance


def statuses(ec2: Any, **params: Any) -> list[tuple[str, str]]:
    found = ec2.describe_instance_status(**params)["InstanceStatuses"]
    return [(s["InstanceStatus"]["Status"], s["SystemStatus"]["Status"]) for s in found]


def test_a_new_machine_is_not_found_at_first(world: World, ec2: Any) -> None:
    """No call knows it yet, by id or in a list; then it is there, pending, and runs later."""
    name = ec2.run_instances(**world.request("t1"))["Instances"][0]["InstanceId"]

    assert [] == instances(ec2)
    assert "InvalidInstanceID.NotFound" == code(ec2.describe_instances, InstanceIds=[name])
    assert "InvalidInstanceID.NotFound" == code(ec2.describe_instance_status, InstanceIds=[name])
    assert "InvalidInstanceID.NotFound" == code(ec2.terminate_instances, InstanceIds=[name])
    world.aws.forward(world.aws.timing.visible)
    assert "pending" == state(world, name)
    world.aws.forward(world.aws.timing.pending)
    assert "running" == state(world, name)


def test_statuses_begin_without_an_opinion(world: World, ec2: Any) -> None:
    """Nothing while it is pending, then `initializing`, then `ok`; `impaired` when a check fails."""
    ec2.run_instances(**world.request("t1"))
    world.aws.forward(world.aws.timing.visible)
    assert [] == statuses(ec2)
    assert [("not-applicable", "not-applicable")] == statuses(ec2, IncludeAllInstances=True)
    world.aws.forward(world.aws.timing.pending)
    assert [("initializing", "initializing")] == statuses(ec2)
    world.aws.forward(world.aws.timing.initializing)
    assert [("ok", "ok")] == statuses(ec2)
    name = instances(ec2)[0]["InstanceId"]
    world.aws.instances.impair(name)
    assert [("impaired", "ok")] == statuses(ec2, Filters=[{"Name": "instance-status.status", "Values": ["impaired"]}])
    world.aws.instances.impair(name, "system")
    assert [("ok", "impaired")] == statuses(ec2, InstanceIds=[name])


def test_scheduled_events_are_announced(world: World, ec2: Any) -> None:
    """In the statuses, and found by their code."""
    sick, _ = world.launch(2)
    world.aws.instances.schedule(sick, "instance-retirement", "The instance is running on degraded hardware")
    found = ec2.describe_instance_status(Filters=[{"Name": "event.code", "Values": ["instance-retirement"]}])

    assert [(sick, "instance-retirement")] == [
        (s["InstanceId"], s["Events"][0]["Code"]) for s in found["InstanceStatuses"]
    ]


def test_a_terminated_machine_tells_why_and_vanishes(world: World, ec2: Any) -> None:
    """Shutting down, terminated with its StateReason and without an address, and after an hour not found."""
    (name,) = world.launch()
    change = ec2.terminate_instances(InstanceIds=[name])["TerminatingInstances"][0]
    assert ("running", "shutting-down") == (change["PreviousState"]["Name"], change["CurrentState"]["Name"])
    world.aws.forward(world.aws.timing.shutting_down)
    dead = shown(world, name)
    assert ("terminated", "Client.UserInitiatedShutdown") == (dead["State"]["Name"], dead["StateReason"]["Code"])
    assert "PrivateIpAddress" not in dead
    world.aws.forward(world.aws.timing.gone)
    assert "InvalidInstanceID.NotFound" == code(ec2.describe_instances, InstanceIds=[name])
    assert [] == instances(ec2)


def test_a_machine_stops_and_starts(world: World, ec2: Any) -> None:
    """Through `stopping` and `pending`; a second stop changes nothing; what is dead cannot start."""
    (name,) = world.launch()
    ec2.stop_instances(InstanceIds=[name])
    assert "stopping" == state(world, name)
    world.aws.forward(world.aws.timing.stopping)
    assert "stopped" == state(world, name)
    ec2.stop_instances(InstanceIds=[name])
    assert [True, False] == [e.effect for e in world.aws.log.daemons]
    ec2.start_instances(InstanceIds=[name])
    assert "pending" == state(world, name)
    world.aws.forward(world.aws.timing.pending)
    assert "running" == state(world, name)
    ec2.terminate_instances(InstanceIds=[name])
    assert "IncorrectInstanceState" == code(ec2.start_instances, InstanceIds=[name])


def test_protection_holds_against_the_api(world: World, ec2: Any) -> None:
    """Stop protection refuses stopping and terminating; termination protection refuses terminating."""
    (name,) = world.launch()
    ec2.modify_instance_attribute(InstanceId=name, DisableApiStop={"Value": True})
    assert "OperationNotPermitted" == code(ec2.stop_instances, InstanceIds=[name])
    assert "OperationNotPermitted" == code(ec2.terminate_instances, InstanceIds=[name])
    ec2.modify_instance_attribute(InstanceId=name, DisableApiStop={"Value": False})
    ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": True})
    assert "OperationNotPermitted" == code(ec2.terminate_instances, InstanceIds=[name])
    shown = ec2.describe_instance_attribute(InstanceId=name, Attribute="disableApiTermination")
    assert {"Value": True} == shown["DisableApiTermination"]
    assert "" == code(ec2.stop_instances, InstanceIds=[name])


def test_a_batch_with_a_protected_machine_is_half_done(world: World, ec2: Any) -> None:
    """Its zone is refused, the other zone is carried out, and the answer is an error: one id per call."""
    a, b, protected = world.launch(3)  # zones a, b, a
    ec2.modify_instance_attribute(InstanceId=protected, DisableApiTermination={"Value": True})

    assert "OperationNotPermitted" == code(ec2.terminate_instances, InstanceIds=[a, b, protected])
    assert ["running", "shutting-down", "running"] == [state(world, n) for n in (a, b, protected)]
    assert world.aws.log.daemons[-1].effect
    assert "InvalidInstanceID.NotFound" == code(ec2.terminate_instances, InstanceIds=[a, "i-00000000000000000"])
    assert "running" == state(world, a)


@pytest.mark.parametrize(("behaviour", "expected"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_shutdown_from_within_follows_its_behaviour(world: World, ec2: Any, behaviour: str, expected: str) -> None:
    """InstanceInitiatedShutdownBehavior decides; protection does not."""
    (name,) = world.launch()
    ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": True})
    ec2.modify_instance_attribute(InstanceId=name, InstanceInitiatedShutdownBehavior={"Value": behaviour})
    world.aws.shutdown(name)
    world.aws.forward(60)

    dead = shown(world, name)
    assert (expected, "Client.InstanceInitiatedShutdown") == (dead["State"]["Name"], dead["StateReason"]["Code"])


def test_one_attribute_at_a_time(world: World, ec2: Any) -> None:
    """EC2 refuses more, and what is set to what it was has no effect."""
    (name,) = world.launch()
    both = {"DisableApiStop": {"Value": True}, "DisableApiTermination": {"Value": True}}
    assert "InvalidParameterCombination" == code(ec2.modify_instance_attribute, InstanceId=name, **both)
    for _ in range(2):
        ec2.modify_instance_attribute(InstanceId=name, DisableApiStop={"Value": True})
    assert [False, True, False] == [e.effect for e in world.aws.log.daemons]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "default"])
def test_disks_go_with_the_machine_unless_they_are_kept(world: World, ec2: Any, is_kept: bool) -> None:
    """The root disk goes by default and a further one stays; DeleteOnTermination is honoured for each."""
    data = template_data(world.image, world.serving)
    data["BlockDeviceMappings"] = [{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 3}}]
    made = ec2.create_launch_template(LaunchTemplateName="disks", LaunchTemplateData=data)["LaunchTemplate"]
    template = {"LaunchTemplateId": made["LaunchTemplateId"]}
    name = ec2.run_instances(**world.request("t1", LaunchTemplate=template))["Instances"][0]["InstanceId"]
    world.aws.forward(60)
    if is_kept:
        mapping = {"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": False}}
        ec2.modify_instance_attribute(InstanceId=name, BlockDeviceMappings=[mapping])
    ec2.terminate_instances(InstanceIds=[name])
    world.aws.forward(60)

    left = ec2.describe_volumes()["Volumes"]
    assert sorted([3, 8] if is_kept else [3]) == sorted(v["Size"] for v in left)
    assert {"available"} == {v["State"] for v in left}
    assert [] == ec2.describe_network_interfaces()["NetworkInterfaces"]


def test_a_snapshot_takes_its_time_and_has_no_token(world: World, ec2: Any) -> None:
    """Pending long before it is completed; tagged at creation; asked twice, made twice."""
    (name,) = world.launch()
    tag = [{"ResourceType": "snapshot", "Tags": [{"Key": "sickbay:incident", "Value": "1"}]}]
    wanted = [{"Name": "tag:sickbay:incident", "Values": ["1"]}]
    for _ in range(2):
        made = ec2.create_snapshots(InstanceSpecification={"InstanceId": name}, TagSpecifications=tag)["Snapshots"]
        assert ["pending"] == [s["State"] for s in made]
    assert ["pending"] * 2 == [s["State"] for s in ec2.describe_snapshots(Filters=wanted)["Snapshots"]]
    world.aws.forward(world.aws.timing.snapshot)
    assert ["completed"] * 2 == [s["State"] for s in ec2.describe_snapshots(Filters=wanted)["Snapshots"]]


def test_an_attribute_shows_the_truth(world: World, ec2: Any) -> None:
    """Groups and disks, asked one by one."""
    (name,) = world.launch()
    groups = ec2.describe_instance_attribute(InstanceId=name, Attribute="groupSet")["Groups"]
    disks = ec2.describe_instance_attribute(InstanceId=name, Attribute="blockDeviceMapping")["BlockDeviceMappings"]

    assert [world.serving] == [g["GroupId"] for g in groups]
    assert [("/dev/sda1", True)] == [(d["DeviceName"], d["Ebs"]["DeleteOnTermination"]) for d in disks]


def test_a_zone_that_is_down_fails_what_needs_it(world: World, ec2: Any) -> None:
    """A list without ids, or with an id there, fails as a whole; the other zone answers; its machines are silent."""
    a, b = world.launch(2)
    zone_a, zone_b = world.zones
    with world.aws.zone_down(zone_a):
        assert 503 == status(ec2.describe_instances)
        assert "Unavailable" == code(ec2.describe_instances, InstanceIds=[a, b])
        assert "Unavailable" == code(ec2.describe_instance_status)
        assert "Unavailable" == code(ec2.stop_instances, InstanceIds=[a])
        assert "Unavailable" == code(ec2.run_instances, **world.request("t1"))
        in_b = [{"Name": "availability-zone", "Values": [zone_b]}]
        assert [b] == [i["InstanceId"] for i in instances(ec2, Filters=in_b)]
        assert [b] == [i["InstanceId"] for i in instances(ec2, InstanceIds=[b])]
        assert ["silent", "HTTP/1.1 200 OK"] == [get(world, n) for n in (a, b)]
    assert {a, b} == {i["InstanceId"] for i in instances(ec2)}
    until("HTTP/1.1 200 OK", lambda: get(world, a))
