"""The remediation `quarantine`."""

from supervisor.api import Plan, Remediation, StepPlan, Verb


class Quarantine(Remediation, kind="quarantine"):
    """Set the sick machine aside without waiting for a replacement; its slot is filled afterwards.

    For fleets where a sick machine does harm while it runs. The serving floor still holds it.
    """

    def plan(self) -> Plan:
        """Return the steps in order."""
        return (
            StepPlan(Verb.WITHDRAW),
            StepPlan(Verb.CAPTURE, optional=True),
            StepPlan(Verb.ISOLATE),
        )
