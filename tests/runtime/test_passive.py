"""Passive checks: judged on their cadence from what is known, with nobody asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from supervisor.api import CheckResult, Instance, PassiveCheck, Report, Status
from supervisor.core.signals import Result
from supervisor.runtime.passive import PassiveHost
from supervisor.runtime.runner import boottime
from supervisor.runtime.schedule import Spec
from tests.watching import observe


class Told(PassiveCheck):
    """Passes when the cloud says nothing; a cloud that was not heard makes it fail of itself."""

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Judge."""
        if report.impaired is None:
            raise LookupError("nobody told")
        return CheckResult.critical(report.impaired) if report.impaired else CheckResult.ok("fine")


def host(reports: dict[str, Report]) -> PassiveHost:
    """Return a host with one check every ten seconds of the fleet web."""
    results: asyncio.Queue[Sequence[Result]] = asyncio.Queue()
    made = PassiveHost(lambda instance: reports.get(instance.id, Report()), results)
    made.configure({"web": {"told": Spec("told", "told", "", Told(), 10.0, 3.0)}}, ())
    return made


async def test_each_is_judged_once_in_its_interval() -> None:
    """Three machines: one well, one that the cloud calls impaired, one of which nobody told; ten seconds."""
    watched = host({"i-1": Report(impaired=""), "i-2": Report(impaired="system check failed")})
    for name in ("i-1", "i-2", "i-3"):
        watched.observe(observe(name))
    begun = boottime()

    found = [result for tenth in range(101) for result in watched.turn(begun + tenth / 10)]

    assert {
        "i-1": (Status.OK, "fine"),
        "i-2": (Status.CRITICAL, "system check failed"),
        "i-3": (Status.UNKNOWN, "the check itself failed: LookupError: nobody told"),
    } == {result.instance: (result.status, result.text) for result in found}
    assert 3 == len(found)


async def test_who_is_asked_for_is_judged_at_once() -> None:
    """And once, however often it was asked for."""
    watched = host({"i-1": Report(impaired="")})
    watched.observe(observe("i-1"))
    begun = boottime()
    watched.turn(begun + 10)
    watched.ask(["i-1", "i-none"])
    watched.ask(["i-1"])

    assert ["i-1"] == [result.instance for result in watched.turn(begun + 10)]
    assert [] == watched.turn(begun + 10)


@pytest.mark.parametrize("how", ["forgotten", "another configuration"])
async def test_who_is_watched_no_more_is_judged_no_more(how: str) -> None:
    """A machine that left; a fleet that has no passive check any more."""
    watched = host({"i-1": Report(impaired="")})
    watched.observe(observe("i-1"))
    if how == "forgotten":
        watched.forget("i-1")
    else:
        watched.configure({}, [observe("i-1")])

    assert [] == watched.turn(boottime() + 20)
