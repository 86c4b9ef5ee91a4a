"""The plugin contract: the only module that checks, remediations and third parties import.

A *check* puts one kind of question to one instance. Its fields are its keys in config.toml:

    class HttpCheck(Check, kind="http"):
        port: int = 80
        "The port at the instance's address."

        async def run(self, instance: Instance, probe: Probe) -> CheckResult: ...

One that asks a single question over the network derives from `AskingCheck` instead: it says what to ask and what the
answer means, and costs a fraction. One that asks nobody is a `PassiveCheck`: it judges what came in by other ways.

A *remediation* is a pure plan of named steps:

    class Replace(Remediation, kind="replace"):
        def plan(self) -> Plan: ...

The text below a field is its line in the reference and in the JSON Schema of config.toml; the first sentence of the
class's docstring, or of the module's where the class has none, is the kind's line in `sickbay plugins`.

Cadence, time limit, thresholds, retries, guards and crash safety belong to Sickbay; a plugin has none of them. A
check's author tests it with `supervisor.testing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from supervisor.core.duration import Duration
from supervisor.core.journal import PlannedStep, Subject, Verb
from supervisor.core.nagios import NagiosOutput, read_nagios
from supervisor.core.terms import Lifecycle, Role, Status

__all__ = [
    "RESERVED_KEYS",
    "AlertReport",
    "Answer",
    "AskingCheck",
    "BeatReport",
    "Check",
    "CheckReport",
    "CheckResult",
    "Duration",
    "HttpAnswer",
    "HttpProbe",
    "HttpQuestion",
    "Instance",
    "Lifecycle",
    "NagiosOutput",
    "NoAnswer",
    "PassiveCheck",
    "Plan",
    "Probe",
    "ProgramAnswer",
    "ProgramProbe",
    "Question",
    "Refusal",
    "Remediation",
    "Report",
    "Role",
    "Status",
    "StepPlan",
    "Subject",
    "TcpAnswer",
    "TcpProbe",
    "TcpQuestion",
    "Unrunnable",
    "Verb",
    "read_nagios",
]

RESERVED_KEYS = frozenset({"name", "kind", "role", "interval", "timeout"})
"""Keys of a `[[fleet.NAME.check]]` table that belong to the runner: no check may declare them."""


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


class NoAnswer(Exception):
    """Raised by a probe: no answer within the time limit, or no route. The runner makes it CRITICAL and silent."""


class Refusal(Exception):
    """Raised by a probe: the connection was refused, reset or broken off. An answer, and a bad one: CRITICAL."""


class Unrunnable(Exception):
    """Raised by a probe: the program must not be trusted or can't be started. UNKNOWN: it says nothing of the instance."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer. `body` is cut at 64 KiB; `seconds` runs from the start of connecting to the last byte kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class TcpAnswer:
    """A TCP exchange: what was read (cut at 64 KiB), and the seconds from connecting to the end of it."""

    received: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """One HTTP request to an instance's own address.

    Without `whole` only the status is waited for, and the answer has neither headers nor body: that is cheaper. `keep`
    asks over a connection that stays open between two runs, and opens a new one where there is none: cheaper still, but
    it does not show whether the instance can accept connections.
    """

    port: int
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    verify: bool = True
    whole: bool = True
    keep: bool = False


@dataclass(frozen=True, slots=True)
class TcpQuestion:
    """Connect to a port of an instance, send `send` if any, and read until `until` appears, if given."""

    port: int
    send: bytes = b""
    until: bytes = b""


Question: TypeAlias = HttpQuestion | TcpQuestion
Answer: TypeAlias = HttpAnswer | TcpAnswer


class HttpProbe(Protocol):
    """HTTP to the instance, without redirects, proxies or cookies."""

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", verify: bool = True
    ) -> HttpAnswer:
        """Ask once. Raises `Refusal` or `NoAnswer`."""
        ...


class TcpProbe(Protocol):
    """TCP to the instance."""

    async def connect(self, host: str, port: int, *, send: bytes = b"", until: bytes = b"") -> TcpAnswer:
        """Connect, send `send` if any, read until `until` appears if given. Raises `Refusal` or `NoAnswer`."""
        ...


@dataclass(frozen=True, slots=True)
class ProgramAnswer:
    """How a program ended: its exit code, or the negative number of the signal that killed it.

    `stdout` and `stderr` are cut at 64 KiB each; `seconds` runs from the start to the exit.
    """

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float


class ProgramProbe(Protocol):
    """Programs on this machine, without a shell, a terminal or any secret of the supervisor's.

    Nothing of a program outlives its run: what it left in the background is killed with it. A check that ships with
    Sickbay and asks with this says `isolated = True`; a third-party one runs in the plugin host as it is.
    """

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        """Run once; `env` is added to a short environment. Raises `Unrunnable`."""
        ...


class Probe(Protocol):
    """What a check asks with. All of it obeys the check's time limit."""

    @property
    def http(self) -> HttpProbe:
        """HTTP."""
        ...

    @property
    def tcp(self) -> TcpProbe:
        """TCP."""
        ...

    @property
    def program(self) -> ProgramProbe:
        """Programs."""
        ...


class Check(BaseModel, ABC):
    """One kind of question to an instance. Subclass with `kind="…"`; the fields are the keys of its table.

    A field of the type `Duration` is written "30s"; other types as TOML writes them. None may be called `name`, `kind`,
    `role`, `interval` or `timeout`: these belong to Sickbay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    kind_name: ClassVar[str] = ""
    isolated: ClassVar[bool] = False
    """Whether it belongs into the plugin host even though it ships with Sickbay: because it runs foreign code."""

    @property
    def passive(self) -> bool:
        """Whether it asks nobody, as it is configured: it is a `PassiveCheck` then."""
        return False

    def __init_subclass__(cls, *, kind: str = "", **kwargs: object) -> None:
        """Name the kind."""
        super().__init_subclass__(**kwargs)  # type: ignore[arg-type]  # pydantic's own signature is wider
        if kind:
            cls.kind_name = kind

    @abstractmethod
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once. An exception other than the probe's becomes UNKNOWN and is counted against the check."""


class AskingCheck(Check):
    """A check that asks one question: what to ask is the same for every instance, and what the answer means is pure.

    Sickbay asks a hundred thousand instances so without a coroutine for each. What goes wrong on the way (a refusal, no
    answer, a time limit) never reaches `judge`.
    """

    @abstractmethod
    def question(self) -> Question:
        """Return what to ask. Called once for each configuration."""

    @abstractmethod
    def judge(self, answer: Answer) -> CheckResult:
        """Return what the answer means: an `HttpAnswer` to an `HttpQuestion`, a `TcpAnswer` to a `TcpQuestion`."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        match self.question():
            case HttpQuestion() as ask:
                url = f"{'https' if ask.tls else 'http'}://{instance.url_host}:{ask.port}{ask.path}"
                return self.judge(await probe.http.get(url, headers=ask.headers, method=ask.method, verify=ask.verify))
            case TcpQuestion() as ask:
                return self.judge(await probe.tcp.connect(instance.address, ask.port, send=ask.send, until=ask.until))


@dataclass(frozen=True, slots=True)
class BeatReport:
    """The newest sign of life that a machine sent by itself.

    `age` is in seconds since it was received. `fresh` says whether the silence since then is an ordinary one, by the
    machine's own habit: `usual` seconds between two, 0 before there were two. `metrics` are the numbers that came with
    it, in base units, `facts` the words.
    """

    age: float
    fresh: bool
    usual: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The newest answer of another check: `age` in seconds, `fresh` while it counts."""

    status: Status
    age: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class AlertReport:
    """An alert that fires for the instance, for `age` seconds."""

    name: str
    text: str
    severity: str
    age: float


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of an instance without asking it. What is `None` is not known, and nobody is blamed for that.

    `beat`: its newest sign of life; `deaf` says why nobody's can be heard now, "" when they can. `impaired`: what the
    cloud's own status checks find wrong, "" for nothing. `image` and `version` are what the fleet would be launched
    from now. `alerts`: those that fire. `checks`: the other checks of the instance by name, as far as they answered.
    """

    beat: BeatReport | None = None
    deaf: str = ""
    impaired: str | None = None
    image: str | None = None
    version: str | None = None
    alerts: Sequence[AlertReport] | None = None
    checks: Mapping[str, CheckReport] = field(default_factory=dict)


class PassiveCheck(Check):
    """A check that asks nobody: it judges what came in by other ways. Only those that ship with Sickbay, so far.

    Judged in the daemon itself, on its interval: it must be quick, and pure.
    """

    needs: ClassVar[str] = ""
    """The table of config.toml without which it could never say anything, such as "mqtt"."""

    @property
    def passive(self) -> bool:
        """It is."""
        return True

    @abstractmethod
    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Return what the report means."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Say that there is nothing to ask."""
        return CheckResult.unknown("it asks nobody; `sickbay explain` tells what the daemon knows")


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A named step of a plan: what is done, and to whom. Names are unique within the plan.

    `optional` steps are skipped, and noted, where a floor forbids them; any other step waits for its guard.
    """

    verb: Verb
    subject: Subject = Subject.PATIENT
    name: str = ""
    optional: bool = False

    def planned(self) -> PlannedStep:
        """Freeze it for the journal."""
        return PlannedStep(self.name or str(self.verb), self.verb, self.subject, self.optional)


Plan: TypeAlias = tuple[StepPlan, ...]


class Remediation(BaseModel, ABC):
    """A way to heal. Subclass with `kind="…"`. Its plan is frozen in the journal when an incident begins to act."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    kind_name: ClassVar[str] = ""
    starts_from: ClassVar[frozenset[Lifecycle]] = frozenset(
        {Lifecycle.PROBATION, Lifecycle.IN_SERVICE, Lifecycle.WITHDRAWN}
    )
    """Lifecycles that it may start from."""
    removes: ClassVar[bool] = True
    """Whether the patient leaves the fleet: such a remediation costs a credit."""

    def __init_subclass__(cls, *, kind: str = "", **kwargs: object) -> None:
        """Name the kind."""
        super().__init_subclass__(**kwargs)  # type: ignore[arg-type]  # pydantic's own signature is wider
        if kind:
            cls.kind_name = kind

    @abstractmethod
    def plan(self) -> Plan:
        """Return the steps in order. Pure: the same every time."""
