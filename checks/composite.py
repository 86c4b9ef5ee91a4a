"""The check `composite`."""

from typing import Annotated

from pydantic import Field, model_validator

from supervisor.api import CheckReport, CheckResult, Instance, PassiveCheck, Report, Status

Members = Annotated[tuple[str, ...], Field(max_length=32)]


class CompositeCheck(PassiveCheck, kind="composite"):
    """Several checks of the instance as one: `all` of them must pass, or `any`, or so many of `any`.

    OK and WARNING pass, CRITICAL fails. A member that is UNKNOWN, stale or has not answered yet may be either: the whole
    is UNKNOWN when that decides, and only then. Where every member that fails is silent, so is the whole: silence alone
    never condemns. The members are checks of the same fleet, and no composites; usually their own role is `advisory`.

    ```toml
    [[fleet.web.check]]
    kind = "icmp"
    role = "advisory"

    [[fleet.web.check]]
    kind = "tls"
    role = "advisory"

    [[fleet.web.check]]
    name = "reachable"
    kind = "composite"
    any = ["icmp", "tls"]
    ```
    """

    all: Members = ()
    """Each of these must pass, by name."""
    any: Members = ()
    """Instead: some of these must pass."""
    at_least: Annotated[int, Field(ge=1, le=32)] = 1
    """How many of `any`."""

    @model_validator(mode="after")
    def _one_way(self) -> "CompositeCheck":
        if bool(self.all) == bool(self.any):
            raise ValueError('expected either `all` or `any`, each a list of names such as ["alive", "tls"]')
        if len(set(self.members)) != len(self.members):
            raise ValueError("expected each member once")
        if self.at_least > max(1, len(self.any)):
            raise ValueError(f"at_least = {self.at_least} goes with as many members of `any`, found {len(self.any)}")
        return self

    @property
    def members(self) -> tuple[str, ...]:
        """Whose answers count."""
        return self.all or self.any

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Count what is certain, then what is possible."""
        needed = len(self.all) or self.at_least
        found = {name: _answer(report.checks.get(name)) for name in self.members}
        passing = [name for name, (status, _) in found.items() if status in (Status.OK, Status.WARNING)]
        failing = {name: answer for name, (status, answer) in found.items() if status is Status.CRITICAL}
        unknown = [name for name, (status, _) in found.items() if status is Status.UNKNOWN]
        of = f"{len(passing)} of {len(found)} pass"
        if len(passing) >= needed:
            warned = [name for name in passing if found[name][0] is Status.WARNING]
            if len(passing) - len(warned) >= needed:
                return CheckResult.ok(of)
            return CheckResult.warning(f"{of}; a warning of {', '.join(warned)}")
        if len(passing) + len(unknown) >= needed:
            return CheckResult.unknown(f"{of}, {needed} must; not known: {', '.join(unknown)}")
        told = "; ".join(f"{name}: {answer.text}" if answer.text else name for name, answer in failing.items())
        silent = all(answer.silent for answer in failing.values())
        return CheckResult(Status.CRITICAL, f"{of}, {needed} must; {told}", silent=silent)


def _answer(report: CheckReport | None) -> tuple[Status, CheckReport]:
    """Return what counts of a member's answer, with the answer."""
    if report is None:
        return Status.UNKNOWN, CheckReport(Status.UNKNOWN, 0.0, fresh=False)
    return report.status if report.fresh else Status.UNKNOWN, report
