"""The check `alertmanager`."""

from typing import Annotated

from pydantic import Field

from supervisor.api import AlertReport, CheckResult, Instance, PassiveCheck, Report


class AlertmanagerCheck(PassiveCheck, kind="alertmanager"):
    """Whether alerts of Prometheus' Alertmanager fire for the instance; `[alertmanager]` says how they come in.

    Give it the role `advisory`, unless an alert shall be able to condemn a machine. While Alertmanager was not heard,
    or is not heard any more where it is asked, nothing is known.
    """

    alerts: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Which alerts count, by name: ["HighErrorRate"]; "*" for all."""
    severity: tuple[str, ...] = ()
    """Only alerts whose label `severity` is one of these: ["critical", "page"]; without it, all."""

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Look for the worst news."""
        if report.alerts is None:
            return CheckResult.unknown("Alertmanager is not heard")
        firing = [alert for alert in report.alerts if self._counts(alert)]
        if not firing:
            return CheckResult.ok("no alert fires")
        told = "; ".join(f"{a.name}: {a.text}" if a.text else a.name for a in firing[:5])
        more = f"; and {len(firing) - 5} more" if len(firing) > 5 else ""
        return CheckResult.critical(told + more)

    def _counts(self, alert: AlertReport) -> bool:
        named = "*" in self.alerts or alert.name in self.alerts
        return named and (not self.severity or alert.severity in self.severity)
