"""A check that asks nobody, and the report of what came in by other ways."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from supervisor.api.checks import Check
from supervisor.api.probes import Probe
from supervisor.api.results import CheckResult, Instance
from supervisor.core.terms import Status


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
