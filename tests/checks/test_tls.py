"""The check `tls`: what it makes of a certificate, from a script. What real servers show is in tests/runtime."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.api import CheckResult, NoAnswer, Refusal, Status, TlsAnswer, Unrunnable
from supervisor.plugins import discover
from supervisor.testing import FakeProbe, TlsRequest, instance, run, tls_answer
from tests.runtime.nasty import Authority

CHECK = discover().checks["tls"].cls


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def der(file: Path) -> bytes:
    """Return the first certificate of a file."""
    return ssl.PEM_cert_to_DER_cert("-----BEGIN CERT" + file.read_text().split("-----BEGIN CERT")[1])


NAMES: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "its own": (("www.example.org",), "www.example.org", True),
    "one of several": (("example.org", "www.example.org"), "www.example.org", True),
    "another case": (("WWW.example.org",), "www.EXAMPLE.org", True),
    "a final dot": (("www.example.org",), "www.example.org.", True),
    "any first label": (("*.example.org",), "www.example.org", True),
    "no first label": (("*.example.org",), "example.org", False),
    "two labels for one": (("*.example.org",), "a.b.example.org", False),
    "part of a label": (("w*.example.org",), "www.example.org", False),
    "every name": (("*",), "example", False),
    "another": (("www.example.com",), "www.example.org", False),
    "an address": (("192.0.2.7",), "192.0.2.7", True),
    "an address in other words": (("2001:db8::7",), "2001:DB8:0::7", True),
    "another address": (("192.0.2.7",), "192.0.2.8", False),
}


@pytest.mark.parametrize("row", NAMES)
def test_names_are_compared_as_browsers_do(authority: Authority, row: str) -> None:
    """By label; what stands in the subject is not a name."""
    names, asked, covered = NAMES[row]
    shown = der(authority.certificate(*names, days=50))
    result = run(CHECK.model_validate({"server_name": asked}), instance(), FakeProbe(tls=[tls_answer(shown)]))

    assert covered == (result.status is Status.OK), result.text
    assert covered or f"not for {asked}" in result.text


SPANS: dict[str, tuple[float, str]] = {
    "days": (40.5, "is good for 40 days, until"),
    "one day": (1.5, "expires in 1 day, on"),
    "hours": (0.2, "expires in 4 hours, on"),
    "minutes": (0.002, "expires in 2 minutes, on"),
    "over": (-0.0001, "expired less than a minute ago, on"),
}


@pytest.mark.parametrize("row", SPANS)
def test_a_span_is_told_in_its_own_unit(authority: Authority, row: str) -> None:
    """Rounded down: nobody is promised a day that is not there."""
    days, text = SPANS[row]
    result = run(CHECK(), instance(), FakeProbe(tls=[tls_answer(der(authority.certificate(days=days)))]))

    assert text in result.text


def test_an_old_one_that_is_shown_besides_is_nobody_s_business(authority: Authority) -> None:
    """The chain is trusted without it."""
    shown = [der(authority.certificate(days=days)) for days in (50, -1)]

    assert Status.OK is run(CHECK(), instance(), FakeProbe(tls=[tls_answer(*shown)])).status


UNTRUSTED: dict[str, tuple[float, str, Status, str]] = {
    "over, which is said once": (-1.5, "certificate has expired", Status.CRITICAL, "expired 1 day ago, on DATE"),
    "over, and worse": (-1.5, "self-signed certificate", Status.CRITICAL, "expired 1 day ago, on DATE; the chain is not trusted: self-signed certificate"),
    "soon over, and another one is": (10.5, "certificate has expired", Status.CRITICAL, "expires in 10 days, on DATE; the chain is not trusted: certificate has expired"),
    "another one is over": (50.5, "certificate has expired", Status.CRITICAL, "the chain is not trusted: certificate has expired"),
}  # fmt: skip


@pytest.mark.parametrize("row", UNTRUSTED)
def test_why_a_chain_is_not_trusted_is_told_beside_the_dates(authority: Authority, row: str) -> None:
    """But not the same twice."""
    days, why, status, text = UNTRUSTED[row]
    shown = der(authority.certificate(days=days))
    result = run(CHECK(), instance(), FakeProbe(tls=[tls_answer(shown, untrusted=why)]))
    told = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE", result.text)

    assert status is result.status
    assert told.removeprefix("TLS 1.3: ").removeprefix("the certificate ") == text


def test_not_every_name_is_told(authority: Authority) -> None:
    """There may be thousands."""
    shown = der(authority.certificate(*(f"{letter}.example" for letter in "abcdefg"), days=50))
    result = run(CHECK.model_validate({"server_name": "x.example"}), instance(), FakeProbe(tls=[tls_answer(shown)]))
    text = "a.example, b.example, c.example, d.example, e.example and 2 more, not for x.example"

    assert f"TLS 1.3: the certificate is for {text}" == result.text


OUTCOMES: dict[str, tuple[TlsAnswer | Refusal | NoAnswer | Unrunnable, CheckResult]] = {
    "no certificate": (tls_answer(), CheckResult.critical("no certificate was shown", seconds=0.01)),
    "a refusal": (Refusal("connection refused"), CheckResult.critical("connection refused")),
    "silence": (NoAnswer("no route to host"), CheckResult.no_answer("no answer: no route to host")),
    "no authorities": (Unrunnable("/ca can't be read"), CheckResult.unknown("/ca can't be read")),
}


@pytest.mark.parametrize("row", OUTCOMES)
def test_without_a_certificate_there_is_nothing_to_judge(row: str) -> None:
    """And each way of having none is its own."""
    answer, expected = OUTCOMES[row]

    assert expected == run(CHECK(), instance(), FakeProbe(tls=[answer]))


def test_a_certificate_that_nobody_can_read_condemns_nobody() -> None:
    """Perhaps it is our reader."""
    result = run(CHECK(), instance(), FakeProbe(tls=[tls_answer(b"0\x82")]))

    assert Status.UNKNOWN is result.status


def test_it_asks_as_it_was_told_to() -> None:
    """Port, name, authorities, protocol."""
    options = {"port": 8443, "server_name": "a.example", "ca_file": "/etc/ca.pem", "least": "1.3"}
    probe = FakeProbe(tls=[tls_answer()] * 2)
    run(CHECK.model_validate(options), instance("2001:db8::7"), probe)
    run(CHECK.model_validate({"verify": False}), instance(), probe)

    assert [
        TlsRequest("2001:db8::7", 8443, "a.example", verify=True, ca_file="/etc/ca.pem", least="1.3"),
        TlsRequest("192.0.2.1", 443, "", verify=False, ca_file="", least="1.2"),
    ] == probe.tls.asked


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a relative path": ({"ca_file": "ca.pem"}, "ca_file"),
    "limits the wrong way round": ({"warn": "7d", "critical": "21d"}, "swap them"),
    "authorities for nothing": ({"ca_file": "/ca.pem", "verify": False}, "take one of them out"),
    "an old protocol": ({"least": "1.1"}, "least"),
    "a name with a space": ({"server_name": "a b"}, "server_name"),
    "a name without its beginning": ({"server_name": ".example.org"}, "server_name"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    """At the start."""
    options, text = MISTAKES[name]
    with pytest.raises(ValidationError) as caught:
        CHECK.model_validate(options)

    assert text in str(caught.value)
