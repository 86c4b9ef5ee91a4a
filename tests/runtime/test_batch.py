"""What a host writes, its parent reads; and what no host writes, it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks.tcp import TcpCheck
from supervisor.api import CheckResult, Instance
from supervisor.core.signals import Observe, Result
from supervisor.core.terms import Status
from supervisor.runtime.batch import Batch, read
from supervisor.runtime.schedule import Pair, Spec, Watched

PAIR = Spec("alive", "tcp", "tcp.py", TcpCheck(port=80), 10.0, 2.0)
KNOWN = {"alive": "alive"}
WATCHED = {"i-1": Observe("i-1", "web", "127.0.0.1", "a", "img", "1")}


def sent(*results: CheckResult) -> tuple[list[Result], list[list[Any]]]:
    """Send these of one check, as JSON; return what the parent takes, and the rows."""
    pair, batch = Pair(Watched(Instance("i-1", "web", "127.0.0.1"), fast=False), PAIR), Batch()
    for result in results:
        batch.add(pair, result, 12345.678901, 12345.680123)
    rows = json.loads(json.dumps(batch.take()["results"]))
    return read(rows, WATCHED, KNOWN), rows


def test_a_pass_is_told_in_words_once_and_is_short_from_then_on() -> None:
    """Until something else came between."""
    ok, bad = CheckResult.ok("HTTP 200"), CheckResult.no_answer("no answer")
    taken, rows = sent(ok, ok, ok, bad, ok)

    assert ["HTTP 200", "", "", "no answer", "HTTP 200"] == [result.text for result in taken]
    assert [7, 4, 4, 7, 7] == [len(row) for row in rows]
    assert [(Status.OK, False)] * 3 + [(Status.CRITICAL, True), (Status.OK, False)] == [r[2:4] for r in taken]


def test_times_are_kept_to_the_microsecond_and_metrics_travel_with_every_pass() -> None:
    """Also with one that has nothing new to say."""
    taken, _ = sent(CheckResult.ok("fine", metrics={"load": 0.5}), CheckResult.ok("fine", metrics={"load": 0.7}))

    assert [0.5, 0.7] == [result.metrics["load"] for result in taken]
    assert ["fine", ""] == [result.text for result in taken]
    for result in taken:
        assert abs(result.sent - 12345.678901) < 2e-6
        assert abs(result.done - result.sent - 0.001222) < 2e-6


def test_of_strangers_and_of_checks_that_are_gone_nothing_is_taken() -> None:
    """Whatever a host says of them."""
    assert [] == read([["i-2", "alive", 1, 1], ["i-1", "gone", 1, 1]], WATCHED, KNOWN)


@pytest.mark.parametrize(
    "row",
    [[], ["i-1"], ["i-1", "alive", "soon", 1], ["i-1", "alive", None, 1], [["i-1"], "alive", 1, 1], ["i-1", {}, 1, 1],
     ["i-1", "alive", 1, 1, "ok"], ["i-1", "alive", 1, 1, "splendid", 0, ""], ["i-1", "alive", 1, 1, "ok", 0, 7],
     ["i-1", "alive", 1, 1, "ok", 0, "", 7], 7],
)  # fmt: skip
def test_what_no_host_sends_is_refused(row: Any) -> None:
    """With an error that has the host started again."""
    with pytest.raises((ValueError, LookupError, TypeError)):
        read([row], WATCHED, KNOWN)
