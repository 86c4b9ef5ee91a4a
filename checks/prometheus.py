"""Compare one number with a bound: what a Prometheus server answers to a query, or what the instance itself exposes."""

import json
import operator
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from math import isnan
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from pydantic import Field, field_validator, model_validator

from supervisor.api import LARGEST_BODY, Check, CheckResult, Duration, HttpAnswer, Instance, NoAnswer, Probe, Refusal

MACROS = ("address", "id", "fleet", "zone", "image", "version")
MOST_SERIES = 1000
MOST_BYTES = 64 * 1024
"""Samples of one name that are looked through on an instance's own page, and all their bytes: the parser is slow enough
that whoever wrote the page could hold the prober for seconds."""

NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
BOUND = rf"^(?:>=|<=|==|!=|>|<) *{NUMBER}$"
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

Bound = Annotated[str, Field(pattern=BOUND)]
Bounds = Annotated[tuple[Bound, ...], Field(json_schema_extra={"examples": ["> 0.9"]})]
Port = Annotated[int, Field(ge=1, le=65535)]

_TOKEN = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`|#[^\n]*|[^"'`#]+|.""", re.DOTALL)
_MACRO = re.compile(r"\{([A-Za-z_]+)\}")
_PLAIN = re.compile(r"[^0-9A-Za-z _:./@%,-]")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_SELECTOR = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{.*\})?")


class Unclear(Exception):
    """There is no number to judge by; the text says why."""


class PrometheusCheck(Check, kind="prometheus"):
    """One number against a bound: of a query that a Prometheus server answers, or of the instance's own `/metrics`.

    With `url` and `query` a server is asked about the instance. Whatever goes wrong with that server is UNKNOWN, and so is a
    query that finds no sample, NaN, or several samples: aggregate them. Each instance costs the server a query on each
    run, which is well for some hundreds of instances; beyond that, let Prometheus alert and take the check
    `alertmanager`.

    With `port` and `metric` the instance itself is scraped: silence, a refusal and an HTTP status other than 200 are
    CRITICAL as with `http`; a page without that metric is UNKNOWN.

    ```toml
    [[fleet.web.check]]
    name = "queue"
    kind = "prometheus"
    role = "advisory"
    port = 9100
    metric = "jobs_waiting"
    critical = "> 1000"
    ```
    """

    critical: Bounds = ()
    """When the value is CRITICAL: "> 0.9", or several of which one suffices: ["< 1", "> 5"]. >, >=, <, <=, == or !=."""
    warning: Bounds = ()
    """When it is a WARNING, which condemns nobody; written in the same way."""
    url: str = ""
    """The server, such as "http://prometheus.example.org:9090"; with `query`."""
    query: Annotated[str, Field(max_length=4096)] = ""
    """What to ask it, in PromQL. In quotes, `{address}`, `{id}`, `{fleet}`, `{zone}`, `{image}` and `{version}` stand for
    the instance's, escaped."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with the request to the server or to the instance. No secrets: this file may be read by many."""
    verify: bool = True
    """Whether an https certificate must be good."""
    port: Port | None = None
    """The port at the instance's address that is scraped; with `metric`."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] = "/metrics"
    """The page that is scraped: its first 1 MiB count."""
    metric: Annotated[str, Field(max_length=1024)] = ""
    """Which sample of it: a name, and labels where the name has several: 'queue_length{queue="mail"}'."""
    label: Annotated[str, Field(pattern=r"^(?:[A-Za-z_][A-Za-z0-9_]{0,62})?$")] = ""
    """What the number is called in texts and plots, its unit last: "error_ratio", "queue_age_seconds". Without it, the
    metric's name, or "value"."""
    max_age: Duration = timedelta(minutes=5)
    """A sample that is older says nothing."""

    @field_validator("critical", "warning", mode="before", json_schema_input_type=Bound | tuple[Bound, ...])
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _is_a_server(cls, url: str) -> str:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError('expected the URL of a server, such as "http://prometheus.example.org:9090"')
        if parts.username is not None or parts.password is not None:
            raise ValueError("expected a URL without a password: this file may be read by many")
        return url.rstrip("/")

    @field_validator("query")
    @classmethod
    def _quotes_its_macros(cls, query: str) -> str:
        for _ in _pieces(query):
            pass
        return query

    @field_validator("metric")
    @classmethod
    def _is_one_sample(cls, metric: str) -> str:
        if metric:
            _selector(metric)
        return metric

    @model_validator(mode="after")
    def _one_way(self) -> "PrometheusCheck":
        if bool(self.url) == (self.port is not None):
            raise ValueError("expected `url` and `query` to ask a server, or `port` and `metric` to ask the instance")
        wanted, other = ("query", "metric") if self.url else ("metric", "query")
        if not getattr(self, wanted) or getattr(self, other):
            raise ValueError(f"`{'url' if self.url else 'port'}` goes with `{wanted}`, and not with `{other}`")
        if not self.critical and not self.warning:
            raise ValueError('expected a bound, such as critical = "> 0.9"')
        return self

    @property
    def elsewhere(self) -> bool:
        """A server's trouble is not the instance's."""
        return bool(self.url)

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        try:
            if self.url:
                value, seconds = _answered(await self._asked(instance, probe)), None
            else:
                answer = await self._scraped(instance, probe)
                if answer.status != 200:
                    return CheckResult.critical(f"HTTP {answer.status}, expected 200", seconds=answer.seconds)
                value, seconds = _found(answer.body, self.metric), answer.seconds
            return self._judged(_fresh(*value, self.max_age.total_seconds()), seconds)
        except Unclear as why:
            return CheckResult.unknown(str(why))

    async def _asked(self, instance: Instance, probe: Probe) -> HttpAnswer:
        age = f"{self.max_age.total_seconds():g}s"
        asked = urlencode({"query": expanded(self.query, instance), "lookback_delta": age})
        try:
            return await probe.http.get(f"{self.url}/api/v1/query?{asked}", headers=self.headers, verify=self.verify)
        except (Refusal, NoAnswer, OSError) as error:
            raise Unclear(f"Prometheus can't be asked: {error}") from error

    async def _scraped(self, instance: Instance, probe: Probe) -> HttpAnswer:
        return await probe.http.get(
            f"http://{instance.url_host}:{self.port}{self.path}", headers=self.headers, most=LARGEST_BODY
        )

    def _judged(self, value: float, seconds: float | None) -> CheckResult:
        label = self.label or self.metric.partition("{")[0] or "value"
        metrics = {label: value}
        if bound := _beyond(value, self.critical):
            return CheckResult.critical(f"{label} is {value:g}, which is {bound}", seconds=seconds, metrics=metrics)
        if bound := _beyond(value, self.warning):
            return CheckResult.warning(f"{label} is {value:g}, which is {bound}", seconds=seconds, metrics=metrics)
        return CheckResult.ok(f"{label} is {value:g}", seconds=seconds, metrics=metrics)


def _beyond(value: float, bounds: tuple[str, ...]) -> str:
    """Return the first bound that holds, "" for none."""
    for bound in bounds:
        sign = bound.rstrip("0123456789.eE+- ")
        if COMPARE[sign](value, float(bound.removeprefix(sign))):
            return bound
    return ""


# -- the query: PromQL, in which macros are always text


def expanded(query: str, instance: Instance) -> str:
    """Return the query for an instance: what it is called can't end a quote, and in a regular expression is no pattern."""
    return "".join(
        _within(text, instance, pattern=pattern) if quoted else text for text, quoted, pattern in _pieces(query)
    )


def _within(text: str, instance: Instance, *, pattern: bool) -> str:
    def put(found: re.Match[str]) -> str:
        value = str(getattr(instance, found[1]))
        return _PLAIN.sub(_escape, _SPECIAL.sub(r"\\\g<0>", value) if pattern else value)

    return _MACRO.sub(put, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\U{ord(found[0]):08x}"


def _pieces(query: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield the query in pieces, with whether each is quoted, and whether it is a pattern. Raises `ValueError`."""
    before = ""
    for token in _TOKEN.findall(query):
        macros = _MACRO.findall(token)
        quoted = token[0] in "\"'"
        if token in ('"', "'", "`"):
            raise ValueError(f"a {token} is not closed")
        for name in macros if quoted else ():
            if name not in MACROS:
                known = ", ".join(f"{{{name}}}" for name in MACROS)
                raise ValueError(f'"{{{name}}}" is not known; expected one of {known}')
        if macros and not quoted and not token.startswith("#"):
            raise ValueError(f'"{{{macros[0]}}}" stands outside of quotes (` are none here); write it within " or \'')
        yield token, quoted, before.endswith(("=~", "!~"))
        before = token.rstrip() or before


def _answered(answer: HttpAnswer) -> tuple[float, float | None]:
    """Return the one value of a server's answer, and its time. Raises `Unclear`."""
    try:
        told = json.loads(answer.body)
        if told["status"] != "success":
            raise Unclear(f"Prometheus refuses the query: {told.get('error', told['status'])}")
        kind, found = told["data"]["resultType"], told["data"]["result"]
        if kind == "scalar":
            return float(found[1]), float(found[0])
        if kind != "vector":
            raise Unclear(f"the query returns a {kind}, expected one value now")
        if len(found) > 1:
            raise Unclear(f"the query finds {len(found)} samples, expected one: aggregate them, as with max(…)")
        if not found:
            raise Unclear("the query finds no sample")
        at, value = found[0]["value"]
        return float(value), float(at)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        large = ", as more than 64 KiB came: aggregate it" if len(answer.body) >= 64 * 1024 else ""
        raise Unclear(f"Prometheus' answer can't be read (HTTP {answer.status}){large}") from None


# -- the page of an instance


def _found(body: bytes, metric: str) -> tuple[float, float | None]:
    """Return the value of the one sample that is meant, and its time if it has one. Raises `Unclear`."""
    name, labels = _selector(metric)
    if len(body) >= LARGEST_BODY:
        body = body[: body.rfind(b"\n") + 1]
    lines = re.findall(rb"^%b(?=[{ \t]).*$" % name.encode(), body, re.MULTILINE)
    if len(lines) > MOST_SERIES or sum(map(len, lines)) > MOST_BYTES:
        raise Unclear(f"the page has {len(lines)} samples of {name}, expected {MOST_SERIES} and 64 KiB at most")
    try:
        samples = list(_parsed(b"\n".join(lines).decode()))
    except ValueError:
        raise Unclear(f"the page's samples of {name} can't be read") from None
    wanted = [sample for sample in samples if labels.items() <= sample.labels.items()]
    if len(wanted) > 1:
        raise Unclear(f"{len(wanted)} samples are {metric}, expected one: name more labels")
    if not wanted:
        raise Unclear(f"the page has no {metric}")
    return float(wanted[0].value), wanted[0].timestamp


def _selector(metric: str) -> tuple[str, Mapping[str, str]]:
    """Return a metric's name and the labels that it must have. Raises `ValueError`."""
    found = _SELECTOR.fullmatch(metric)
    samples = list(_parsed(f"{metric} 0")) if found else []
    if found is None or len(samples) != 1:
        raise ValueError("expected a name, or a name with labels: 'queue_length{queue=\"mail\"}'")
    return found[1], samples[0].labels


def _parsed(text: str) -> Iterator[Any]:  # Any: the client library's samples
    parser = import_module("prometheus_client.parser")  # late: most runs of the program have no use for it
    for family in parser.text_string_to_metric_families(text):
        yield from family.samples


def _fresh(value: float, at: float | None, max_age: float) -> float:
    if isnan(value):
        raise Unclear("the value is NaN")
    if at is not None and (age := time.time() - at) > max_age:
        raise Unclear(f"the sample is {age:.0f} s old, expected {max_age:g} s at most")
    return value
