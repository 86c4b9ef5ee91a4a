"""The end of machines and of what they leave behind: every refusal before the first change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Mark,
    Outcome,
    Refused,
    Sweep,
    Terminate,
    Unclear,
)
from tests.providers.ec2_acts.bench import Bench

pytestmark = pytest.mark.acceptance


def tag(bench: Bench, name: str, key: str, value: str = "") -> None:
    """Write a tag, as a person would."""
    bench.aws.do("ec2", "CreateTags", Resources=[name], Tags=[{"Key": key, "Value": value}])


def serving(bench: Bench) -> str:
    name = bench.machine(serves=True)
    tag(bench, name, "sickbay:state", "expired")
    return name


def held(bench: Bench) -> str:
    name = bench.expired()
    tag(bench, name, "sickbay:hold", "court order")
    return name


def held_without_a_reason(bench: Bench) -> str:
    name = bench.expired()
    tag(bench, name, "sickbay:hold")
    return name


def not_copied(bench: Bench) -> str:
    name = bench.machine()
    bench.done(Isolate("web", name, "i"), Mark("web", name, "m", "expired"))
    return name


def failed_copy(bench: Bench) -> str:
    name = bench.expired()
    bench.aws._emulator.ec2().snapshots[bench.snapshots(name)[0]["SnapshotId"]].status = "error"
    return name


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (serving, "is still registered at target group web: deregister it first"),
        (Bench.machine, "is none, expected one of expired, failed-candidate, retired: mark it first"),
        (Bench.aside, 'is "quarantined", expected one of expired, failed-candidate, retired'),
        (held, "carries the tag sickbay:hold (court order): remove the tag to let it go"),
        (held_without_a_reason, "carries the tag sickbay:hold: remove the tag"),
        (not_copied, "is pending, expected completed: wait for it, or waive it"),
        (failed_copy, "is error, expected completed"),
    ],
    ids=[
        "what serves",
        "what is not marked",
        "what is in quarantine",
        "what a person holds",
        "what is held for no reason",
        "what is not copied yet",
        "what could not be copied",
    ],
)
def test_a_machine_that_must_not_end_is_left_as_it_is(bench: Bench, prepare: Callable[[Bench], str], says: str) -> None:
    """Refused in one sentence, and nothing is called; above all its protection stays."""
    name = prepare(bench)
    bench.aws.log.clear()
    outcome = bench.perform(Terminate("web", name, "t"))

    assert isinstance(outcome, Refused)
    assert says in outcome.reason
    assert [] == bench.called()


def test_a_waiver_gives_up_the_copy_and_nothing_else(bench: Bench) -> None:
    """A hold is not waived."""
    name = not_copied(bench)
    tag(bench, name, "sickbay:hold", "court order")
    assert isinstance(bench.perform(Terminate("web", name, "t", "anna")), Refused)
    bench.aws.do("ec2", "DeleteTags", Resources=[name], Tags=[{"Key": "sickbay:hold"}])
    assert "waived by anna" == bench.done(Terminate("web", name, "t", "anna"))


def test_a_failed_candidate_goes_without_quarantine(bench: Bench) -> None:
    """Marked, and gone; a second time it is done already, also when AWS no longer shows it."""
    name = bench.machine()
    bench.done(Mark("web", name, "m", "failed-candidate"), Terminate("web", name, "t"))
    assert "shutting-down" == bench.state(name)
    assert ["CreateTags", "TerminateInstances"] == bench.called()
    bench.done(Terminate("web", name, "t"))
    bench.aws.forward(4000)
    assert "it is gone already" == bench.done(Terminate("web", name, "t"), Terminate("web", "i-0000", "t"))
    bench.done(Deregister("web", name, "d"))


def test_a_launched_machine_that_stays_unseen_is_gone_after_minutes(bench: Bench) -> None:
    """Until then nobody can say."""
    outcome = bench.perform(bench.launch("t1"))
    assert isinstance(outcome, Done)
    bench.aws.forward(60)
    bench.aws.do("ec2", "TerminateInstances", InstanceIds=[outcome.instance])
    bench.aws.forward(4000)
    assert isinstance(bench.perform(Terminate("web", outcome.instance, "t")), Unclear)
    long_ago = time.time() - 400
    os.utime(bench.folder / "launched" / outcome.instance, (long_ago, long_ago))
    bench.done(Terminate("web", outcome.instance, "t"))


def test_protection_that_was_lifted_in_vain_is_put_back(bench: Bench) -> None:
    """AWS says no to the end itself: the machine stays kept."""
    name = bench.expired()
    bench.aws.faults.add("TerminateInstances", "error:OperationNotPermitted")
    outcome = bench.perform(Terminate("web", name, "t"))

    assert isinstance(outcome, Refused)
    assert "OperationNotPermitted" in outcome.reason
    assert (True, True, "stop", False) == bench.attributes(name)


def test_a_hold_that_comes_at_the_last_moment_counts(bench: Bench) -> None:
    """The machine is read again right before its end: the snapshots took their time."""
    name = bench.expired()
    look = bench.acts._scope.api.pages

    def slow(service: str, action: str, key: str, **params: object) -> list[object]:
        found = look(service, action, key, **params)
        tag(bench, name, "sickbay:hold", "wait")
        return found

    bench.acts._scope.api.pages = slow  # type: ignore[method-assign]  # a person acts between two of our calls
    outcome = bench.perform(Terminate("web", name, "t"))

    assert isinstance(outcome, Refused)
    assert "sickbay:hold (wait)" in outcome.reason
    assert [] == bench.called()


def test_a_no_of_iam_s_right_after_a_tag_is_asked_once_more(bench: Bench) -> None:
    """IAM learns of tags late. A second no is one."""
    name = bench.machine()
    bench.done(Mark("web", name, "m", "failed-candidate"))
    bench.aws.faults.add("TerminateInstances", "error:UnauthorizedOperation")
    bench.done(Terminate("web", name, "t"))
    other = bench.machine()
    bench.done(Mark("web", other, "m", "failed-candidate"))
    bench.aws.faults.add("TerminateInstances", "error:UnauthorizedOperation", times=3)
    outcome = bench.perform(Terminate("web", other, "t"))
    assert isinstance(outcome, Refused)
    assert outcome.hopeless


def swept(bench: Bench, kind: str, name: str) -> Outcome:
    """Sweep, with an empty log."""
    bench.aws.log.clear()
    return bench.perform(Sweep("web", name, "s", kind))


def test_what_is_in_use_or_held_is_not_swept(bench: Bench) -> None:
    """Volumes and interfaces that hang on a machine, copies of a machine that is still there, what a person holds."""
    name = bench.expired()
    shown = bench.shown(name)
    volume = shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    card = shown["NetworkInterfaces"][0]["NetworkInterfaceId"]
    copy = bench.snapshots(name)[0]["SnapshotId"]
    for kind, id, says in (
        ("volume", volume, "is in-use, expected available: only what nobody uses is deleted"),
        ("interface", card, "is in-use, expected available"),
        ("snapshot", copy, f"is a copy of {name}, which is still there: it goes after its machine"),
        ("bucket", copy, "is a 'bucket', expected one of volume, interface, snapshot"),
    ):
        outcome = swept(bench, kind, id)
        assert isinstance(outcome, Refused)
        assert says in outcome.reason
        assert [] == bench.called()
    bench.done(Terminate("web", name, "t"))
    bench.aws.forward(60)
    tag(bench, copy, "sickbay:hold", "court order")
    assert isinstance(swept(bench, "snapshot", copy), Refused)
    assert [] == bench.called()
    bench.aws.do("ec2", "DeleteTags", Resources=[copy], Tags=[{"Key": "sickbay:hold"}])
    assert Done(instance=copy) == swept(bench, "snapshot", copy)
    assert ["CreateTags", "DeleteSnapshot"] == bench.called()
    for kind, id in (("snapshot", copy), ("volume", "vol-0123456789abcdef0"), ("interface", "eni-0123456789abcdef0")):
        assert Done(instance=id, detail="it is gone already") == swept(bench, kind, id)
        assert [] == bench.called()


def test_captures_outlive_the_machine_and_its_undo_does_not(bench: Bench) -> None:
    """What people read stays; what nobody can undo any more goes."""
    name = bench.machine()
    folder = bench.done(Capture("web", name, "c"))
    bench.done(Mark("web", name, "m", "retired"), Terminate("web", name, "t"))

    assert os.path.exists(f"{folder}/machine.json")
    assert not (bench.folder / "undo" / f"{name}.json").exists()
