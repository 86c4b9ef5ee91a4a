"""The plugin contract: the only module that checks, remediations and third parties import.

A *check* puts one kind of question to one instance. Its fields are its keys in config.toml:

    class HttpCheck(Check, kind="http"):
        port: int = 80
        "The port at the instance's address."

        async def run(self, instance: Instance, probe: Probe) -> CheckResult: ...

One that asks a single question over the network derives from `AskingCheck` instead: it says what to ask and what the
answer means, and costs a fraction. One that asks nobody is a `PassiveCheck`: it judges what came in by other ways. One
that runs a command on the instance itself is an `SshCheck`.

A *remediation* is a pure plan of named steps:

    class Replace(Remediation, kind="replace"):
        def plan(self) -> Plan: ...

The text below a field is its line in the reference and in the JSON Schema of config.toml; the first sentence of the
class's docstring, or of the module's where the class has none, is the kind's line in `sickbay plugins`.

Cadence, time limit, thresholds, retries, guards and crash safety belong to Sickbay; a plugin has none of them. Its
author tests it with `supervisor.testing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from supervisor.core.duration import Duration, words
from supervisor.core.journal import PlannedStep, Subject, Verb
from supervisor.core.macros import check_macros, filled, has_macro
from supervisor.core.nagios import NagiosOutput, ending, first_line, read_end, read_nagios
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
    "EchoAnswer",
    "HttpAnswer",
    "HttpProbe",
    "HttpQuestion",
    "IcmpProbe",
    "InsideCheck",
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
    "SshCheck",
    "SshLogin",
    "SshProbe",
    "Status",
    "StepPlan",
    "Subject",
    "TcpAnswer",
    "TcpProbe",
    "TcpQuestion",
    "TlsAnswer",
    "TlsProbe",
    "TlsVersion",
    "UdpAnswer",
    "UdpProbe",
    "Unrunnable",
    "Verb",
    "check_macros",
    "ending",
    "first_line",
    "has_macro",
    "nagios_result",
    "read_nagios",
]

KEPT_BODY = 64 * 1024
"""Bytes of an HTTP answer's body that are kept, unless a question asks for more."""
LARGEST_BODY = 1024 * 1024
"""More than this is never kept: whoever is asked sends what it likes, and hundreds may do so at once."""

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


_WORSE = (Status.OK, Status.WARNING, Status.UNKNOWN, Status.CRITICAL)


class NoAnswer(Exception):
    """Raised by a probe: no answer within the time limit, or no route. The runner makes it CRITICAL and silent."""


class Refusal(Exception):
    """Raised by a probe: the connection was refused, reset or broken off. An answer, and a bad one: CRITICAL."""


class Unrunnable(Exception):
    """Raised by a probe: it can't ask as things are here. UNKNOWN: it says nothing of the instance.

    A program is not to be trusted, a file can't be read, the kernel forbids it.
    """


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer.

    `body` is cut where the question says; `seconds` runs from the start of connecting to the last byte kept. Where the
    question was not `timed`, it may be 0.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class TcpAnswer:
    """A TCP exchange: what was read (cut at 64 KiB), and the seconds from connecting to the end of it.

    Where the question was not `timed`, `seconds` may be 0.
    """

    received: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """One HTTP request to an instance's own address.

    Without `whole` only the status is waited for, and the answer has neither headers nor body: that is cheaper. `keep`
    asks over a connection that stays open between two runs, and opens a new one where there is none: cheaper still, but
    it does not show whether the instance can accept connections. Without `timed` the answer need not tell how long it
    took, so that many answers are the same, and are judged once. How long a check took is known all the same. `most` is
    how many bytes of the body are kept, 1 MiB at most: it is memory for each instance that is being asked.
    """

    port: int
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    verify: bool = True
    whole: bool = True
    keep: bool = False
    timed: bool = True
    most: int = KEPT_BODY


@dataclass(frozen=True, slots=True)
class TcpQuestion:
    """Connect to a port of an instance, send `send` if any, and read until `until` appears, if given.

    With a `prefix` one message is read that follows its own length: an unsigned number of so many bytes, the highest first.

    Without `timed` the answer need not tell how long it took, as for an `HttpQuestion`.
    """

    port: int
    send: bytes = b""
    until: bytes = b""
    prefix: int = 0
    timed: bool = True


Question: TypeAlias = HttpQuestion | TcpQuestion
Answer: TypeAlias = HttpAnswer | TcpAnswer


class HttpProbe(Protocol):
    """HTTP to the instance, without redirects, proxies or cookies."""

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        verify: bool = True,
        most: int = KEPT_BODY,
    ) -> HttpAnswer:
        """Ask once; `most` bytes of the body are kept, 1 MiB at most. Raises `Refusal` or `NoAnswer`."""
        ...


class TcpProbe(Protocol):
    """TCP to the instance."""

    async def connect(
        self, host: str, port: int, *, send: bytes = b"", until: bytes = b"", prefix: int = 0
    ) -> TcpAnswer:
        """Connect, send `send` if any, read until `until` appears if given, or one message after its length of `prefix` bytes.

        Raises `Refusal` or `NoAnswer`.
        """
        ...


TlsVersion: TypeAlias = Literal["1.2", "1.3"]


@dataclass(frozen=True, slots=True)
class TlsAnswer:
    """A TLS handshake: the protocol's version, such as "1.3", and the certificates that were shown.

    `certificates` are in DER, the instance's own first. `untrusted` says why the chain is not trusted, in OpenSSL's words;
    '' where it is, or where nobody wanted to know. `seconds` runs from the start of connecting to the end of the handshake.
    """

    version: str
    certificates: tuple[bytes, ...]
    untrusted: str
    seconds: float


class TlsProbe(Protocol):
    """TLS handshakes with the instance."""

    async def handshake(
        self,
        host: str,
        port: int,
        *,
        server_name: str = "",
        verify: bool = True,
        ca_file: str = "",
        least: TlsVersion = "1.2",
    ) -> TlsAnswer:
        """Connect, shake hands, and close; a bad certificate is no failure here, but told.

        `server_name` is asked for, and not compared with anything. With `verify` the chain, its dates included, is held
        against the authorities in `ca_file`, or against the system's; one that fails is asked for over a second
        connection. `least` is the oldest version that will do. Raises `Refusal` or `NoAnswer`, and `Unrunnable` when
        `ca_file` can't be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class UdpAnswer:
    """The datagram that came back, and the seconds from sending to it."""

    received: bytes
    seconds: float


class UdpProbe(Protocol):
    """UDP to the instance."""

    async def ask(
        self, host: str, port: int, payload: bytes, *, accept: Callable[[bytes], bool] | None = None
    ) -> UdpAnswer:
        """Send one datagram, once, and return the first that comes back from there and is accepted; any, by default.

        What else comes is passed over, up to 100 datagrams. Raises `Refusal`, also where nobody has the port, and
        `NoAnswer`.
        """
        ...


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """How many echoes were asked for, and the round trips in seconds of those that came, at least one, in order of asking."""

    sent: int
    round_trips: tuple[float, ...]


class IcmpProbe(Protocol):
    """ICMP and ICMPv6 echoes."""

    async def echo(self, host: str, *, count: int = 1, wait: float = 1.0) -> EchoAnswer:
        """Ask for `count` echoes, 20 ms apart, and wait for each at most `wait` seconds.

        Raises `NoAnswer` when none comes, and `Unrunnable` where the kernel allows us no echoes.
        """
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


def nagios_result(answer: ProgramAnswer, name: str) -> CheckResult:
    """Return what the end of a program called `name` means by the Nagios conventions.

    Its exit code is the status, its first line the text, its perfdata the metrics; `time` among them is the latency.
    """
    end = read_end(name, answer.code, answer.stdout, answer.stderr)
    return CheckResult(end.status, end.text, end.metrics.get("time"), metrics=end.metrics)


@dataclass(frozen=True, slots=True)
class SshLogin:
    """Who logs in on a machine, and how each side knows the other.

    `key_file` holds the private key, without a passphrase. `known_hosts` is a file as OpenSSH writes it, lines with
    `@cert-authority` included; "" takes any host key: then whoever answers at the address may tell us what they like.
    """

    user: str
    key_file: str
    known_hosts: str
    port: int = 22


class SshProbe(Protocol):
    """Commands on the instance itself, over SSH, without a terminal, forwarding or anybody's own configuration.

    A connection is kept for the next command, and shows nothing about whether new ones are accepted.
    """

    async def run(self, host: str, argv: Sequence[str], login: SshLogin) -> ProgramAnswer:
        """Run once. The words reach the program as they are, whatever is in them: each is quoted for the shell there.

        `seconds` runs from the command's sending to its end. Raises `Refusal` or `NoAnswer`, and `Unrunnable` for what
        says nothing of the instance: a key that can't be read, an unknown host key, a login that was refused.
        """
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
    def tls(self) -> TlsProbe:
        """TLS."""
        ...

    @property
    def udp(self) -> UdpProbe:
        """UDP."""
        ...

    @property
    def icmp(self) -> IcmpProbe:
        """ICMP."""
        ...

    @property
    def program(self) -> ProgramProbe:
        """Programs."""
        ...

    @property
    def ssh(self) -> SshProbe:
        """Commands on the instance."""
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

    @property
    def elsewhere(self) -> bool:
        """Whether it asks somebody else about the instance: a refusal and silence are UNKNOWN then, and nobody is blamed."""
        return False

    @property
    def missing(self) -> str:
        """What must be installed before it can run, with the remedy; "" for nothing. An error in config.toml."""
        return ""

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
        """Return what the answer means: an `HttpAnswer` to an `HttpQuestion`, a `TcpAnswer` to a `TcpQuestion`.

        Not called again for an answer that is the same as the last one.
        """

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        match self.question():
            case HttpQuestion() as ask:
                url = f"{'https' if ask.tls else 'http'}://{instance.url_host}:{ask.port}{ask.path}"
                answer = await probe.http.get(
                    url, headers=ask.headers, method=ask.method, verify=ask.verify, most=ask.most
                )
                return self.judge(answer)
            case TcpQuestion() as ask:
                return self.judge(
                    await probe.tcp.connect(
                        instance.address, ask.port, send=ask.send, until=ask.until, prefix=ask.prefix
                    )
                )


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
    """The newest answer of another check: `age` in seconds, `fresh` while it counts, `silent` where there was none."""

    status: Status
    age: float
    fresh: bool
    silent: bool = False
    text: str = ""


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
    from now. `alerts`: those that fire. `checks`: all checks of the instance by name, as far as they answered.
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

    @property
    def members(self) -> Sequence[str]:
        """Other checks of the fleet by name, which it judges by: each must be there, and have no members itself."""
        return ()

    @abstractmethod
    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Return what the report means."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Say that there is nothing to ask."""
        return CheckResult.unknown("it asks nobody; `sickbay explain` tells what the daemon knows")


class SshCheck(Check):
    """A check that runs a command on the instance itself. It has the keys of the login, and `on_machine`."""

    isolated: ClassVar[bool] = True

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=64)] = "sickbay"
    """The account on the instance."""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    """Where its SSH server listens."""
    key_file: Annotated[str, Field(pattern="^/")] = "/etc/sickbay/ssh_key"
    """Absolute path of the private key, without a passphrase; nobody but its owner and group may read it."""
    known_hosts: Annotated[str, Field(pattern="^/")] = "/etc/sickbay/known_hosts"
    """Absolute path of the file with the host keys, or with a line `@cert-authority * …` for the authority of all."""
    host_keys: Literal["known", "any"] = "known"
    """`any` asks whoever answers at the address, without knowing who that is: only for a network that you trust."""

    @property
    def missing(self) -> str:
        """The extra `ssh`, where it asks over SSH."""
        if self.passive or find_spec("asyncssh"):
            return ""
        return "asyncssh is not installed, and nobody can be asked over SSH; run `pip install 'sickbay[ssh]'`"

    async def on_machine(self, instance: Instance, probe: Probe, argv: Sequence[str]) -> ProgramAnswer:
        """Run a command there. Raises what the probe raises."""
        known = self.known_hosts if self.host_keys == "known" else ""
        return await probe.ssh.run(instance.address, argv, SshLogin(self.user, self.key_file, known, self.port))


class InsideCheck(SshCheck, PassiveCheck):
    """A check of what shows only inside a machine: asked for over SSH, or taken from what the machine itself sends."""

    via: Literal["ssh", "heartbeat"] = "ssh"
    """`heartbeat` asks nobody: it reads what the machine sends with its signs of life, and needs no login."""

    @property
    def passive(self) -> bool:
        """With heartbeats."""
        return self.via == "heartbeat"

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return what is run on the machine."""

    @abstractmethod
    def seen(self, answer: ProgramAnswer) -> CheckResult:
        """Return what the command's end means."""

    @abstractmethod
    def told(self, beat: BeatReport) -> CheckResult:
        """Return what a fresh sign of life means."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Look, over SSH."""
        if self.passive:
            return await super().run(instance, probe)
        return self.seen(await self.on_machine(instance, probe, self.command()))

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Read what the machine sent; what it does not send accuses nobody."""
        if report.deaf:
            return CheckResult.unknown(f"heartbeats can't be heard: {report.deaf}")
        if report.beat is None:
            return CheckResult.unknown("it has sent no heartbeat yet")
        if not report.beat.fresh:
            return CheckResult.unknown(f"its last heartbeat is {words(report.beat.age)} old")
        return self.told(report.beat)


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
    """A way to heal. Subclass with `kind="…"`; the fields are the keys of its rung in the ladder.

    Its plan is made when the configuration is read, and frozen in the journal when an incident begins to act. It restarts
    the patient or isolates it; who is started (`RESTART` of the patient, `LAUNCH` of the candidate) goes through `WARM`,
    `REGISTER` and `CONFIRM`, each once and in this order. Any other plan is refused in one sentence.
    """

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
        """Return the steps in order, at least one. Pure: the same every time; what it raises refuses the configuration."""
