"""Checks that look inside a machine: over SSH, or by its heartbeats."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supervisor.api.checks import Check
from supervisor.api.passive import BeatReport, PassiveCheck, Report
from supervisor.api.probes import Probe, ProgramAnswer, SshLogin
from supervisor.api.results import CheckResult, Instance
from supervisor.core.duration import words
from supervisor.core.nagios import read_end


def nagios_result(answer: ProgramAnswer, name: str) -> CheckResult:
    """Return what the end of a program called `name` means by the Nagios conventions.

    Its exit code is the status, its first line the text, its perfdata the metrics; `time` among them is the latency.
    """
    end = read_end(name, answer.code, answer.stdout, answer.stderr)
    return CheckResult(end.status, end.text, end.metrics.get("time"), metrics=end.metrics)


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
