"""The check `dns`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from supervisor.api import Check, CheckResult, Instance, Probe

if TYPE_CHECKING:
    from dns.message import Message
    from dns.rdata import Rdata

Type: TypeAlias = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]
Code: TypeAlias = Literal["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL", "NOTIMP", "FORMERR"]

HEADER = 12
RESPONSE, TRUNCATED = 0x80, 0x02


class DnsCheck(Check, kind="dns"):
    """Ask the instance, which is a name server, for a name, and compare what it answers.

    Over UDP, in one datagram without extensions; when the answer is too long for that, once more over TCP. No resolver is
    asked: the check says nothing of who else knows the name. A datagram with another number than the question's is passed over.

    ```toml
    [[fleet.web.check]]
    name = "resolves"
    kind = "dns"
    role = "liveness"
    domain = "www.example.org"
    expect = ["192.0.2.7"]
    ```
    """

    port: Annotated[int, Field(ge=1, le=65535)] = 53
    """The port at the instance's address."""
    domain: Annotated[str, Field(min_length=1, max_length=255)]
    """The name that is asked for; `7.2.0.192.in-addr.arpa` for a PTR."""
    type: Type = "A"
    """The type of the records that are asked for."""
    rcode: Code = "NOERROR"
    """What the server must say: NXDOMAIN where the name must not be there, REFUSED where it must not be told."""
    expect: tuple[str, ...] = ()
    """Records that must be among the answer's, as a zone file writes them: ["10 mail.example.org."]. With none, any will do."""
    recursion: bool = True
    """Whether the server is to ask others; false for one that must know by itself."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.expect and self.rcode != "NOERROR":
            raise ValueError(f"expected no records with {self.rcode}; take out `expect` or `rcode`")
        self._question()
        self._expected()
        return self

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        question = self._question()
        wire = question.to_wire()
        answer = await probe.udp.ask(instance.address, self.port, wire, accept=lambda data: _is_answer(data, wire))
        received, seconds = answer.received, answer.seconds
        if received[2] & TRUNCATED:
            framed = len(wire).to_bytes(2, "big") + wire
            whole = await probe.tcp.connect(instance.address, self.port, send=framed, prefix=2)
            received, seconds = whole.received, seconds + whole.seconds
            if not _is_answer(received, wire):
                return CheckResult.critical("broken answer (over TCP, to another question)", seconds=seconds)
        return self._judged(question, received, seconds)

    def _judged(self, question: Message, received: bytes, seconds: float) -> CheckResult:
        import dns.exception  # noqa: PLC0415  # for whoever has such a check
        import dns.message  # noqa: PLC0415  # as above
        import dns.rcode  # noqa: PLC0415  # as above

        try:
            answer = dns.message.from_wire(received)
        except (dns.exception.DNSException, ValueError):
            return CheckResult.critical("broken answer (not DNS)", seconds=seconds)
        if not isinstance(answer, dns.message.QueryMessage) or not question.is_response(answer):
            return CheckResult.critical("broken answer (to another question)", seconds=seconds)
        rcode = dns.rcode.to_text(answer.rcode())
        if rcode != self.rcode:
            return CheckResult.critical(f"{rcode}, expected {self.rcode}", seconds=seconds)
        try:
            found = list(answer.resolve_chaining().answer or ()) if rcode == "NOERROR" else []
        except dns.exception.DNSException:
            return CheckResult.critical("broken answer (the names lead nowhere)", seconds=seconds)
        return self._compared(found, rcode, seconds)

    def _compared(self, found: list[Rdata], rcode: str, seconds: float) -> CheckResult:
        metrics = {"records": float(len(found))}
        told = ", ".join(sorted(record.to_text() for record in found))
        if rcode != "NOERROR":
            return CheckResult.ok(rcode, seconds=seconds, metrics=metrics)
        missing = [text for text, record in self._expected() if record not in found]
        if missing or not found:
            lacks = f", expected {', '.join(missing)}" if missing else ""
            return CheckResult.critical(f"{told or f'no {self.type} record'}{lacks}", seconds=seconds, metrics=metrics)
        return CheckResult.ok(told, seconds=seconds, metrics=metrics)

    def _question(self) -> Message:
        """Return the question, under a number that nobody can foretell. Raises `ValueError`."""
        import dns.exception  # noqa: PLC0415  # as above
        import dns.flags  # noqa: PLC0415  # as above
        import dns.message  # noqa: PLC0415  # as above

        try:
            flags = dns.flags.RD if self.recursion else 0
            return dns.message.make_query(self.domain, self.type, flags=flags)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise ValueError(f'"{self.domain}" is no name: {error}') from error

    def _expected(self) -> list[tuple[str, Rdata]]:
        """Return the records that must be there, each with its text. Raises `ValueError`."""
        import dns.exception  # noqa: PLC0415  # as above
        import dns.name  # noqa: PLC0415  # as above
        import dns.rdata  # noqa: PLC0415  # as above

        try:
            return [
                (text, dns.rdata.from_text("IN", self.type, text, origin=dns.name.root, relativize=False))
                for text in self.expect
            ]
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"expected {self.type} records as a zone file writes them: {error}") from error


def _is_answer(data: bytes, question: bytes) -> bool:
    """Return whether it is an answer to this question, as far as its first bytes tell: its number, and that it is one."""
    return len(data) >= HEADER and data[:2] == question[:2] and bool(data[2] & RESPONSE)
