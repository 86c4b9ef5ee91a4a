"""Quarantine: cut off and kept, and brought back exactly as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Mark,
    Refused,
    Register,
    Restore,
    Stop,
    Throttled,
)
from tests.providers.ec2_acts.bench import Bench, opened, until

pytestmark = pytest.mark.acceptance

QUARANTINED = (("sickbay:state", "quarantined"), ("sickbay:incident", "9"))


def isolate(name: str) -> Isolate:
    """Return a request as the engine writes it."""
    return Isolate("web", name, "isolate", QUARANTINED)


def second_card(bench: Bench, name: str, *groups: str) -> str:
    """Give a machine another interface."""
    subnet = bench.shown(name)["SubnetId"]
    made = bench.aws.do("ec2", "CreateNetworkInterface", SubnetId=subnet, Groups=list(groups))
    card = str(made["NetworkInterface"]["NetworkInterfaceId"])
    bench.aws.do("ec2", "AttachNetworkInterface", NetworkInterfaceId=card, InstanceId=name, DeviceIndex=1)
    return card


def put_groups(bench: Bench, card: str, *groups: str) -> None:
    """Change an interface's groups, as a person would."""
    bench.aws.do("ec2", "ModifyNetworkInterfaceAttribute", NetworkInterfaceId=card, Groups=list(groups))


def card_of(bench: Bench, name: str) -> str:
    """Return a machine's first interface."""
    return str(bench.shown(name)["NetworkInterfaces"][0]["NetworkInterfaceId"])


def test_an_isolated_machine_is_out_cut_off_protected_tagged_and_copied(bench: Bench) -> None:
    """And comes back as it was, but stays out of the load balancer; twice changes nothing."""
    name = bench.machine(serves=True)
    bench.aws.do(
        "ec2",
        "ModifyInstanceAttribute",
        InstanceId=name,
        InstanceInitiatedShutdownBehavior={"Value": "terminate"},
    )
    before = (bench.attributes(name), bench.groups(name))
    assert "isolated, its memory and disks are kept" == bench.done(isolate(name))

    assert [bench.stranger] == bench.targets()
    assert [[bench.world.isolation]] == bench.groups(name)
    assert (True, True, "stop", False) == bench.attributes(name)
    assert {"sickbay:state": "quarantined", "sickbay:incident": "9"}.items() <= bench.tags(name).items()
    (copy,) = bench.snapshots(name)
    assert {"Key": "sickbay:fleet", "Value": "web"} in copy["Tags"]
    order = [
        "CreateTags",
        *["ModifyInstanceAttribute"] * 4,
        "DeregisterTargets",
        "ModifyNetworkInterfaceAttribute",
        "CreateTags",
        "CreateSnapshots",
    ]
    assert order == bench.called()

    bench.done(isolate(name))
    assert order == bench.called()
    assert isinstance(bench.perform(Register("web", name, "r")), Refused)

    assert "as it was, out of the load balancer" == bench.done(Restore("web", name, "s"))
    after = bench.called()
    bench.done(Restore("web", name, "s"), Restore("web", name, "s2"))
    assert after == bench.called()
    assert before == (bench.attributes(name), bench.groups(name))
    assert {"sickbay:fleet": "web", "sickbay:incident": "9"} == bench.tags(name)
    assert [bench.stranger] == bench.targets()
    bench.done(Register("web", name, "r2"))
    assert [] == bench.strangers_calls()


def test_each_interface_gets_its_own_groups_back(bench: Bench) -> None:
    """Also after the state folder was lost: the machine itself carries what it was."""
    name = bench.machine()
    card = second_card(bench, name, bench.world.serving, bench.world.untrack)
    before = bench.groups(name)
    bench.done(isolate(name))
    assert [[bench.world.isolation]] * 2 == bench.groups(name)
    words = bench.tags(name)["sickbay:undo"]
    assert f"{card}={'+'.join(sorted((bench.world.serving, bench.world.untrack)))}" in words
    (bench.folder / "undo" / f"{name}.json").unlink()

    bench.done(Restore("web", name, "r"))
    assert before == bench.groups(name)


def test_what_it_was_is_written_before_the_first_change_and_never_over(bench: Bench) -> None:
    """A replay, a second capture or a stop would else record the isolated state as its own."""
    name = bench.machine()
    bench.aws.do("ec2", "ModifyInstanceAttribute", InstanceId=name, DisableApiStop={"Value": True})
    before = (bench.attributes(name), bench.groups(name))
    bench.aws.faults.add("ModifyNetworkInterfaceAttribute", "reset", late=True)
    bench.again(isolate(name))
    bench.done(Stop("web", name, "s"), Capture("web", name, "c"), Isolate("web", name, "another"))
    bench.aws.forward(60)
    bench.done(Restore("web", name, "r"))

    assert before == (bench.attributes(name), bench.groups(name))
    until("running", lambda: bench.state(name))


def test_a_person_s_change_between_capture_and_isolation_is_kept(bench: Bench) -> None:
    """A capture protects; the fault passes, groups are changed; the next isolation undoes to those."""
    name = bench.machine()
    before = bench.attributes(name)
    bench.done(Capture("web", name, "c"))
    put_groups(bench, card_of(bench, name), bench.world.untrack)
    bench.done(isolate(name), Restore("web", name, "r"))

    assert ([[bench.world.untrack]], before) == (bench.groups(name), bench.attributes(name))


def test_open_connections_end_by_way_of_an_open_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps for each interface; a death between them is made up for."""
    with opened(tmp_path, monkeypatch) as plain:
        untrack = plain.world.untrack
        bench = Bench(plain.world, plain.acts, plain.folder)
        bench.acts._scope.options = bench.acts._scope.options.model_copy(update={"untrack_group": untrack})
        name = bench.machine()
        bench.aws.faults.add("ModifyNetworkInterfaceAttribute", "reset", nth=2)
        bench.again(isolate(name))
        calls = [e for e in bench.aws.log.effects if e.action == "ModifyNetworkInterfaceAttribute"]

        assert [[untrack], [bench.world.isolation]] == [entry.params["Groups"] for entry in calls]
        bench.done(Restore("web", name, "r"))
        assert [[bench.world.serving]] == bench.groups(name)


def test_what_nobody_wrote_down_is_refused_before_anything_is_changed(bench: Bench) -> None:
    """Isolated by hand: isolating says so, restoring asks for a hand."""
    name = bench.machine()
    put_groups(bench, card_of(bench, name), bench.world.isolation)
    assert f"which groups {card_of(bench, name)} had is not known" in bench.done(isolate(name))
    bench.aws.log.clear()
    outcome = bench.perform(Restore("web", name, "r"))

    assert isinstance(outcome, Refused)
    assert "give them back by hand" in outcome.reason
    assert card_of(bench, name) in outcome.reason
    assert [] == bench.called()
    put_groups(bench, card_of(bench, name), bench.world.serving)
    bench.done(Restore("web", name, "r"))
    assert (False, False, "stop", True) == bench.attributes(name)


def test_a_record_too_long_for_a_tag_is_kept_in_its_file_alone(bench: Bench) -> None:
    """And that is said."""
    name = bench.machine()
    groups = [
        bench.aws.do("ec2", "CreateSecurityGroup", GroupName=f"g{n}", Description="-", VpcId=bench.world.vpc)["GroupId"]
        for n in range(10)
    ]
    put_groups(bench, card_of(bench, name), *groups)
    detail = bench.done(isolate(name))

    assert "it is too long for a tag" in detail
    assert "sickbay:undo" not in bench.tags(name)
    bench.done(Restore("web", name, "r"))
    assert [sorted(groups)] == bench.groups(name)


def test_a_forbidden_undo_tag_costs_the_tag_alone(bench: Bench) -> None:
    """The file has it all."""
    name = bench.machine()
    bench.aws.faults.add("CreateTags", "error:TagLimitExceeded")
    assert "alone: TagLimitExceeded" in bench.done(isolate(name))
    written = json.loads((bench.folder / "undo" / f"{name}.json").read_text())
    assert {card_of(bench, name): [bench.world.serving]} == written["cards"]


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("UnauthorizedOperation", Done, "no snapshot: UnauthorizedOperation"),
        ("SnapshotLimitExceeded", Done, "no snapshot: SnapshotLimitExceeded"),
        ("ConcurrentSnapshotLimitExceeded", Throttled, "ConcurrentSnapshotLimitExceeded"),
        ("SnapshotCreationPerVolumeRateExceeded", Throttled, "SnapshotCreationPerVolumeRateExceeded"),
    ],
)
def test_a_snapshot_that_can_not_be_had_lets_nobody_back_in(bench: Bench, code: str, kind: type, says: str) -> None:
    """It is isolated all the same; busy means later, no means told."""
    name = bench.machine()
    bench.aws.faults.add("CreateSnapshots", f"error:{code}", times=2)
    outcome = bench.perform(isolate(name))

    assert isinstance(outcome, kind)
    assert says in str(outcome)
    assert [[bench.world.isolation]] == bench.groups(name)


def test_a_spot_machine_is_kept_as_well_as_it_can_be(bench: Bench) -> None:
    """AWS refuses to protect it; its evidence is volatile, and that is said."""
    request = bench.world.request("", InstanceMarketOptions={"MarketType": "spot"})
    del request["ClientToken"]
    name = bench.aws.do("ec2", "RunInstances", **request)["Instances"][0]["InstanceId"]
    bench.aws.forward(200)
    bench.aws.log.clear()
    bench.aws.faults.add("ModifyInstanceAttribute", "error:UnsupportedOperation", times=2)
    detail = bench.done(isolate(name))

    assert "DisableApiTermination can't be set (UnsupportedOperation)" in detail
    assert "DisableApiStop can't be set (UnsupportedOperation)" in detail
    assert "evidence: volatile" in detail
    assert (False, False, "stop", False) == bench.attributes(name)
    assert 1 == len(bench.snapshots(name))


def test_a_member_of_a_group_is_detached_and_the_group_launches_another(grouped: Bench) -> None:
    """Desired stays as it is; detached once, also in doubt; Restore brings it back outside of the group."""
    name, other = sorted(grouped.aws.groups.known["web"].members)
    grouped.aws.faults.add("DetachInstances", "reset", late=True)
    grouped.again(isolate(name))

    assert 1 == grouped.called().count("DetachInstances")
    assert 2 == grouped.aws.groups.known["web"].desired
    assert [[grouped.world.isolation]] == grouped.groups(name)
    until(2, lambda: len(grouped.aws.groups.known["web"].members))
    assert name not in grouped.aws.groups.known["web"].members
    assert [[grouped.world.serving]] == grouped.groups(other)
    grouped.done(Restore("web", name, "r"))
    outcome = grouped.perform(Register("web", name, "r"))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{name} is not in Auto Scaling group web, which registers its members")
    grouped.done(Register("web", other, "r"), Deregister("web", name, "d"))


def test_a_member_in_standby_is_left_alone(grouped: Bench) -> None:
    """To detach it from there may make the group end others: not even protected, refused."""
    name = min(grouped.aws.groups.known["web"].members)
    grouped.aws.do(
        "autoscaling",
        "EnterStandby",
        InstanceIds=[name],
        AutoScalingGroupName="web",
        ShouldDecrementDesiredCapacity=False,
    )
    outcome = grouped.perform(isolate(name))

    assert isinstance(outcome, Refused)
    assert "is in standby in web" in outcome.reason
    assert [] == grouped.called()


def test_a_group_that_we_were_not_told_of_keeps_its_machines(grouped: Bench) -> None:
    """It would replace what is cut off: its name must be in the configuration."""
    name = min(grouped.aws.groups.known["web"].members)
    scope = grouped.acts._scope
    scope.options = scope.options.model_copy(update={"auto_scaling_group": ""})
    outcome = grouped.perform(isolate(name))

    assert isinstance(outcome, Refused)
    assert "belongs to Auto Scaling group web, expected none" in outcome.reason
    assert [] == grouped.called()


def test_a_mark_is_taken_back_to_quarantine_with_its_protection(bench: Bench) -> None:
    """An end that was begun and called off may have lifted it."""
    name = bench.expired()
    bench.aws.do("ec2", "ModifyInstanceAttribute", InstanceId=name, DisableApiTermination={"Value": False})
    bench.done(Mark("web", name, "m2", ""))

    assert "quarantined" == bench.tags(name)["sickbay:state"]
    assert (True, True, "stop", False) == bench.attributes(name)
    fresh = bench.machine()
    bench.done(Mark("web", fresh, "m", "failed-candidate"))
    outcome = bench.perform(Register("web", fresh, "r"))
    assert isinstance(outcome, Refused)
    assert "is marked failed-candidate" in outcome.reason
    bench.done(Mark("web", fresh, "m2", ""), Register("web", fresh, "r"))


def test_what_is_not_there_or_gone_can_not_be_set_aside(bench: Bench) -> None:
    """In one sentence."""
    outcome = bench.perform(Isolate("web", "i-0123456789abcdef0", "i"))
    assert Refused("there is no machine i-0123456789abcdef0") == outcome
    name = bench.machine()
    bench.aws.do("ec2", "TerminateInstances", InstanceIds=[name])
    bench.aws.forward(60)
    for request in (isolate(name), Restore("web", name, "r"), Stop("web", name, "s"), Register("web", name, "r")):
        assert Refused(f"there is no machine {name} any more: it is terminated") == bench.perform(request)
    bench.done(Mark("web", name, "m", "expired"), Capture("web", name, "c"))
    assert [] == bench.called()


def test_one_that_was_only_captured_and_recovers_is_as_it_was(bench: Bench) -> None:
    """Capturing protects it from ending; back in the load balancer it has what it had, and nothing of ours."""
    name = bench.machine(serves=True)
    before = bench.attributes(name)
    bench.done(Capture("web", name, "c"), Deregister("web", name, "d"))
    assert before != bench.attributes(name)
    bench.done(Register("web", name, "r"))
    assert before == bench.attributes(name)
    calls = len(bench.called())
    bench.done(Register("web", name, "r2"))
    assert calls == len(bench.called())
