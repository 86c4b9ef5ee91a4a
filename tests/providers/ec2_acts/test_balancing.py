"""In and out of the load balancer: every target group, every port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.core.requests import Deregister, Mark, Refused, Register, Stop, Terminate
from tests.providers.ec2_acts.bench import Bench, in_and_out, opened

pytestmark = pytest.mark.acceptance


def another_group(bench: Bench) -> str:
    """Make a second target group, and configure it besides the first."""
    made = bench.aws.do("elbv2", "CreateTargetGroup", Name="admin", Protocol="HTTP", Port=8081, VpcId=bench.world.vpc)
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    scope = bench.acts._scope
    scope.options = scope.options.model_copy(update={"target_groups": (bench.world.target_group, arn)})
    return arn


def registered(bench: Bench, name: str, arn: str) -> list[Any]:
    """Return the ports and states of an instance in a target group."""
    found = bench.aws.do("elbv2", "DescribeTargetHealth", TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [(t["Target"]["Port"], t["TargetHealth"]["State"]) for t in found if t["Target"]["Id"] == name]


def test_a_machine_goes_into_the_groups_that_it_is_not_in(bench: Bench) -> None:
    """And only there; what drains is out, and comes back in."""
    other = another_group(bench)
    name = bench.machine(serves=True)
    register, deregister = in_and_out(name)
    bench.done(register)
    assert ["RegisterTargets"] == bench.called()
    assert [8081] == [port for port, _ in registered(bench, name, other)]
    bench.done(deregister, register, register)
    assert ["RegisterTargets", *["DeregisterTargets"] * 2, *["RegisterTargets"] * 2] == bench.called()
    assert [bench.aws.machines.port] == [port for port, _ in registered(bench, name, bench.world.target_group)]


def test_a_machine_leaves_every_port_that_anybody_gave_it(bench: Bench) -> None:
    """AWS says yes to the wrong port, and does nothing."""
    name = bench.machine(serves=True)
    targets = [{"Id": name, "Port": port} for port in (8080, 9090)]
    bench.aws.do("elbv2", "RegisterTargets", TargetGroupArn=bench.world.target_group, Targets=targets)
    bench.done(Deregister("web", name, "d"))

    assert {"draining"} == {state for _, state in registered(bench, name, bench.world.target_group)}
    (entry,) = bench.aws.log.daemons
    assert sorted([8080, 9090, bench.aws.machines.port]) == [t["Port"] for t in entry.params["Targets"]]
    assert bench.stranger in bench.targets()


def test_what_is_gone_does_not_stay_in_the_load_balancer(bench: Bench) -> None:
    """A machine that nobody knows any more is taken out too, and a second time is as good."""
    name = "i-0123456789abcdef0"
    bench.aws.balancer.add(bench.world.target_group, bench.stranger)
    assert "" == bench.done(Deregister("web", name, "d"), Deregister("web", "i-0000", "d"))
    dead = bench.machine(serves=True)
    bench.aws.do("ec2", "TerminateInstances", InstanceIds=[dead])
    bench.aws.forward(60)
    bench.done(Deregister("web", dead, "d"), Deregister("web", dead, "d"))
    assert ["DeregisterTargets"] == bench.called()


def test_a_group_that_is_gone_holds_nobody(bench: Bench) -> None:
    """Out of it: done. Into it: no."""
    name = bench.machine()
    arn = bench.world.target_group.replace("/web/", "/gone/")
    scope = bench.acts._scope
    scope.options = scope.options.model_copy(update={"target_groups": (arn,)})
    bench.done(Deregister("web", name, "d"))
    outcome = bench.perform(Register("web", name, "r"))

    assert isinstance(outcome, Refused)
    assert "TargetGroupNotFound" in outcome.reason


def test_only_what_runs_is_registered(bench: Bench) -> None:
    """In a sentence that says what was found."""
    name = bench.machine()
    bench.aws.do("ec2", "StopInstances", InstanceIds=[name])
    bench.aws.forward(60)
    outcome = bench.perform(Register("web", name, "r"))

    assert Refused(f"{name} is stopped, expected running: only what runs can be registered") == outcome
    assert [] == bench.called()


def test_a_fleet_without_target_groups_serves_by_its_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written and taken away once each; what serves is neither stopped nor ended."""
    with opened(tmp_path, monkeypatch, target_groups=()) as bench:
        name = bench.machine()
        register, deregister = in_and_out(name)
        bench.done(register, register)
        assert "serving" == bench.tags(name)["sickbay:role"]
        bench.done(Mark("web", name, "m", "expired"))
        for request in (Terminate("web", name, "t"), Stop("web", name, "s")):
            assert Refused(f"{name} still serves (tag sickbay:role): deregister it first") == bench.perform(request)
        bench.done(deregister, deregister)
        assert "sickbay:role" not in bench.tags(name)
        assert ["CreateTags"] * 3 == bench.called()
