"""What a check may know of an instance, what it says of it, and how a probe fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from supervisor.core.macros import filled
from supervisor.core.terms import Status

_WORSE = (Status.OK, Status.WARNING, Status.UNKNOWN, Status.CRITICAL)


@dataclass(frozen=True, slots=True)
class Instance:
    """What a check may know of the machine it asks. `address` is an IP address or a name, without a port."""

    id: str
    fleet: str
    address: str
    zone: str = ""
    image: str = ""
    version: str = ""

    @property
    def url_host(self) -> str:
        """The address as a URL wants it: IPv6 in brackets."""
        return f"[{self.address}]" if ":" in self.address else self.address

    def filled(self, words: Sequence[str]) -> list[str]:
        """Return a command's words with this machine's own for each macro, such as `{version}`; see `check_macros`.

        Raises `ValueError` for a value that the program would take for an option.
        """
        return filled(words, asdict(self))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One answer.

    `text` is one line for people (cut at 2 KiB, control characters stripped). `seconds` is the latency that the
    check measured, if it did. `silent` means that there was no answer at all. `metrics` are numbers for plots, in
    base units: seconds, bytes, ratios (0.15, not 15 %); the first 64 are kept.
    """

    status: Status
    text: str = ""
    seconds: float | None = None
    silent: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def ok(
        cls, text: str = "", *, seconds: float | None = None, metrics: Mapping[str, float] | None = None
    ) -> CheckResult:
        """The instance answered well."""
        return cls(Status.OK, text, seconds, metrics=metrics or {})

    @classmethod
    def warning(
        cls, text: str, *, seconds: float | None = None, metrics: Mapping[str, float] | None = None
    ) -> CheckResult:
        """The instance answered, and somebody should look some day. Never condemns."""
        return cls(Status.WARNING, text, seconds, metrics=metrics or {})

    @classmethod
    def critical(
        cls, text: str, *, seconds: float | None = None, metrics: Mapping[str, float] | None = None
    ) -> CheckResult:
        """The instance answered, and the answer is bad."""
        return cls(Status.CRITICAL, text, seconds, metrics=metrics or {})

    @classmethod
    def no_answer(cls, text: str) -> CheckResult:
        """The instance did not answer at all. Silence alone never condemns."""
        return cls(Status.CRITICAL, text, silent=True)

    @classmethod
    def unknown(cls, text: str) -> CheckResult:
        """The check itself could not be made. Says nothing about the instance."""
        return cls(Status.UNKNOWN, text)

    @classmethod
    def worst(cls, results: Sequence[CheckResult]) -> CheckResult:
        """Return several results as one: the worst status, the texts of those that have it, and all metrics.

        CRITICAL is worse than UNKNOWN: what is known to be bad counts, whatever else could not be seen. Raises
        `ValueError` for none.
        """
        status = max((one.status for one in results), key=_WORSE.index)
        text = "; ".join(one.text for one in results if one.status is status)
        return cls(status, text, metrics={label: value for one in results for label, value in one.metrics.items()})


class NoAnswer(Exception):
    """Raised by a probe: no answer within the time limit, or no route. The runner makes it CRITICAL and silent."""


class Refusal(Exception):
    """Raised by a probe: the connection was refused, reset or broken off. An answer, and a bad one: CRITICAL."""


class Unrunnable(Exception):
    """Raised by a probe: it can't ask as things are here. UNKNOWN: it says nothing of the instance.

    A program is not to be trusted, a file can't be read, the kernel forbids it.
    """
