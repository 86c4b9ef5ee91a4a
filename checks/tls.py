"""The check `tls`."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias

from pydantic import Field, model_validator

from supervisor.api import Check, CheckResult, Duration, Instance, Probe, Status, TlsAnswer, TlsVersion

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SEVERITY = (Status.OK, Status.WARNING, Status.CRITICAL)
DAY = timedelta(days=1)
MOST_NAMES = 5
OUT_OF_TIME = frozenset({"certificate has expired", "certificate is not yet valid"})
NO_ISSUER = frozenset({"unable to get local issuer certificate", "unable to verify the first certificate"})

Fault: TypeAlias = tuple[Status, str]


class TlsCheck(Check, kind="tls"):
    """Shake hands, and look at the certificate: its dates, its name, and whether its chain is trusted.

    Nothing is said over the connection: over TLS 1.3, a server that wants a certificate of ours is fine. All that is wrong
    is told at once. Whoever shows a bad certificate still serves, and a replacement from the same image may show the same
    one: give this check the role `advisory`, and let `http` or `tcp` condemn.

    ```toml
    [[fleet.web.check]]
    name = "certificate"
    kind = "tls"
    role = "advisory"
    server_name = "www.example.org"
    interval = "1h"
    ```
    """

    port: Annotated[int, Field(ge=1, le=65535)] = 443
    """The port at the instance's address."""
    server_name: Annotated[str, Field(pattern=r"^([0-9A-Za-z_:-][0-9A-Za-z._:-]*)?$", max_length=253)] = ""
    """The name or IP address that the certificate must be for; a name is told the server (SNI). "" compares none."""
    warn: Duration = timedelta(days=21)
    """The certificate is a WARNING from so long before its end on; so is another one that is shown with it."""
    critical: Duration = timedelta(days=7)
    """And CRITICAL from so long before its end on."""
    verify: bool = True
    """Whether the chain must be trusted, with each certificate of it valid now."""
    ca_file: Annotated[str, Field(pattern=r"^(/[^\x00]*)?$")] = ""
    """The absolute path of a file, in PEM, with the only authorities that are trusted; "" for the system's."""
    least: TlsVersion = "1.2"
    """The oldest protocol that will do."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.critical > self.warn:
            raise ValueError("expected `critical` to be no longer than `warn`; swap them")
        if self.ca_file and not self.verify:
            raise ValueError("`ca_file` says whom to trust, but `verify` is false; take one of them out")
        return self

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        answer = await probe.tls.handshake(
            instance.address,
            self.port,
            server_name=self.server_name,
            verify=self.verify,
            ca_file=self.ca_file,
            least=self.least,
        )
        return self._judged(answer, datetime.now(UTC))

    def _judged(self, answer: TlsAnswer, now: datetime) -> CheckResult:
        from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415  # megabytes, for whoever has such a check

        if not answer.certificates:
            return CheckResult.critical("no certificate was shown", seconds=answer.seconds)
        own, *others = [load_der_x509_certificate(one) for one in answer.certificates]
        faults = [
            *self._dated(own, now),
            *self._named(own),
            *_untrusted(answer.untrusted, own, others, now),
            *self._others_dated(others, now),
        ]
        left = own.not_valid_after_utc - now
        status = max((fault for fault, _ in faults), key=SEVERITY.index, default=Status.OK)
        text = "; ".join(text for _, text in faults) or f"the certificate is good for {_span(left)}, until {_date(own)}"
        return CheckResult(
            status, f"TLS {answer.version}: {text}", answer.seconds, metrics={"expires_in": left.total_seconds()}
        )

    def _dated(self, own: Certificate, now: datetime) -> list[Fault]:
        begin, left = own.not_valid_before_utc, own.not_valid_after_utc - now
        if begin > now:
            wait = f"the certificate is not valid for another {_span(begin - now)}, until {begin:%F %R} UTC"
            return [(Status.CRITICAL, wait)]
        if left <= timedelta():
            return [(Status.CRITICAL, f"the certificate expired {_span(-left)} ago, on {_date(own)}")]
        if left <= self.warn:
            status = Status.CRITICAL if left <= self.critical else Status.WARNING
            return [(status, f"the certificate expires in {_span(left)}, on {_date(own)}")]
        return []

    def _named(self, own: Certificate) -> list[Fault]:
        if not self.server_name:
            return []
        names = _names(own)
        if any(_covers(name, self.server_name) for name in names):
            return []
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        told = ", ".join(names[:MOST_NAMES]) or "no name"
        return [(Status.CRITICAL, f"the certificate is for {told}{more}, not for {self.server_name}")]

    def _others_dated(self, others: list[Certificate], now: datetime) -> list[Fault]:
        """Tell of those that end soon. One that has ended is none of ours: if it mattered, the chain would not be trusted."""
        found = []
        for other in others:
            left = other.not_valid_after_utc - now
            if timedelta() < left <= self.warn:
                who = other.subject.rfc4514_string()
                found.append((Status.WARNING, f"{who}, shown with it, expires in {_span(left)}, on {_date(other)}"))
        return found


def _untrusted(why: str, own: Certificate, others: list[Certificate], now: datetime) -> list[Fault]:
    """Tell that the chain is not trusted, unless that says of the certificate's dates what was said already."""
    out = not own.not_valid_before_utc <= now < own.not_valid_after_utc
    if not why or (out and why in OUT_OF_TIME):
        return []
    missing = why in NO_ISSUER and own.issuer not in [other.subject for other in others]
    lacks = f"; who signed it, {own.issuer.rfc4514_string()}, is neither known nor shown" if missing else ""
    return [(Status.CRITICAL, f"the chain is not trusted: {why}{lacks}")]


def _names(certificate: Certificate) -> list[str]:
    """Return the names and addresses that it is for. What stands in its subject has not counted for long."""
    from cryptography import x509  # noqa: PLC0415  # as above

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _covers(pattern: str, name: str) -> bool:
    """Return whether a name of a certificate stands for this one: `*` as its first label stands for any one label."""
    try:
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(name)
    except ValueError:
        pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
        first, _, rest = name.partition(".")
        return pattern == name or bool(first and rest and pattern == f"*.{rest}")


def _date(certificate: Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%F %R} UTC"


def _span(span: timedelta) -> str:
    for unit, name in ((DAY, "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if count := span // unit:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "less than a minute"
