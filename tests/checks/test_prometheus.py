"""The check `prometheus`: a number against a bound, from a server's answer or from the instance's own page."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from checks.prometheus import expanded
from supervisor.api import Check, CheckResult, Instance, NoAnswer, Refusal, Status
from supervisor.plugins import discover
from supervisor.testing import FakeProbe, http_answer, instance, run

KIND = discover().checks["prometheus"].cls
SERVER: dict[str, object] = {
    "url": "http://prometheus.test:9090",
    "query": "up",
    "critical": "> 0.9",
    "warning": "> 0.7",
}
PAGE: dict[str, object] = {"port": 9100, "metric": "queue_length", "critical": ["< 1", "> 90"]}


def made(options: dict[str, object], **more: object) -> Check:
    """Make a check as a check host does."""
    return KIND.model_validate(options | more)


def vector(*values: str, at: float | None = None) -> str:
    """Return a server's answer to an instant query."""
    moment = time.time() if at is None else at
    result = [{"metric": {"n": str(n)}, "value": [moment, value]} for n, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def other(kind: str, result: object) -> str:
    """Return an answer of another type."""
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


ANSWERS: dict[str, tuple[str | bytes, Status, str]] = {
    "below both bounds": (vector("0.7"), Status.OK, "value is 0.7"),
    "above the lower one": (vector("0.8"), Status.WARNING, "value is 0.8, which is > 0.7"),
    "above both": (vector("0.95"), Status.CRITICAL, "value is 0.95, which is > 0.9"),
    "infinite": (vector("+Inf"), Status.CRITICAL, "value is inf, which is > 0.9"),
    "a scalar": (other("scalar", [time.time(), "1"]), Status.CRITICAL, "value is 1, which is > 0.9"),
    "no sample": (vector(), Status.UNKNOWN, "the query finds no sample"),
    "several": (
        vector("1", "1"),
        Status.UNKNOWN,
        "the query finds 2 samples, expected one: aggregate them, as with max(…)",
    ),
    "NaN": (vector("NaN"), Status.UNKNOWN, "the value is NaN"),
    "stale": (
        vector("1", at=time.time() - 1000),
        Status.UNKNOWN,
        " s old, expected 300 s at most",
    ),
    "a range": (other("matrix", []), Status.UNKNOWN, "the query returns a matrix, expected one value now"),
    "a refused query": (
        '{"status": "error", "errorType": "bad_data", "error": "parse error"}',
        Status.UNKNOWN,
        "Prometheus refuses the query: parse error",
    ),
    "no JSON": ("<h1>hello</h1>", Status.UNKNOWN, "Prometheus' answer can't be read (HTTP 200)"),
    "another JSON": ("[1]", Status.UNKNOWN, "Prometheus' answer can't be read (HTTP 200)"),
    "a deep one": ("[" * 60_000, Status.UNKNOWN, "Prometheus' answer can't be read (HTTP 200)"),
    "too much": (
        vector(*["1"] * 5000),
        Status.UNKNOWN,
        "Prometheus' answer can't be read (HTTP 200), as more than 64 KiB came: aggregate it",
    ),
}


@pytest.mark.parametrize("row", ANSWERS)
def test_a_servers_answer_is_judged(row: str) -> None:
    """One number is compared; whatever is not one number is UNKNOWN, with why."""
    body, status, text = ANSWERS[row]
    result = run(made(SERVER), instance(), FakeProbe(http=[http_answer(200, body)]))

    assert status is result.status
    assert result.text.endswith(text)
    assert ("value" in result.metrics) == (status is not Status.UNKNOWN and "inf" not in text)


@pytest.mark.parametrize("trouble", [Refusal("connection refused"), NoAnswer("no route to host")])
def test_a_server_in_trouble_is_nobodys_fault(trouble: Refusal | NoAnswer) -> None:
    """A refusal and silence condemn the instance only where it is the instance that is asked."""
    assert run(made(SERVER), instance(), FakeProbe(http=[trouble])) == CheckResult.unknown(
        f"Prometheus can't be asked: {trouble}"
    )
    assert Status.CRITICAL is run(made(PAGE), instance(), FakeProbe(http=[trouble])).status


def test_a_slow_server_is_nobodys_fault_either() -> None:
    """The runner ends the wait, and knows who was waited for."""
    for options, status in ((SERVER, Status.UNKNOWN), (PAGE, Status.CRITICAL)):
        result = run(made(options), instance(), Sleepy(), timeout=0.01)

        assert (status, status is Status.CRITICAL, "no answer within 10ms") == (
            result.status,
            result.silent,
            result.text,
        )


class Sleepy(FakeProbe):
    """Nobody answers in time."""

    @property
    def http(self) -> Sleepy:  # type: ignore[override]  # its own HTTP side
        """Itself."""
        return self

    async def get(self, *_: object, **__: object) -> None:
        """Wait until the runner has enough."""
        await asyncio.Event().wait()


def test_macros_are_text_whatever_they_hold() -> None:
    """In quotes they can't end the quote; in a regular expression they are no pattern."""
    query = 'max(up{job="web, #1", instance="{address}:9100", zone=~\'{zone}|b\'}) # of {address}'
    asked = FakeProbe(http=[http_answer(200, vector("1"))])
    run(made(SERVER, query=query), Instance("i-1", "web", "192.0.2.1", 'a.b"}) or vector(1) #\n'), asked)
    sent = asked.http.asked[0].url

    told = parse_qs(urlsplit(sent).query)
    zone = "a\\U0000005c.b\\U00000022\\U0000005c\\U0000007d\\U0000005c\\U00000029 or vector\\U0000005c\\U000000281\\U0000005c\\U00000029 \\U00000023\\U0000000a"
    assert [f'max(up{{job="web, #1", instance="192.0.2.1:9100", zone=~\'{zone}|b\'}}) # of {{address}}'] == told[
        "query"
    ]
    assert ["300s"] == told["lookback_delta"]


@given(st.text(max_size=30))
def test_no_value_leaves_its_quotes(value: str) -> None:
    """Whatever an instance is called, the query has as many pieces as its template."""
    check = made(SERVER, query="up{a=\"{zone}\", b=~'x{zone}'} > 0")
    query = expanded(str(vars(check)["query"]), Instance("i-1", "web", "192.0.2.1", value))
    found = re.fullmatch(
        r"""up\{a="((?:[^"\\\n]|\\U[0-9a-f]{8})*)", b=~'x((?:[^'\\\n]|\\U[0-9a-f]{8})*)'\} > 0""", query
    )

    assert found is not None
    assert value == re.sub(r"\\U([0-9a-f]{8})", lambda m: chr(int(m[1], 16)), found[1])


NOW = round(time.time() * 1000)
TEXT = f"""
# HELP queue_length Jobs that wait.
# TYPE queue_length gauge
queue_length{{queue="mail",place="a\\"}} 9"}} 3
queue_length{{queue="web"}} 95 {NOW}
queue_lengths 7
up 1
"""


SCRAPED: dict[str, tuple[str, int, str | bytes, Status, str]] = {
    "one sample": ("up", 200, TEXT, Status.OK, "up is 1"),
    "one by its label": ('queue_length{queue="mail"}', 200, TEXT, Status.OK, "queue_length is 3"),
    "above": (
        'queue_length{queue="web"}',
        200,
        TEXT,
        Status.CRITICAL,
        "queue_length is 95, which is > 90",
    ),
    "below": ("up", 200, "up 0\n", Status.CRITICAL, "up is 0, which is < 1"),
    "several": (
        "queue_length",
        200,
        TEXT,
        Status.UNKNOWN,
        "2 samples are queue_length, expected one: name more labels",
    ),
    "none": ("queue", 200, TEXT, Status.UNKNOWN, "the page has no queue"),
    "NaN": ("up", 200, "up NaN\n", Status.UNKNOWN, "the value is NaN"),
    "stale": ("up", 200, "up 1 1000\n", Status.UNKNOWN, "s old, expected 300 s at most"),
    "what is no sample": ("up", 200, "up yes\n", Status.UNKNOWN, "the page's samples of up can't be read"),
    "no text": ("up", 200, b"\xff\xfe up\nup 1\n", Status.OK, "up is 1"),
    "too many of a name": (
        "up",
        200,
        "".join(f'up{{n="{n}"}} 1\n' for n in range(1001)),
        Status.UNKNOWN,
        "the page has 1001 samples of up, expected 1000 and 64 KiB at most",
    ),
    "a line without end": (
        "up",
        200,
        "up{" + "".join(f'a{n}="",' for n in range(10_000)) + "} 1\n",
        Status.UNKNOWN,
        "the page has 1 samples of up, expected 1000 and 64 KiB at most",
    ),
    "a line that was cut": ("up", 200, "x" * (2**20 - 5) + "\nup 12345", Status.UNKNOWN, "the page has no up"),
    "another status": ("up", 503, TEXT, Status.CRITICAL, "HTTP 503, expected 200"),
}


@pytest.mark.parametrize("row", SCRAPED)
def test_an_instances_own_page_is_judged(row: str) -> None:
    """The one sample that is meant, among all that the page has."""
    metric, code, body, status, text = SCRAPED[row]
    result = run(made(PAGE, metric=metric), instance(), FakeProbe(http=[http_answer(code, body, most=2**20)]))

    assert status is result.status
    assert result.text.endswith(text)
    assert not result.silent


def test_the_number_is_kept_under_its_name() -> None:
    """For plots; by the metric's name unless it is called otherwise."""
    answer = http_answer(200, TEXT, seconds=0.02)
    plain = run(made(PAGE, metric="up"), instance(), FakeProbe(http=[answer]))
    named = run(made(PAGE, metric="up", label="uptime_ratio"), instance(), FakeProbe(http=[answer]))

    assert ({"up": 1.0}, 0.02) == (plain.metrics, plain.seconds)
    assert ({"uptime_ratio": 1.0}, "uptime_ratio is 1") == (named.metrics, named.text)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "nobody to ask": ({"critical": "> 1"}, "expected `url` and `query`"),
    "both to ask": (SERVER | {"port": 9100}, "expected `url` and `query`"),
    "a server without a query": (SERVER | {"query": ""}, "`url` goes with `query`"),
    "a page with a query": (PAGE | {"query": "up"}, "`port` goes with `metric`"),
    "no bound": ({"port": 1, "metric": "up"}, 'expected a bound, such as critical = "> 0.9"'),
    "a bound that is none": (SERVER | {"critical": "above 3"}, "pattern"),
    "a URL that is none": (SERVER | {"url": "prometheus:9090"}, "expected the URL of a server"),
    "a password in it": (SERVER | {"url": "http://me:it@prometheus"}, "without a password"),
    "a macro outside of quotes": (SERVER | {"query": "up{address}"}, '"{address}" stands outside of quotes'),
    "a macro in raw quotes": (SERVER | {"query": "up{a=`{address}`}"}, '"{address}" stands outside of quotes'),
    "an unknown macro": (SERVER | {"query": 'up{a="{adress}"}'}, '"{adress}" is not known'),
    "an open quote": (SERVER | {"query": 'up{a="{address}'}, 'a " is not closed'),
    "no metric": (PAGE | {"metric": "queue length"}, "expected a name, or a name with labels"),
    "a metric without its end": (PAGE | {"metric": 'a{b="c"'}, "expected a name, or a name with labels"),
    "two metrics": (PAGE | {"metric": 'a{b="c"} 1\nb{c="d"}'}, "expected a name, or a name with labels"),
}


@pytest.mark.parametrize("row", WRONG)
def test_a_mistake_is_told_at_the_start(row: str) -> None:
    """In a sentence."""
    options, sentence = WRONG[row]
    with pytest.raises(ValidationError) as caught:
        made(options)

    assert sentence in str(caught.value)
