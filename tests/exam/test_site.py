"""Symptoms follow from the state of the parts: a fault, and what each of the five checks is then answered."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.core.machine import MachineState, TargetHealth
from supervisor.core.terms import Status
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.faults import Faults
from supervisor.sim.exam.noise import Noise
from supervisor.sim.exam.scenario import Fault, Kind, Scenario, Who
from supervisor.sim.exam.shape import CHECKS, settings_for
from supervisor.sim.exam.site import Dice, Site
from tests.exam.healers import Idle

WELL, WRONG, SILENT, BROKEN = "well", "wrong", "silent", "broken"


def site_with(*faults: Fault, size: int = 6) -> Site:
    """Return a site without noise on which these faults have begun."""
    site = Site(Clockwork(), Dice("a test"), size, noise=False, demand=0.7)
    noise = Noise(site, bursts=False, crashes=0.0)
    scenario = Scenario(number=0, title="t", about="t", sizes=(size,), lasts=3600.0)
    made = Faults(site, noise, Idle(), settings_for(scenario, size), lambda call: call())
    for number, fault in enumerate(faults):
        made.schedule(number, fault)
    site.clock.run(60.0)
    return site


def said(site: Site, instance: str) -> dict[str, str]:
    """Return what each check says of a machine."""
    found = {}
    for name, check in CHECKS.items():
        answer = site.answer(site.boxes[instance], check, 3.0)
        if answer.status is Status.UNKNOWN:
            found[name] = BROKEN
        elif answer.status is Status.OK:
            found[name] = WELL
        else:
            found[name] = SILENT if answer.silent else WRONG
    return found


EVERYBODY = {"count": 6}
SYMPTOMS = [
    pytest.param(Kind.CRASH, {"who": EVERYBODY}, "silent silent silent silent silent", id="a dead host answers nobody"),
    pytest.param(
        Kind.STOP_PROCESS, {"who": EVERYBODY}, "wrong wrong well wrong well", id="a dead process leaves the agent well"
    ),
    pytest.param(Kind.HANG, {"who": EVERYBODY}, "well silent well silent well", id="a hung one still accepts"),
    pytest.param(Kind.ERRORS, {"who": EVERYBODY, "share": 1.0}, "well wrong well wrong well", id="errors are answers"),
    pytest.param(
        Kind.SLOW, {"who": EVERYBODY, "factor": 5.0}, "well well well well well", id="five times slower still passes"
    ),
    pytest.param(
        Kind.SLOW, {"who": EVERYBODY, "factor": 900.0}, "silent silent well silent silent", id="too slow is silence"
    ),
    pytest.param(Kind.LIE, {"who": EVERYBODY, "check": "disk"}, "well well wrong well well", id="one check lies"),
    pytest.param(Kind.MUTE, {"who": EVERYBODY}, "well well well well well", id="a gray failure passes every check"),
    pytest.param(Kind.CUT_ZONE, {"zone": "a"}, "silent silent silent silent silent", id="nobody gets into a cut zone"),
    pytest.param(Kind.CUT_SUBNET, {"subnet": "a1"}, "silent silent silent silent silent", id="nor into a cut subnet"),
    pytest.param(
        Kind.BREAK_DEPENDENCY, {"dependency": "db"}, "well well well wrong well", id="the database fails the deep check"
    ),
    pytest.param(
        Kind.BREAK_DEPENDENCY, {"dependency": "dns"}, "well well well well wrong", id="names fail the check of names"
    ),
    pytest.param(Kind.BAD_CHECK, {"check": "http"}, "well wrong well well well", id="a bad check fails alone"),
    pytest.param(Kind.LOSE_SIGHT, {"share": 1.0}, "silent silent silent silent silent", id="the blind see nothing"),
    pytest.param(Kind.UNSEEN_ZONE, {"zone": "a"}, "silent silent silent silent silent", id="no way into one zone"),
    pytest.param(Kind.NO_NAMES, {}, "broken broken well broken broken", id="without names a check can't even begin"),
]


@pytest.mark.parametrize(("kind", "given", "expected"), SYMPTOMS)
def test_a_fault_shows_in_the_checks_that_reach_it_and_in_no_others(
    kind: Kind, given: dict[str, Any], expected: str
) -> None:
    """tcp, http, disk, deep and dns of machine i-00000, which stands in zone a, subnet a1."""
    site = site_with(Fault(kind=kind, at=10.0, **given))
    assert dict(zip(CHECKS, expected.split(), strict=True)) == said(site, "i-00000")


@pytest.mark.parametrize(("kind", "given", "expected"), SYMPTOMS)
def test_a_fault_that_is_over_leaves_no_trace(kind: Kind, given: dict[str, Any], expected: str) -> None:
    """Every kind takes back what it changed."""
    site = site_with(Fault(kind=kind, at=10.0, lasts=20.0, **given))
    assert set(said(site, "i-00000").values()) == {WELL}
    assert not site.odd
    assert site.is_calm
    assert site.ledger.serving == 6


def test_a_cut_zone_takes_its_machines_from_the_visitors_and_no_others() -> None:
    """Two of six stand in each zone."""
    site = site_with(Fault(kind=Kind.CUT_ZONE, at=10.0, zone="b"))
    assert site.ledger.serving == 4
    assert {WELL} == set(said(site, "i-00000").values())
    assert {SILENT} == set(said(site, "i-00001").values())


def test_the_load_balancer_notices_a_dead_process_by_itself_after_its_own_probes() -> None:
    """It needs a while, as load balancers do."""
    site = site_with(Fault(kind=Kind.STOP_PROCESS, at=50.0, who=Who(count=6)))
    assert {TargetHealth.HEALTHY} == {m.target for m in site.shown()}
    site.clock.run(90.0)
    assert {TargetHealth.UNHEALTHY} == {m.target for m in site.shown()}


def test_a_terminated_machine_is_listed_as_such_and_leaves_the_list_an_hour_later() -> None:
    """As clouds do."""
    site = site_with(Fault(kind=Kind.TERMINATE, at=10.0, who=Who(count=1)))
    assert [MachineState.TERMINATED] == [m.state for m in site.shown() if m.state is not MachineState.RUNNING]
    site.clock.run(4000.0)
    assert len(site.shown()) == 5


def test_lost_capacity_is_what_is_missing_below_demand_over_time() -> None:
    """Demand is five of six; four of them gone for a minute is three machine-minutes."""
    site = site_with(Fault(kind=Kind.STOP_PROCESS, at=0.0, lasts=60.0, who=Who(count=4)))
    site.clock.run(600.0)
    site.ledger.close()
    assert site.ledger.lost == pytest.approx(180.0)


def test_overload_is_worse_the_fewer_serve() -> None:
    """Each machine that a healer takes away adds to the load of the rest."""

    def failing(gone: int) -> int:
        faults = [Fault(kind=Kind.OVERLOAD, at=1.0, factor=2.0)]
        if gone:
            faults.append(Fault(kind=Kind.CRASH, at=2.0, who=Who(count=gone)))
        site = site_with(*faults, size=30)
        well = next(box for _, box in sorted(site.boxes.items()) if not box.crashed)
        return sum(site.answer(well, CHECKS["http"], 3.0).silent for _ in range(400))

    assert 60 < failing(0) < failing(10) < failing(20)
