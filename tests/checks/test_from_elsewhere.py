"""The checks `alertmanager` and `image_drift`: what others know of an instance, in each of its states."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from supervisor.api import AlertReport, CheckResult, Instance, PassiveCheck, Report
from supervisor.plugins import discover
from supervisor.testing import instance

CHECKS = discover().checks


def judge(kind: str, options: dict[str, object], whom: Instance, report: Report) -> CheckResult:
    """Judge a report."""
    check = CHECKS[kind].cls.model_validate(options)
    assert isinstance(check, PassiveCheck)
    return check.judge(whom, report)


ERRORS = AlertReport("HighErrorRate", "5 % of all answers are errors", "critical", 60.0)
DISK = AlertReport("DiskFills", "", "warning", 5.0)

ALERTS: dict[str, tuple[dict[str, object], Sequence[AlertReport] | None, CheckResult]] = {
    "nobody is heard": ({}, None, CheckResult.unknown("Alertmanager is not heard")),
    "nothing fires": ({}, [], CheckResult.ok("no alert fires")),
    "one fires": ({}, [ERRORS], CheckResult.critical("HighErrorRate: 5 % of all answers are errors")),
    "two fire": ({}, [ERRORS, DISK], CheckResult.critical("HighErrorRate: 5 % of all answers are errors; DiskFills")),
    "another one fires": ({"alerts": ["DiskFills"]}, [ERRORS], CheckResult.ok("no alert fires")),
    "the named one fires": ({"alerts": ["DiskFills"]}, [ERRORS, DISK], CheckResult.critical("DiskFills")),
    "one of a lesser severity": ({"severity": ["critical"]}, [DISK], CheckResult.ok("no alert fires")),
    "one of the severity": ({"severity": ["page", "warning"]}, [DISK], CheckResult.critical("DiskFills")),
    "very many": ({}, [DISK] * 7, CheckResult.critical("; ".join(["DiskFills"] * 5) + "; and 2 more")),
}


@pytest.mark.parametrize("row", ALERTS)
def test_alertmanager_says_what_fires(row: str) -> None:
    """By name and severity; nothing is known where nobody would tell."""
    options, alerts, expected = ALERTS[row]

    assert expected == judge("alertmanager", options, instance(), Report(alerts=alerts))


IMAGES: dict[str, tuple[str, str, str | None, CheckResult]] = {
    "current": ("img-2", "2.4.1", "img-2", CheckResult.ok("runs img-2 (2.4.1)")),
    "outdated": (
        "img-1",
        "2.4.0",
        "img-2",
        CheckResult.warning("runs img-1 (2.4.0), the fleet's image is img-2 (2.4.1)"),
    ),
    "without a version": ("img-1", "", "img-2", CheckResult.warning("runs img-1, the fleet's image is img-2 (2.4.1)")),
    "no image has served yet": ("img-1", "2.4.0", None, CheckResult.unknown("the fleet's image is not known")),
    "a machine of an unknown image": ("", "", "img-2", CheckResult.unknown("the machine's image is not known")),
}


@pytest.mark.parametrize("row", IMAGES)
def test_image_drift_compares_images(row: str) -> None:
    """Their ids; the versions are for people."""
    image, version, good, expected = IMAGES[row]
    whom = Instance("i-1", "web", "192.0.2.1", "a", image, version)

    assert expected == judge("image_drift", {}, whom, Report(image=good, version="2.4.1"))
