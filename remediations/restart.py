"""The remediation `restart`."""

from typing import ClassVar

from supervisor.api import Plan, Remediation, StepPlan, Verb


class Restart(Remediation, kind="restart"):
    """Restart the machine in place, and bring it back when it passes its startup checks again.

    Put it before `replace` in the ladder: `remediation = ["restart", "replace"]`. It destroys what memory could tell
    about the fault, so the log and the last results are captured first.
    """

    removes: ClassVar[bool] = False

    def plan(self) -> Plan:
        """Return the steps in order."""
        return (
            StepPlan(Verb.WITHDRAW, optional=True),
            StepPlan(Verb.CAPTURE, optional=True),
            StepPlan(Verb.RESTART),
            StepPlan(Verb.WARM),
            StepPlan(Verb.REGISTER),
            StepPlan(Verb.CONFIRM),
        )
