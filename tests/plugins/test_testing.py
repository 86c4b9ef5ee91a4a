"""`supervisor.testing`: what the author of a check relies on is what production does."""

from __future__ import annotations

import asyncio
import time

import pytest

from supervisor.api import Check, CheckResult, HttpAnswer, Instance, NoAnswer, Probe, Refusal, Status
from supervisor.testing import FakeProbe, HttpRequest, TcpRequest, http_answer, instance, run, tcp_answer


class Page(Check, kind="page"):
    """Two questions over HTTP."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask twice."""
        first = await probe.http.get(f"http://{instance.url_host}/one", headers={"X": "1"})
        second = await probe.http.get(f"http://{instance.url_host}/two", method="HEAD", verify=False)
        return CheckResult.ok(f"{first.status} {second.status}")


class Port(Check, kind="port"):
    """One question over TCP."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        answer = await probe.tcp.connect(instance.address, 7, send=b"PING", until=b"\n")
        return CheckResult.ok(answer.received.decode())


class Slow(Check, kind="slow"):
    """A check that never comes to an end."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Wait for ever."""
        await asyncio.Event().wait()
        return CheckResult.ok()


RULES: dict[str, tuple[Check, list[HttpAnswer | Refusal | NoAnswer], tuple[Status, bool, str]]] = {
    "an answer is what the check makes of it": (Page(), [http_answer(200), http_answer(204)], (Status.OK, False, "200 204")),
    "a refusal is an answer, and a bad one": (Page(), [Refusal("connection refused")], (Status.CRITICAL, False, "connection refused")),
    "silence is critical, and silent": (Page(), [NoAnswer("timed out")], (Status.CRITICAL, True, "no answer: timed out")),
    "a slow check is silence": (Slow(), [], (Status.CRITICAL, True, "no answer within 50ms")),
}  # fmt: skip


@pytest.mark.parametrize("row", RULES)
def test_the_rules_are_those_of_production(row: str) -> None:
    """Status, silence and text, as Sickbay would note them."""
    check, script, expected = RULES[row]
    result = run(check, instance(), FakeProbe(http=script), timeout=0.05)

    assert expected == (result.status, result.silent, result.text)


class Patient(Check, kind="patient"):
    """A check that asks again, a second later, until it is answered well."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask up to five times."""
        for _ in range(5):
            answer = await probe.http.get(f"http://{instance.url_host}/")
            if answer.status == 200:
                return CheckResult.ok("well")
            await asyncio.sleep(1.0)
        return CheckResult.critical("never well")


WAITS: dict[str, tuple[list[HttpAnswer | Refusal | NoAnswer], float, tuple[Status, bool, list[float]]]] = {
    "it is well the third time": (
        [http_answer(503), http_answer(503, seconds=0.5), http_answer(200)], 3.0, (Status.OK, False, [0.0, 1.01, 2.51]),
    ),
    "its time is over before": ([http_answer(503)] * 5, 3.0, (Status.CRITICAL, True, [0.0, 1.01, 2.02])),
    "its time is an hour": ([http_answer(503, seconds=600)] * 5, 3600.0, (Status.CRITICAL, False, [0.0, 601, 1202, 1803, 2404])),
    "an answer that takes too long is silence": ([http_answer(200, seconds=3.1)], 3.0, (Status.CRITICAL, True, [0.0])),
}  # fmt: skip


@pytest.mark.parametrize("row", WAITS)
def test_what_a_check_waits_for_is_virtual_and_exact(row: str) -> None:
    """An hour of retries costs nothing, and each question is told with its time."""
    script, timeout, (status, silent, asked) = WAITS[row]
    probe = FakeProbe(http=script)
    begun = time.monotonic()
    result = run(Patient(), instance(), probe, timeout=timeout)

    assert (status, silent) == (result.status, result.silent)
    assert asked == pytest.approx([request.at for request in probe.http.asked])
    assert time.monotonic() - begun < 1.0


class Threaded(Check, kind="threaded"):
    """A check with a library that blocks, in a thread."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Wait for the thread."""
        return CheckResult.ok(await asyncio.to_thread(lambda: "from a thread"))


def test_a_check_with_a_thread_is_told_to_ask_for_real_time() -> None:
    """Virtual time would be over before the thread has begun."""
    virtual = run(Threaded(), instance(), FakeProbe())
    real = run(Threaded(), instance(), FakeProbe(), real_time=True)

    assert Status.UNKNOWN is virtual.status
    assert "test this check with run(…, real_time=True)" in virtual.text
    assert "from a thread" == real.text


def test_a_check_that_fails_itself_is_unknown() -> None:
    """Which condemns nobody: here, an answer that is no text."""
    result = run(Port(), instance(), FakeProbe(tcp=[tcp_answer(b"\xff")]))

    assert Status.UNKNOWN is result.status
    assert "the check itself failed: UnicodeDecodeError" in result.text


def test_what_was_asked_can_be_looked_at() -> None:
    """Each question as it left the check."""
    probe = FakeProbe(http=[http_answer(), http_answer()], tcp=[tcp_answer("PONG\n")])
    run(Page(), instance("2001:db8::1"), probe)
    answer = run(Port(), instance("192.0.2.9"), probe)

    assert [
        HttpRequest("GET", "http://[2001:db8::1]/one", {"X": "1"}, verify=True),
        HttpRequest("HEAD", "http://[2001:db8::1]/two", {}, verify=False),
    ] == probe.http.asked
    assert [TcpRequest("192.0.2.9", 7, b"PING", b"\n")] == probe.tcp.asked
    assert "PONG" == answer.text


def test_a_question_too_many_fails_the_test_loudly() -> None:
    """As UNKNOWN it could go unnoticed."""
    with pytest.raises(AssertionError, match="asked over HTTP 2 times, but the probe has 1 answers; give FakeProbe"):
        run(Page(), instance(), FakeProbe(http=[http_answer()]))


def test_the_fake_is_as_strict_as_the_real_probe() -> None:
    """A link-local address is refused, and a body is cut at 64 KiB."""
    result = run(Page(), instance("169.254.169.254"), FakeProbe(http=[http_answer(), http_answer()]))

    assert Status.UNKNOWN is result.status
    assert "no address of a machine" in result.text
    assert 65536 == len(http_answer(body="x" * 100_000).body) == len(tcp_answer(b"x" * 100_000).received)
