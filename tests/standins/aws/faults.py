"""What goes wrong between the daemon and AWS, on demand: before a call's effect, or after it, when the answer is lost."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.standins.aws.call import AwsError, Call

KINDS = ("500", "hang", "reset", "close", "html", "xhtml", "truncated", "cut", "throttling", "limit")
PAGES = {
    "html": b"<!DOCTYPE html><html><body><p>We'll be back<br></body></html>",
    "xhtml": b"<html><body><p>We'll be back</p></body></html>",
}
"""With HTTP 200. botocore takes the well-formed one for a yes that names nothing: no error, and no instance either."""


@dataclass(slots=True)
class Fault:
    """One of `KINDS`, or `error:CODE`; `late` is a fault after the effect. It waits for `skip` calls, then hits `times`."""

    action: str
    kind: str
    late: bool = False
    skip: int = 0
    times: int = 1


class Faults:
    """The faults that are planned, and what is wholly down."""

    def __init__(self) -> None:
        """Begin with everything well."""
        self.planned: list[Fault] = []
        self.region_down = ""
        """A kind of fault that every call meets before its effect: the whole region is out."""
        self.zones_down: set[str] = set()
        """Zones whose API is out: any call that would have to speak of them fails as a whole."""

    def add(self, action: str, kind: str, *, late: bool = False, nth: int = 1, times: int = 1) -> None:
        """Have the nth of the coming calls of an action (`*` and `Describe*` work too), and the next ones, fail."""
        if kind not in KINDS and not kind.startswith("error:"):
            raise ValueError(f"{kind}: expected one of {', '.join(KINDS)} or error:CODE")
        self.planned.append(Fault(action, kind, late, nth - 1, times))

    def clear(self) -> None:
        """Have everything well again."""
        self.planned, self.region_down, self.zones_down = [], "", set()

    def take(self, call: Call) -> Fault | None:
        """Return what hits this call."""
        hit: Fault | None = Fault("*", self.region_down) if self.region_down else None
        for fault in list(self.planned):
            if not fnmatchcase(call.action, fault.action):
                continue
            if fault.skip:
                fault.skip -= 1
            elif hit is None:
                hit = fault
                fault.times -= 1
                if not fault.times:
                    self.planned.remove(fault)
        return hit


def as_error(kind: str) -> AwsError | None:
    """Return the error that a fault answers with, where it answers with one."""
    match kind:
        case "500":
            return AwsError("InternalError", "An internal error has occurred")
        case "throttling":
            return AwsError("Throttling", "Rate exceeded", 400)
        case "limit":
            return AwsError("RequestLimitExceeded", "Request limit exceeded.")
    if kind.startswith("error:"):
        return AwsError(kind.removeprefix("error:"), "as the test wished")
    return None
