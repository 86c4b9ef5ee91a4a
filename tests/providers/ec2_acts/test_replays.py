"""Every act, with every fault at every call that it makes: sent again until done, its effect is there once.

The calls are not written down here: a clean run of each act tells them.
"""

from __future__ import annotations

import itertools
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
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
    Throttled,
    Unclear,
)
from tests.providers.ec2_acts.bench import Bench
from tests.standins.aws.faults import KINDS

pytestmark = pytest.mark.acceptance

THROTTLES = ("throttling", "limit")
EVERY = "SICKBAY_EVERY_FAULT" in os.environ
"""Each kind of fault at each call. Without it, in turn so many of them at each: over all acts, each of them at many."""
AT_A_CALL = len(KINDS) if EVERY else 2
numbers = itertools.count()


def _restore_stopped(bench: Bench) -> Request:
    name = bench.aside()
    bench.done(Stop("web", name, "s"))
    bench.aws.forward(60)
    return Restore("web", name, "r")


def _restart_stopped(bench: Bench) -> Request:
    name = bench.machine()
    bench.aws.do("ec2", "StopInstances", InstanceIds=[name])
    bench.aws.forward(60)
    return Restart("web", name, "r")


def _volume(bench: Bench) -> Request:
    zone = bench.world.zones[0]
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "sickbay:fleet", "Value": "web"}]}]
    made = bench.aws.do("ec2", "CreateVolume", AvailabilityZone=zone, Size=1, TagSpecifications=tags)
    return Sweep("web", made["VolumeId"], "s", "volume")


def _interface(bench: Bench) -> Request:
    subnet = bench.world.subnets[bench.world.zones[0]]
    made = bench.aws.do("ec2", "CreateNetworkInterface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    bench.aws.do("ec2", "CreateTags", Resources=[made], Tags=[{"Key": "sickbay:fleet", "Value": "web"}])
    return Sweep("web", made, "s", "interface")


def _snapshot(bench: Bench) -> Request:
    name = bench.expired()
    bench.done(Terminate("web", name, "t"))
    return Sweep("web", bench.snapshots(name)[0]["SnapshotId"], "s", "snapshot")


ACTS: dict[str, Callable[[Bench], Request]] = {
    "launch": lambda bench: bench.launch(f"t{next(numbers)}"),
    "register": lambda bench: Register("web", bench.machine(), "r"),
    "deregister": lambda bench: Deregister("web", bench.machine(serves=True), "d"),
    "capture": lambda bench: Capture("web", bench.machine(), "c"),
    "isolate": lambda bench: Isolate("web", bench.machine(serves=True), "i", (("sickbay:state", "quarantined"),)),
    "restore": lambda bench: Restore("web", bench.aside(), "r"),
    "restore what is stopped": _restore_stopped,
    "restart": lambda bench: Restart("web", bench.machine(), "r"),
    "restart what is stopped": _restart_stopped,
    "stop": lambda bench: Stop("web", bench.aside(), "s"),
    "mark": lambda bench: Mark("web", bench.aside(), "m", "expired"),
    "terminate": lambda bench: Terminate("web", bench.expired(), "t"),
    "sweep a volume": _volume,
    "sweep an interface": _interface,
    "sweep a snapshot": _snapshot,
}


def clean(bench: Bench, prepare: Callable[[Bench], Request]) -> list[str]:
    """Carry an act out undisturbed, and return its calls; each has an effect, and a replay makes none."""
    request = prepare(bench)
    bench.aws.log.clear()
    bench.done(request)
    calls = bench.called()
    assert len(calls) == len(bench.effects())
    bench.aws.forward(100)
    assert isinstance(bench.perform(request), Done)
    assert calls == bench.called()
    return calls


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("late", [False, True], ids=["before its effect", "after its effect"])
def test_any_fault_at_any_call_leaves_the_effect_of_once(bench: Bench, act: str, late: bool) -> None:
    """The stranger is never named, and the last replay calls nothing."""
    calls = clean(bench, ACTS[act])
    wanted = bench.effects()
    turn = itertools.cycle(KINDS[list(ACTS).index(act) % len(KINDS) :] + KINDS[: list(ACTS).index(act) % len(KINDS)])
    for number, kind in ((n, next(turn)) for n in range(len(calls)) for _ in range(AT_A_CALL)):
        if late and kind in THROTTLES:
            continue  # to be throttled is to have no effect: AWS does not send these afterwards
        request = ACTS[act](bench)
        bench.aws.log.clear()
        bench.aws.faults.add(calls[number], kind, late=late, nth=calls[: number + 1].count(calls[number]))
        outcomes = bench.again(request)
        where = f"{kind} at {calls[number]}"

        assert isinstance(outcomes[-1], Done), (where, outcomes)
        assert {type(outcome) for outcome in outcomes[:-1]} <= {Throttled if kind in THROTTLES else Unclear}, where
        assert [] == bench.aws.faults.planned, where
        if calls[number] == "RebootInstances" and not late and kind not in THROTTLES:
            assert [] == bench.effects(), where  # in doubt a reboot is not sent twice
        else:
            assert sorted(wanted) == sorted(bench.effects()), where
        assert [] == bench.strangers_calls()
        before = bench.called()
        bench.aws.forward(10)  # what was launched is shown by then
        assert isinstance(bench.perform(request), Done)
        assert before == bench.called(), where


@pytest.mark.parametrize("act", ACTS)
def test_an_effect_that_comes_after_the_replay_changes_nothing_more(bench: Bench, act: str) -> None:
    """The daemon died, its call arrives late. Only a snapshot may be there twice: AWS has no token for it."""
    calls = clean(bench, ACTS[act])
    for number, call in enumerate(calls):
        request = ACTS[act](bench)
        bench.aws.log.clear()
        bench.aws.log.stop(number, "late", lambda: None, late_by=0.1)
        outcomes = bench.again(request)
        assert isinstance(outcomes[-1], Done), (call, outcomes)
        time.sleep(0.15)
        twice = [e for e in set(bench.effects()) if bench.effects().count(e) > calls.count(e.split()[0])]
        assert all(effect.startswith("CreateSnapshots") for effect in twice), (call, twice)
        after = bench.called()
        bench.aws.forward(10)
        assert isinstance(bench.perform(request), Done), call
        assert after == bench.called(), call


@pytest.mark.parametrize(
    ("act", "kind"),
    [*((act, "xhtml") for act in ACTS), ("terminate", "500"), ("launch", "reset"), ("isolate", "limit")],
)
def test_an_act_that_can_not_look_does_nothing(bench: Bench, act: str, kind: str) -> None:
    """Whatever the silence is made of, a web page with status 200 above all; once AWS is back, it is done."""
    request = ACTS[act](bench)
    bench.aws.log.clear()
    bench.aws.faults.region_down = kind
    outcome = bench.perform(request)
    bench.aws.faults.clear()

    assert isinstance(outcome, Throttled if kind == "limit" else Unclear), outcome
    assert [] == bench.called()
    bench.done(request)


@pytest.mark.parametrize("act", ACTS)
def test_a_look_that_fails_half_way_is_made_up_for(bench: Bench, act: str) -> None:
    """Each of an act's reads in turn is answered by a web page; the effect is there once all the same."""
    calls = clean(bench, ACTS[act])
    wanted = sorted(bench.effects())
    for number in range(1, 25):
        request = ACTS[act](bench)
        bench.aws.log.clear()
        bench.aws.faults.add("Describe*", "xhtml", nth=number)
        outcomes = bench.again(request)
        is_over = bool(bench.aws.faults.planned)
        bench.aws.faults.clear()

        assert isinstance(outcomes[-1], Done), outcomes
        assert wanted == sorted(bench.effects()), (number, calls)
        if is_over:
            return


@pytest.mark.parametrize("act", ACTS)
def test_what_is_of_another_fleet_is_never_touched(bench: Bench, act: str) -> None:
    """Refused by name, and nothing of it is called for."""
    request = ACTS[act](bench)
    if act == "launch":
        return
    subject = request.instance  # type: ignore[union-attr]  # all others have one
    bench.aws.do("ec2", "CreateTags", Resources=[subject], Tags=[{"Key": "sickbay:fleet", "Value": "shop"}])
    bench.aws.log.clear()
    outcome = bench.perform(request)

    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{subject} belongs to fleet shop, expected web")
    bench.aws.do("ec2", "DeleteTags", Resources=[subject], Tags=[{"Key": "sickbay:fleet"}])
    outcome = bench.perform(request)
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{subject} carries no tag sickbay:fleet, expected web")
    assert [] == bench.called()
