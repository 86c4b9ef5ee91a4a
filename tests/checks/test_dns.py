"""The check `dns`: what it makes of a name server's answers, from a script."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from pydantic import ValidationError

from supervisor.api import CheckResult, NoAnswer, Refusal, Status
from supervisor.plugins import discover
from supervisor.testing import FakeProbe, Reply, instance, run

CHECK = discover().checks["dns"].cls
NAME = "www.example.org"


def answering(*records: tuple[str, str, str], rcode: str = "NOERROR", truncated: bool = False) -> Reply:
    """Return a server that answers with these records, each a name, a type and a text."""

    def reply(asked: bytes) -> bytes:
        framed = asked[:2] == (len(asked) - 2).to_bytes(2, "big")
        answer = dns.message.make_response(dns.message.from_wire(asked[2:] if framed else asked))
        answer.set_rcode(dns.rcode.from_text(rcode))
        answer.flags |= dns.flags.TC if truncated else 0
        for name, kind, text in records:
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, text))
        return answer.to_wire()

    return reply


def unasked(asked: bytes) -> bytes:
    """Answer the very next question instead of this one."""
    answer = answering((NAME, "A", "192.0.2.66"))(asked)
    return ((int.from_bytes(answer[:2], "big") + 1) % 65536).to_bytes(2, "big") + answer[2:]


A, B = (NAME, "A", "192.0.2.7"), (NAME, "A", "192.0.2.8")
GOOD = answering(A, B)

ROWS: dict[str, tuple[dict[str, Any], Reply | Refusal | NoAnswer, Status, str]] = {
    "any record": ({}, GOOD, Status.OK, "192.0.2.7, 192.0.2.8"),
    "a record among others": ({"expect": ["192.0.2.8"]}, GOOD, Status.OK, "192.0.2.7, 192.0.2.8"),
    "one that is missing": ({"expect": ["192.0.2.8", "192.0.2.9"]}, GOOD, Status.CRITICAL, "192.0.2.7, 192.0.2.8, expected 192.0.2.9"),
    "none at all": ({}, answering(), Status.CRITICAL, "no A record"),
    "none at all, and one was expected": ({"expect": ["192.0.2.9"]}, answering(), Status.CRITICAL, "no A record, expected 192.0.2.9"),
    "by another name": ({}, answering((NAME, "CNAME", "web.example.org."), ("web.example.org", "A", "192.0.2.7")), Status.OK, "192.0.2.7"),
    "of a name that nobody asked for": ({}, answering(("other.example.org", "A", "192.0.2.7")), Status.CRITICAL, "no A record"),
    "by names in a circle": ({}, answering((NAME, "CNAME", "a.example."), ("a.example", "CNAME", f"{NAME}.")), Status.CRITICAL, "broken answer (the names lead nowhere)"),
    "the other name itself": ({"type": "CNAME"}, answering((NAME, "CNAME", "web.example.org.")), Status.OK, "web.example.org."),
    "of another type": ({"type": "AAAA"}, GOOD, Status.CRITICAL, "no AAAA record"),
    "in other words": ({"type": "AAAA", "expect": ["2001:DB8:0::7"]}, answering((NAME, "AAAA", "2001:db8::7")), Status.OK, "2001:db8::7"),
    "a name's case": ({"type": "MX", "expect": ["10 MAIL.example.org."]}, answering((NAME, "MX", "10 mail.example.org.")), Status.OK, "10 mail.example.org."),
    "a text": ({"type": "TXT", "expect": ['"v=spf1 -all"']}, answering((NAME, "TXT", '"v=spf1 -all"')), Status.OK, '"v=spf1 -all"'),
    "no such name": ({}, answering(rcode="NXDOMAIN"), Status.CRITICAL, "NXDOMAIN, expected NOERROR"),
    "no such name, as it should be": ({"rcode": "NXDOMAIN"}, answering(rcode="NXDOMAIN"), Status.OK, "NXDOMAIN"),
    "a name that should not be": ({"rcode": "NXDOMAIN"}, GOOD, Status.CRITICAL, "NOERROR, expected NXDOMAIN"),
    "a refused one": ({}, answering(rcode="REFUSED"), Status.CRITICAL, "REFUSED, expected NOERROR"),
    "a closed port": ({}, Refusal("connection refused"), Status.CRITICAL, "connection refused"),
    "silence": ({}, NoAnswer("no route to host"), Status.CRITICAL, "no answer: no route to host"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_an_answer_is_judged(row: str) -> None:
    """Code first; then the records, by what they are and not by how they are written."""
    options, reply, status, text = ROWS[row]
    result = run(CHECK.model_validate({"domain": NAME, **options}), instance(), FakeProbe(udp=[reply]))

    assert (status, text) == (result.status, result.text)


def test_what_nobody_asked_for_is_passed_over() -> None:
    """Another number, something short, and the question itself."""
    probe = FakeProbe(udp=[unasked, lambda asked: asked[:5], lambda asked: asked, GOOD])
    result = run(CHECK.model_validate({"domain": NAME}), instance(), probe)

    assert CheckResult.ok("192.0.2.7, 192.0.2.8", seconds=0.01, metrics={"records": 2.0}) == result


def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    """With the same question, behind its length."""
    probe = FakeProbe(udp=[answering(A, truncated=True)], tcp=[GOOD])
    result = run(CHECK.model_validate({"domain": NAME}), instance(), probe)

    assert (Status.OK, "192.0.2.7, 192.0.2.8", 0.02) == (result.status, result.text, result.seconds)
    asked, again = probe.udp.asked[0], probe.tcp.asked[0]
    assert (53, 2, asked.payload) == (again.port, again.prefix, again.send[2:])


def test_over_tcp_another_number_is_a_bad_answer() -> None:
    """Nobody else could have sent it."""
    probe = FakeProbe(udp=[answering(truncated=True)], tcp=[lambda asked: unasked(asked[2:])])
    result = run(CHECK.model_validate({"domain": NAME}), instance(), probe)

    assert (Status.CRITICAL, "broken answer (over TCP, to another question)") == (result.status, result.text)


def test_each_question_has_a_number_of_its_own() -> None:
    """That nobody can foretell; and says whether others are to be asked."""
    check, local = (CHECK.model_validate({"domain": NAME, "recursion": recursion}) for recursion in (True, False))
    probe = FakeProbe(udp=[GOOD] * 21)
    for _ in range(20):
        run(check, instance(), probe)
    run(local, instance(), probe)
    asked = [dns.message.from_wire(request.payload) for request in probe.udp.asked]

    assert len({message.id for message in asked}) > 15
    assert [True] * 20 + [False] == [bool(message.flags & dns.flags.RD) for message in asked]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({}, "domain"),
    "a name that is none": ({"domain": "a..b"}, '"a..b" is no name'),
    "a label that is too long": ({"domain": "a" * 64}, "is no name"),
    "an address that is none": ({"domain": NAME, "expect": ["192.0.2.256"]}, "expected A records as a zone file writes them"),
    "a record of another type": ({"domain": NAME, "type": "MX", "expect": ["mail"]}, "expected MX records as a zone file"),
    "records of a name that is not there": ({"domain": NAME, "rcode": "NXDOMAIN", "expect": ["192.0.2.7"]}, "expected no records with NXDOMAIN"),
    "a type that is none": ({"domain": NAME, "type": "ANY"}, "type"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_what_nobody_could_answer_is_refused(name: str) -> None:
    """At the start, not at three in the morning."""
    options, text = MISTAKES[name]
    with pytest.raises(ValidationError) as caught:
        CHECK.model_validate(options)

    assert text in str(caught.value)
