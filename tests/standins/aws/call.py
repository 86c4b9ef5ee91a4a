"""One call to the stand-in as it was understood, and the error that AWS would answer it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

Json = dict[str, Any]  # Any: a request or an answer in boto3's own shape

ADMIN = "AKIASTANDINADMIN0000"
DAEMON = "AKIASTANDINDAEMON000"
SIGNED_AS = {"ec2": "ec2", "elasticloadbalancing": "elbv2", "autoscaling": "autoscaling"}
READS = ("Describe", "Get", "List", "Search", "Lookup")
TAKEN_BACK = {"InsufficientInstanceCapacity", "InsufficientHostCapacity", "UnfulfillableCapacity", "InternalError"}
"""Codes that AWS sends with HTTP 500, although the first three of them are a definite no."""


@dataclass(slots=True)
class Call:
    """An action and its parameters, in boto3's shape. `has_effect` is False where AWS says yes but changes nothing."""

    service: str
    action: str
    region: str
    key: str
    params: Json
    has_effect: bool = True

    @property
    def is_daemons(self) -> bool:
        """Made by the program under test: only its calls meet faults, limits, policies and kills."""
        return self.key != ADMIN

    @property
    def is_trial(self) -> bool:
        """A call that only asks whether it would be allowed."""
        return bool(self.params.get("DryRun"))

    @property
    def is_mutating(self) -> bool:
        """It can change something."""
        return not self.action.startswith(READS) and not self.is_trial

    def ids(self, *names: str) -> list[str]:
        """Return the ids in the named parameters, lists or not."""
        found: list[str] = []
        for name in names:
            value = self.params.get(name, [])
            found += value if isinstance(value, list) else [value]
        return found


class AwsError(Exception):
    """A parsed error of AWS: its code and HTTP status are what a client decides by."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        """Take the status that AWS sends with this code, where none is given."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or _status(code)
        self.partial = False
        """Refused, and yet a part of it was carried out."""

    def xml(self, service: str) -> str:
        """Return the body that the service's protocol wants."""
        detail = f"<Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
        if service == "ec2":
            return (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>{detail}</Error></Errors>'
                "<RequestID>00000000-stand-in</RequestID></Response>"
            )
        kind = "Sender" if self.status < 500 else "Receiver"
        return f"<ErrorResponse><Error><Type>{kind}</Type>{detail}</Error><RequestId>00000000-stand-in</RequestId></ErrorResponse>"


def _status(code: str) -> int:
    if code in TAKEN_BACK:
        return 500
    return {"RequestLimitExceeded": 503, "Unavailable": 503, "UnauthorizedOperation": 403, "AccessDenied": 403}.get(
        code, 412 if code == "DryRunOperation" else 400
    )


def not_found(instance: str) -> AwsError:
    """Return what EC2 answers about an instance that it does not (yet, or any longer) show."""
    return AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance}' does not exist")
