"""The built-in checks, asked through the public fake: each row is one answer of an instance."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.api import (
    BeatReport,
    Check,
    CheckResult,
    HttpAnswer,
    NoAnswer,
    PassiveCheck,
    Refusal,
    Report,
    Status,
    TcpAnswer,
)
from supervisor.plugins import discover
from supervisor.testing import FakeProbe, http_answer, instance, run, tcp_answer

CHECKS = discover().checks


def made(kind: str, **options: object) -> Check:
    """Make a check as a check host does."""
    return CHECKS[kind].cls.model_validate(options)


HTTP: dict[str, tuple[dict[str, object], HttpAnswer | Refusal | NoAnswer, CheckResult]] = {
    "the expected code": ({}, http_answer(200), CheckResult.ok("HTTP 200", seconds=0.01)),
    "another code": ({}, http_answer(503), CheckResult.critical("HTTP 503, expected 200", seconds=0.01)),
    "one of several": ({"expect": [200, "3xx"]}, http_answer(302), CheckResult.ok("HTTP 302", seconds=0.01)),
    "none of several": (
        {"expect": [204, "3xx"]},
        http_answer(200),
        CheckResult.critical("HTTP 200, expected 204 or 3xx", seconds=0.01),
    ),
    "the text in the body": ({"body": "fine"}, http_answer(200, "all fine"), CheckResult.ok("HTTP 200", seconds=0.01)),
    "a body without it": (
        {"body": "fine"},
        http_answer(200, "bad"),
        CheckResult.critical("HTTP 200, but the body lacks 'fine'", seconds=0.01),
    ),
    "a refused connection": ({}, Refusal("connection refused"), CheckResult.critical("connection refused")),
    "silence": ({}, NoAnswer("no route to host"), CheckResult.no_answer("no answer: no route to host")),
}


@pytest.mark.parametrize("row", HTTP)
def test_http_judges_an_answer(row: str) -> None:
    """Code and body; redirects are answers."""
    options, answer, expected = HTTP[row]

    assert expected == run(made("http", **options), instance(), FakeProbe(http=[answer]))


def test_http_asks_what_it_was_told_to() -> None:
    """Scheme, port, path, method, headers, and whether the certificate counts."""
    probe = FakeProbe(http=[http_answer()])
    options: dict[str, object] = {
        "scheme": "https",
        "port": 8443,
        "path": "/up?x=1",
        "method": "HEAD",
        "verify": False,
        "headers": {"Host": "a"},
    }
    run(made("http", **options), instance("2001:db8::7"), probe)
    asked = probe.http.asked[0]

    assert ("HEAD", "https://[2001:db8::7]:8443/up?x=1", {"Host": "a"}, False) == (
        asked.method,
        asked.url,
        asked.headers,
        asked.verify,
    )


TCP: dict[str, tuple[dict[str, object], TcpAnswer | Refusal | NoAnswer, CheckResult]] = {
    "an open port": ({"port": 7}, tcp_answer(), CheckResult.ok("port 7 open", seconds=0.01)),
    "what was expected": (
        {"port": 7, "expect": "PONG"},
        tcp_answer("+PONG\n"),
        CheckResult.ok("port 7 open", seconds=0.01),
    ),
    "something else": (
        {"port": 7, "expect": "PONG"},
        tcp_answer("-ERR"),
        CheckResult.critical("connected, but 'PONG' did not come back", seconds=0.01),
    ),
    "a closed port": ({"port": 7}, Refusal("connection refused"), CheckResult.critical("connection refused")),
}


@pytest.mark.parametrize("row", TCP)
def test_tcp_judges_an_answer(row: str) -> None:
    """Open, and what comes back."""
    options, answer, expected = TCP[row]

    assert expected == run(made("tcp", **options), instance(), FakeProbe(tcp=[answer]))


WRONG: dict[str, tuple[str, dict[str, object]]] = {
    "a port that is none": ("tcp", {"port": 0}),
    "no port": ("tcp", {}),
    "a relative path": ("http", {"path": "healthz"}),
    "a code that is none": ("http", {"expect": 99}),
    "a key that is none": ("http", {"prot": 80}),
}


@pytest.mark.parametrize("row", WRONG)
def test_bad_options_never_become_a_check(row: str) -> None:
    """A typo is an error at the start, not a check that passes."""
    kind, options = WRONG[row]
    with pytest.raises(ValidationError):
        made(kind, **options)


def test_no_check_calls_a_refusal_silence() -> None:
    """Whoever refuses is alive."""
    probe = FakeProbe(http=[Refusal("reset")], tcp=[Refusal("reset")])
    results = [run(made(kind, port=1), instance(), probe) for kind in ("http", "tcp")]

    assert [(Status.CRITICAL, False)] * 2 == [(r.status, r.silent) for r in results]


CLOUD = {
    "a cloud that was not heard": (None, CheckResult.unknown("the cloud has not told of this machine yet")),
    "nothing wrong": ("", CheckResult.ok("the cloud finds nothing wrong")),
    "impaired": ("system check failed", CheckResult.critical("the cloud says: system check failed")),
}


@pytest.mark.parametrize("row", CLOUD)
def test_cloud_status_says_what_the_cloud_says(row: str) -> None:
    """In its words."""
    impaired, expected = CLOUD[row]
    check = made("cloud_status")
    assert isinstance(check, PassiveCheck)

    assert expected == check.judge(instance(), Report(impaired=impaired))


HEART: dict[str, tuple[dict[str, object], Report, CheckResult]] = {
    "heard": ({}, Report(BeatReport(2.14, True, 10.0, {"load": 0.5})), CheckResult.ok("heard 2.1s ago", metrics={"age": 2.14, "load": 0.5})),
    "silent": ({}, Report(BeatReport(120.0, False, 10.0)), CheckResult.no_answer("no sign of life for 2m, usually every 10s")),
    "silent after one": ({}, Report(BeatReport(75.0, False)), CheckResult.no_answer("no sign of life for 1m15s")),
    "within its own limit": ({"stale_after": "5m"}, Report(BeatReport(120.0, False, 10.0)), CheckResult.ok("heard 2m ago", metrics={"age": 120.0})),
    "beyond its own limit": ({"stale_after": "15s"}, Report(BeatReport(20.0, True, 10.0)), CheckResult.no_answer("no sign of life for 20s, usually every 10s")),
    "never heard": ({}, Report(), CheckResult.unknown("no heartbeat was ever heard of this machine")),
    "nobody is heard": ({}, Report(BeatReport(120.0, False), deaf="the broker is away"), CheckResult.unknown("heartbeats are not heard: the broker is away")),
}  # fmt: skip


@pytest.mark.parametrize("row", HEART)
def test_heartbeat_judges_the_silence(row: str) -> None:
    """By the machine's own habit, or by a limit; never where nobody can be heard."""
    options, report, expected = HEART[row]
    check = made("heartbeat", **options)
    assert isinstance(check, PassiveCheck)

    assert expected == check.judge(instance(), report)
