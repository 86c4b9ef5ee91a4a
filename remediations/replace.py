"""The remediation `replace`."""

from supervisor.api import Plan, Remediation, StepPlan, Subject, Verb


class Replace(Remediation, kind="replace"):
    """Launch a fresh machine from the golden image, prove it, and only then set the sick one aside.

    The sick machine leaves the load balancer first, if the load balancer floor permits; otherwise it stays until the
    replacement serves. It is never destroyed here: it is kept in quarantine.
    """

    def plan(self) -> Plan:
        """Return the steps in order."""
        return (
            StepPlan(Verb.WITHDRAW, optional=True),
            StepPlan(Verb.CAPTURE, optional=True),
            StepPlan(Verb.LAUNCH, Subject.CANDIDATE),
            StepPlan(Verb.WARM, Subject.CANDIDATE),
            StepPlan(Verb.REGISTER, Subject.CANDIDATE),
            StepPlan(Verb.CONFIRM, Subject.CANDIDATE),
            StepPlan(Verb.ISOLATE),
        )
