"""Captures, restarts and stops: what is kept of a machine, and its power."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.core.requests import Capture, Isolate, Refused, Restart, Restore, Stop, Throttled, Unclear
from tests.providers.ec2_acts.bench import Bench, until

pytestmark = pytest.mark.acceptance


def test_a_capture_keeps_what_can_be_seen_and_then_the_machine(bench: Bench) -> None:
    """Console, states, attributes as they were, the load balancer's view; the same for the same token."""
    name = bench.machine(serves=True)
    bench.aws.instances.impair(name)
    folder = Path(bench.done(Capture("web", name, "c")))
    kept = json.loads((folder / "machine.json").read_text())

    assert name == kept["instance"]["InstanceId"]
    assert "c" == kept["token"]
    assert {
        "DisableApiTermination": False,
        "DisableApiStop": False,
        "InstanceInitiatedShutdownBehavior": "stop",
    } == kept["attributes"]
    assert "impaired" == kept["status"][0]["InstanceStatus"]["Status"]
    assert name == kept["targets"][bench.world.target_group][0]["Target"]["Id"]
    assert "Linux version" in (folder / "console.txt").read_text()
    assert (True, True, "stop", False) == bench.attributes(name)
    assert str(folder) == bench.done(Capture("web", name, "c"))
    assert kept == json.loads((folder / "machine.json").read_text())
    assert str(folder) != bench.done(Capture("web", name, "c2"))
    assert name in bench.targets()


def test_a_piece_that_can_not_be_seen_costs_that_piece_alone(bench: Bench) -> None:
    """It says so in its place; to be throttled is to come back later."""
    name = bench.machine()
    bench.aws.faults.add("GetConsoleOutput", "error:UnsupportedOperation")
    folder = Path(bench.done(Capture("web", name, "an old kind")))
    assert "Linux version" in (folder / "console.txt").read_text()
    bench.aws.faults.add("GetConsoleOutput", "error:UnauthorizedOperation", times=3)
    folder = Path(bench.done(Capture("web", name, "no right")))
    assert (folder / "console.txt").read_text().startswith("not seen: ec2 GetConsoleOutput")
    bench.aws.faults.clear()
    bench.aws.faults.add("GetConsoleOutput", "limit", times=3)
    assert isinstance(bench.perform(Capture("web", name, "busy")), Throttled)
    bench.aws.faults.clear()
    bench.done(Capture("web", name, "busy"))


def test_a_restart_happens_once_for_each_token(bench: Bench) -> None:
    """In doubt it is not sent again: a machine that was not restarted fails its checks, and is replaced."""
    name = bench.machine()
    bench.done(Restart("web", name, "one"), Restart("web", name, "one"), Restart("web", name, "two"))
    assert 3 == bench.aws.instances.lives[name].boots
    bench.aws.faults.add("RebootInstances", "reset", late=True)
    assert isinstance(bench.perform(Restart("web", name, "three")), Unclear)
    assert "asked for before, under this token" == bench.done(Restart("web", name, "three"))
    assert 4 == bench.aws.instances.lives[name].boots


def test_a_stopped_machine_is_started_and_not_again_when_a_person_stops_it(bench: Bench) -> None:
    """The token has had its effect."""
    name = bench.machine()
    stop = {"InstanceIds": [name]}
    bench.aws.do("ec2", "StopInstances", **stop)
    bench.aws.forward(60)
    bench.done(Restart("web", name, "r"))
    until("running", lambda: bench.state(name))
    assert ["StartInstances"] == bench.called()


def test_what_is_set_aside_is_not_restarted_and_what_is_not_is_not_stopped(bench: Bench) -> None:
    """Each in one sentence."""
    name = bench.machine(serves=True)
    outcome = bench.perform(Stop("web", name, "s"))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{name} is not set aside")
    bench.done(Isolate("web", name, "i"))
    assert Refused(f"{name} is isolated: restore it first") == bench.perform(Restart("web", name, "r"))
    bench.world.register(name)
    outcome = bench.perform(Stop("web", name, "s"))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{name} is still registered at target group web")


def test_a_stopped_machine_is_restored_running_and_stays_outside(bench: Bench) -> None:
    """While it is still stopping, the release waits for that."""
    name = bench.machine(serves=True)
    bench.done(Isolate("web", name, "i"), Stop("web", name, "s"), Stop("web", name, "s"))
    assert "stopping" == bench.state(name)
    bench.done(Restore("web", name, "r"), Restore("web", name, "r"))
    until("running", lambda: bench.state(name))
    assert (False, False, "stop", True) == bench.attributes(name)
    assert name not in bench.targets()
    bench.aws.do("ec2", "StopInstances", InstanceIds=[name])
    bench.aws.log.clear()
    assert "nothing of it is set aside" == bench.done(Restore("web", name, "r"))
    assert [] == bench.called()
