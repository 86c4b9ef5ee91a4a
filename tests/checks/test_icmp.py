"""The check `icmp`: how many echoes come back, and how fast."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.api import CheckResult, EchoAnswer, NoAnswer, Unrunnable
from supervisor.plugins import discover
from supervisor.testing import EchoRequest, FakeProbe, echo_answer, instance, run

CHECK = discover().checks["icmp"].cls
LIMITS = {"warn": "50ms", "critical": "100ms"}

ROWS: dict[str, tuple[dict[str, Any], EchoAnswer | NoAnswer | Unrunnable, CheckResult]] = {
    "one echo": (
        {},
        echo_answer(0.0004),
        CheckResult.ok("round trip 0.4 ms", seconds=0.0004, metrics={"loss": 0.0, "slowest": 0.0004}),
    ),
    "some lost": (
        {"count": 4},
        echo_answer(0.01, 0.02, 0.03, lost=1),
        CheckResult.critical(
            "1 of 4 echoes lost, round trip 20 ms", seconds=0.02, metrics={"loss": 0.25, "slowest": 0.03}
        ),
    ),
    "some lost, as allowed": (
        {"count": 4, "loss": 0.25},
        echo_answer(0.01, 0.02, 0.03, lost=1),
        CheckResult.ok("round trip 20 ms, 1 of 4 lost", seconds=0.02, metrics={"loss": 0.25, "slowest": 0.03}),
    ),
    "fast enough": (
        LIMITS,
        echo_answer(0.0499),
        CheckResult.ok("round trip 49.9 ms", seconds=0.0499, metrics={"loss": 0.0, "slowest": 0.0499}),
    ),
    "slow": (
        LIMITS,
        echo_answer(0.05),
        CheckResult.warning(
            "round trip 50 ms, expected less than 50 ms", seconds=0.05, metrics={"loss": 0.0, "slowest": 0.05}
        ),
    ),
    "slower": (
        LIMITS,
        echo_answer(0.15),
        CheckResult.critical(
            "round trip 150 ms, expected less than 100 ms", seconds=0.15, metrics={"loss": 0.0, "slowest": 0.15}
        ),
    ),
    "silence": ({}, NoAnswer("no echo came back"), CheckResult.no_answer("no answer: no echo came back")),
    "not allowed": (
        {},
        Unrunnable("the kernel allows us no echoes"),
        CheckResult.unknown("the kernel allows us no echoes"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_echoes_are_judged(row: str) -> None:
    """Loss first; then the mean."""
    options, answer, expected = ROWS[row]

    assert expected == run(CHECK.model_validate(options), instance(), FakeProbe(icmp=[answer]))


def test_it_asks_as_it_was_told_to() -> None:
    """How many, and how long each is waited for."""
    probe = FakeProbe(icmp=[echo_answer(0.001)])
    run(CHECK.model_validate({"count": 3, "wait": "250ms"}), instance("2001:db8::7"), probe)

    assert [EchoRequest("2001:db8::7", 3, 0.25)] == probe.icmp.asked


@pytest.mark.parametrize(
    "options", [{"count": 0}, {"count": 21}, {"loss": 1.1}, {"wait": "0s"}, {"warn": "2s", "critical": "1s"}]
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """At the start."""
    with pytest.raises(ValidationError):
        CHECK.model_validate(options)
