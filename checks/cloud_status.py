"""The check `cloud_status`."""

from supervisor.api import CheckResult, Instance, PassiveCheck, Report


class CloudStatusCheck(PassiveCheck, kind="cloud_status"):
    """What the cloud's own status checks say of the machine.

    They are a second class of evidence in any case; with this check they also show on the page, and its role says what
    they may cause by themselves. A cloud that says nothing of a machine makes it UNKNOWN.
    """

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Compare."""
        if report.impaired is None:
            return CheckResult.unknown("the cloud has not told of this machine yet")
        if report.impaired:
            return CheckResult.critical(f"the cloud says: {report.impaired}")
        return CheckResult.ok("the cloud finds nothing wrong")
