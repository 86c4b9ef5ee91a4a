"""Stories of healing on AWS, end to end: the real daemon, real web servers, and an AWS that takes its time."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.ec2.conftest import MakeRig
from tests.ec2.rig import Rig, told
from tests.standins.slack import TOKEN, Message, Slack

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

CHAT = """
[chat.slack]
channel = "C0OPS"
token = {{ env = "SICKBAY_TEST_TOKEN" }}
api_url = "{url}"
"""


def use(there: Rig, slack: Slack) -> None:
    """Let the daemon tell this workspace."""
    there.more = CHAT.format(url=slack.api_url)
    there.environment["SICKBAY_TEST_TOKEN"] = TOKEN
    there.write()


def root_of(slack: Slack, instance: str) -> Message | None:
    """Return the one message about a machine's incident."""
    found = [m for m in slack.roots if m.body["blocks"][0]["type"] == "header" and instance in m.shown.splitlines()[0]]
    assert len(found) <= 1, "an incident has two messages"
    return found[0] if found else None


def is_told(slack: Slack, instance: str) -> bool:
    """Return whether people were told of a machine's replacement."""
    root = root_of(slack, instance)
    return root is not None and "was replaced by" in root.shown


def nature(there: Rig, instance: str) -> dict[str, Any]:
    """Return everything of a machine that isolation changes and a release must bring back."""
    life = there.aws.instances.lives[instance]
    return {
        "groups": {card.id: sorted(g.id for g in card.group_set) for card in life.instance.nics.values()},
        "termination": bool(life.instance.disable_api_termination),
        "stop": bool(life.instance.disable_api_stop),
        "shutdown": life.instance.instance_initiated_shutdown_behavior,
        "disks": {name: d.delete_on_termination for name, d in life.instance.block_device_mapping.items()},
    }


def test_a_fleet_of_twenty_boots_and_heals_three_kinds_of_sickness(make_rig: MakeRig, slack: Slack) -> None:
    """One crashed, one hangs, one is impaired as AWS sees it: each replaced, set aside with its evidence, and told."""
    there = make_rig(20)
    use(there, slack)
    there.start()
    there.calm(120)
    zones = [there.aws.instances.lives[name].zone for name in there.serving()]
    assert {10} == {zones.count(zone) for zone in there.world.zones}
    assert 20 == len(there.aws.balancer.routed(there.world.target_group))

    victims = dict(zip(there.serving(), ("crash", "hang", "impaired"), strict=False))
    before = {name: nature(there, name) for name in victims}
    for name, fault in victims.items():
        there.sicken(name, fault)
    there.until(lambda: all(map(there.is_healed, victims)), 150)
    there.calm(60)

    truth = there.evidence().machines
    for name in victims:
        assert "quarantined" == there.lifecycle(name)
        assert (True, True, 1, "quarantined") == (
            truth[name].is_isolated,
            truth[name].protected,
            truth[name].snapshots,
            truth[name].tags["sickbay:state"],
        )
        (kept,) = [q for q in there.get("quarantine") if q["instance"] == name]
        assert kept["capture"]
        there.until(partial(is_told, slack, name))
    assert [] == there.check()

    patient = next(iter(victims))
    there.cure(patient)
    there.asked.add(patient)
    assert "is released" in told(there.run("quarantine", "release", patient))
    there.until(lambda: patient in there.serving())
    assert before[patient] == nature(there, patient)
    assert "" == there.evidence().machines[patient].tags.get("sickbay:state", "")


def test_aws_is_away_when_the_daemon_starts(make_rig: MakeRig) -> None:
    """Never asked before: it ends with one sentence, so that it is started again. Known: it starts, holds, recovers."""
    there = make_rig()
    there.aws.faults.region_down = "500"
    there.start()
    assert there.process is not None
    assert 69 == there.process.wait(90)
    said = [line for line in (there.folder / "err.log").read_text().splitlines() if line.startswith("sickbay: ")]
    assert 1 == len(said), said
    assert "Traceback" not in (there.folder / "err.log").read_text()

    there.aws.faults.clear()
    there.start()
    there.calm()
    there.shoot()
    calls = len(there.seen)
    there.aws.faults.region_down = "500"
    there.start()
    there.until(lambda: there.status().get("inventory", {}).get("error"), 90)
    there.sicken(there.serving()[0], "errors")
    there.aws.faults.clear()
    assert calls == len(there.seen)
    there.until(lambda: there.is_healed(next(iter(there.ill))))
    there.calm()
    assert [] == there.check()


def test_without_capacity_in_a_zone_it_goes_to_the_next_place(make_rig: MakeRig) -> None:
    """A definite no moves it on, as a new attempt with a token of its own."""
    there = make_rig()
    first, second = there.world.zones
    there.aws.launches.capacity["*", first] = "InsufficientInstanceCapacity"
    there.start()
    there.calm()

    assert {second} == {there.aws.instances.lives[name].zone for name in there.serving()}
    assert [] == there.check()


def test_a_limit_of_the_account_is_told_at_once_and_not_tried_again(make_rig: MakeRig) -> None:
    """Another launch would meet it again: a person must look first; then it goes on."""
    there = make_rig(1)
    there.aws.launches.capacity["*", "*"] = "VcpuLimitExceeded"
    there.start()
    there.until(lambda: there.rows("SELECT 1 FROM incident WHERE state = 'escalated'"))
    launches = [c for c in there.seen if c.action == "RunInstances"]
    assert 1 == len(launches)
    assert "VcpuLimitExceeded" in there.chat()
    there.aws.forward(600)
    assert launches == [c for c in there.seen if c.action == "RunInstances"]

    there.aws.launches.capacity.clear()
    assert 0 == there.run("retry", "web", "0").returncode
    there.calm()


def test_a_machine_that_dies_at_once_leaves_aws_reason_in_the_incident(make_rig: MakeRig) -> None:
    """It is gone from the list an hour later; the incident still says why. A reason of AWS's own is worth another try."""
    there = make_rig(1)
    there.aws.launches.doomed.append("Server.InternalError")
    there.start()
    there.calm()

    ((notes,),) = there.rows("SELECT notes FROM incident ORDER BY id LIMIT 1")
    assert "Server.InternalError" in notes
    assert 2 == len({c.entry.params["ClientToken"] for c in there.seen if c.action == "RunInstances"})


def test_a_converged_daemon_changes_nothing_when_it_starts_again(fleet: Rig) -> None:
    """Neither after a first boot nor after a healing: not one call that could change anything."""
    assert [] == fleet.rest()
    victim = fleet.serving()[0]
    fleet.sicken(victim, "crash")
    fleet.until(lambda: fleet.is_healed(victim))
    assert [] == fleet.rest()
    assert [] == fleet.check()
