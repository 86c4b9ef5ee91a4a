"""A check that asks, and one that only says what to ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from supervisor.api.probes import Answer, HttpQuestion, Probe, Question, TcpQuestion
from supervisor.api.results import CheckResult, Instance

RESERVED_KEYS = frozenset({"name", "kind", "role", "interval", "timeout"})
"""Keys of a `[[fleet.NAME.check]]` table that belong to the runner: no check may declare them."""


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
