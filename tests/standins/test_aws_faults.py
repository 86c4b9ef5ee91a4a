"""The stand-in's nastiness: lost requests, lost answers, nonsense, limits; and the log with its stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from tests.standins.asking import code, instances, status, until
from tests.standins.aws import MOMENTS, Moment, World

pytestmark = pytest.mark.acceptance

BROKEN = {
    "500": ClientError,
    "hang": ReadTimeoutError,
    "reset": ConnectionClosedError,
    "close": ConnectionClosedError,
    "html": ResponseParserError,
    "truncated": ResponseParserError,
    "cut": ResponseParserError,
    "throttling": ClientError,
    "limit": ClientError,
}


@pytest.fixture
def ec2(world: World) -> Any:
    """Return EC2 with little patience."""
    return world.aws.client("ec2", timeout=0.5)


def launched(world: World) -> int:
    """Count what is really there."""
    world.aws.forward(60)
    return len(instances(world.aws.admin("ec2")))


@pytest.mark.parametrize("kind", list(BROKEN))
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_call_fails_before_or_after_its_effect(world: World, ec2: Any, kind: str, late: bool) -> None:
    """The client cannot tell which; the log can. The replay is well, and the same machine."""
    world.aws.faults.add("RunInstances", kind, late=late)
    with pytest.raises(BROKEN[kind]):
        ec2.run_instances(**world.request("t1"))
    (entry,) = world.aws.log.daemons

    assert (late, None) == (entry.effect, entry.answer)
    assert int(late) == launched(world)
    ec2.run_instances(**world.request("t1"))
    assert (1, not late) == (launched(world), world.aws.log.daemons[-1].effect)


def test_a_well_formed_page_passes_for_an_answer_without_content(world: World, ec2: Any) -> None:
    """The nastiest: botocore raises nothing, and the answer names no instance, although there is one."""
    world.aws.faults.add("RunInstances", "xhtml", late=True)
    answer = ec2.run_instances(**world.request("t1"))

    assert ("Instances" in answer, 1) == (False, launched(world))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("500", ("InternalError", 500)),
        ("throttling", ("Throttling", 400)),
        ("limit", ("RequestLimitExceeded", 503)),
        ("error:VolumeLimitExceeded", ("VolumeLimitExceeded", 400)),
    ],
)
def test_an_error_has_its_code_and_its_status(world: World, ec2: Any, kind: str, expected: tuple[str, int]) -> None:
    """What a client classifies by."""
    world.aws.faults.add("DescribeInstances", kind, times=2)
    assert expected == (code(ec2.describe_instances), status(ec2.describe_instances))


def test_the_nth_call_fails_and_so_many_after_it(world: World, ec2: Any) -> None:
    """By a pattern of actions too; the admin's calls are spared and not counted."""
    world.aws.faults.add("Describe*", "limit", nth=2, times=2)
    calls = [ec2.describe_instances, ec2.describe_volumes, ec2.describe_images, ec2.describe_subnets]
    assert "" == code(world.aws.admin("ec2").describe_instances)
    assert ["", "RequestLimitExceeded", "RequestLimitExceeded", ""] == [code(call) for call in calls]
    with pytest.raises(ValueError, match="expected one of"):
        world.aws.faults.add("*", "earthquake")


def test_a_whole_region_is_out(world: World, ec2: Any) -> None:
    """Every service's every call, until it is back."""
    world.aws.faults.region_down = "reset"
    for call in (ec2.describe_instances, world.aws.client("elbv2").describe_target_groups):
        with pytest.raises(ConnectionClosedError):
            call()
    world.aws.faults.clear()
    assert "" == code(ec2.describe_instances)


def test_calls_beyond_the_limit_are_refused(world: World, ec2: Any) -> None:
    """A bucket for an action that fills again; another code for other services; launches have AWS's numbers."""
    world.aws.limits.set("DescribeVolumes", 2, 0.01)
    assert ["", "", "RequestLimitExceeded"] == [code(ec2.describe_volumes) for _ in range(3)]
    world.aws.forward(100)
    assert "" == code(ec2.describe_volumes)
    world.aws.limits.set("elbv2", 0, 0)
    assert "Throttling" == code(world.aws.client("elbv2").describe_target_groups)
    world.aws.limits.set("RunInstances", 5, 0.001)
    found = [code(ec2.run_instances, **world.request(f"t{n}")) for n in range(6)]
    assert ([""] * 5 + ["RequestLimitExceeded"], 5) == (found, launched(world))


def test_the_launched_instances_have_a_bucket_of_their_own(world: World, ec2: Any) -> None:
    """A thousand at first, two a second afterwards; the tags' bucket is another one."""
    world.aws.limits.set("instances launched", 1, 0.001)
    found = [code(ec2.run_instances, **world.request(f"t{n}")) for n in range(2)]
    assert ["", "RequestLimitExceeded"] == found
    assert "" == code(ec2.create_tags, Resources=[world.image], Tags=[{"Key": "a", "Value": "b"}])


def test_the_log_holds_the_mutating_calls_in_order(world: World, ec2: Any) -> None:
    """With parameters, time, effect and answer; reads and the admin's calls are not the daemon's mutations."""
    began = time.time()
    ec2.run_instances(**world.request("t1"))
    world.aws.forward(60)
    (name,) = [i["InstanceId"] for i in instances(ec2)]
    assert "InvalidInstanceID.NotFound" == code(ec2.stop_instances, InstanceIds=["i-00000000000000000"])
    ec2.stop_instances(InstanceIds=[name])
    world.aws.admin("ec2").create_tags(Resources=[name], Tags=[{"Key": "a", "Value": "b"}])
    entries = world.aws.log.daemons

    assert [(0, "RunInstances", True, ""), (1, "StopInstances", False, "InvalidInstanceID.NotFound")] == [
        (e.number, e.action, e.effect, e.answer) for e in entries[:2]
    ]
    assert [{"InstanceIds": [name]}] == [e.params for e in entries[2:]]
    assert ["RunInstances", "StopInstances"] == [e.action for e in world.aws.log.effects]
    assert began <= entries[0].at <= entries[1].at <= time.time()
    assert ["CreateTags"] == [e.action for e in world.aws.log.entries if not e.by_daemon][-1:]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stop_fires_at_any_moment_of_any_call(world: World, ec2: Any, moment: Moment) -> None:
    """Before: no effect ever. After: the effect is there already. Late: it comes after the kill."""
    at_the_kill: list[int] = []
    world.aws.log.stop(1, moment, lambda: at_the_kill.append(len(world.aws.instances.lives)), late_by=0.2)
    ec2.run_instances(**world.request("t1"))
    with pytest.raises((ConnectionClosedError, ReadTimeoutError)):
        ec2.run_instances(**world.request("t2"))

    assert [{"before": 1, "after": 2, "late": 1}[moment]] == at_the_kill
    until({"before": 1, "after": 2, "late": 2}[moment], lambda: launched(world))
    assert [1] == [s.number for s in world.aws.log.fired]
    assert "" == code(ec2.run_instances, **world.request("t2"))
    assert 2 == launched(world)


def test_a_cleared_log_counts_from_nought(world: World, ec2: Any) -> None:
    """So that each life of a daemon has its own numbers."""
    ec2.run_instances(**world.request("t1"))
    world.aws.log.clear()
    ec2.run_instances(**world.request("t2"))

    assert [0] == [e.number for e in world.aws.log.daemons]


CLIENT = """
import boto3
ec2 = boto3.session.Session().client("ec2")
for token in ("t0", "t1", "t2"):
    ec2.run_instances(ImageId="{image}", SubnetId="{subnet}", InstanceType="t3.micro", MinCount=1, MaxCount=1, ClientToken=token)
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_real_process_is_killed_at_its_second_call_and_replays(world: World, moment: Moment) -> None:
    """SIGKILL at a chosen point; the next life sends the same tokens, and there are three machines in the end."""
    program = CLIENT.format(image=world.image, subnet=world.subnets[world.zones[0]])

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program], env=os.environ | world.aws.environment)

    def kill() -> None:
        victim.kill()
        victim.wait()

    victim = start()
    world.aws.log.stop(1, moment, kill)
    assert -signal.SIGKILL == victim.wait(30)
    assert 0 == start().wait(30)
    assert 3 == launched(world)
    assert 3 == len(world.aws.log.effects)
    assert ["t0", "t1", "t0", "t1", "t2"] == [e.params["ClientToken"] for e in world.aws.log.daemons]
