"""What every remediation's plan must keep, whoever wrote it. Pure: asked when the configuration is read.

A plan may only be made of what heals. What ends a machine, and what brings one back from quarantine, is no plugin's
business; a machine that was started serves only after it has passed its startup checks; and whoever sets a machine aside
says so, because that costs a credit. The guards hold each step besides, whatever the plan says.
"""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.core.journal import PlannedStep, Subject, Verb

HEALING = (
    Verb.WITHDRAW,
    Verb.CAPTURE,
    Verb.RESTART,
    Verb.LAUNCH,
    Verb.WARM,
    Verb.REGISTER,
    Verb.CONFIRM,
    Verb.ISOLATE,
)
BRINGS_IN = (Verb.WARM, Verb.REGISTER, Verb.CONFIRM)
"""What must follow, in this order, before a machine that was started serves."""
STARTS = {Subject.PATIENT: Verb.RESTART, Subject.CANDIDATE: Verb.LAUNCH}


def flaw(plan: Sequence[PlannedStep], *, removes: bool) -> str:
    """Return what is wrong with a plan, and what was expected; "" for a sound one."""
    if not plan:
        return "its plan has no step; expected at least one"
    names = [step.name for step in plan]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        return f"its plan has two steps called '{twice}'; give each a name of its own"
    foreign = next((step for step in plan if step.verb not in HEALING), None)
    if foreign is not None:
        return f"step '{foreign.name}' is Sickbay's own business; expected one of {', '.join(HEALING)}"
    return _flaw_of_candidate(plan) or _flaw_of_patient(plan) or _flaw_of_removal(plan, removes=removes)


def _flaw_of_candidate(plan: Sequence[PlannedStep]) -> str:
    steps = [step for step in plan if step.subject is Subject.CANDIDATE or step.verb is Verb.LAUNCH]
    expected = [Verb.LAUNCH, *BRINGS_IN]
    if not steps or ([s.verb for s in steps] == expected and all(s.subject is Subject.CANDIDATE for s in steps)):
        return _flaw_of_options(steps)
    found = ", ".join(f"{step.verb} of the {step.subject}" for step in steps)
    return f"it launches with {found}; expected {', '.join(expected)}, each once and of the candidate"


def _flaw_of_patient(plan: Sequence[PlannedStep]) -> str:
    verbs = [step.verb for step in plan if step.subject is Subject.PATIENT]
    back = [step for step in plan if step.subject is Subject.PATIENT and step.verb in (Verb.RESTART, *BRINGS_IN)]
    if back and [step.verb for step in back] != [Verb.RESTART, *BRINGS_IN]:
        found = ", ".join(step.verb for step in back)
        return f"it brings the patient back with {found}; expected {', '.join((Verb.RESTART, *BRINGS_IN))}, each once"
    if back and Verb.ISOLATE in verbs:
        return "it restarts the patient and isolates it as well; expected one of the two, and a ladder for both"
    if not {Verb.RESTART, Verb.ISOLATE} & set(verbs):
        return "it neither restarts nor isolates the patient, which would stay sick; expected one of the two"
    if Verb.ISOLATE in verbs and set(verbs[verbs.index(Verb.ISOLATE) + 1 :]):
        return "it goes on with the patient after `isolate`; expected that to be the last of what is done to it"
    return _flaw_of_options(back)


def _flaw_of_options(steps: Sequence[PlannedStep]) -> str:
    left_out = next((step for step in steps if step.optional), None)
    return f"step '{left_out.name}' can't be optional; what comes after it needs it" if left_out is not None else ""


def _flaw_of_removal(plan: Sequence[PlannedStep], *, removes: bool) -> str:
    isolates = next((step for step in plan if step.verb is Verb.ISOLATE), None)
    if isolates is not None and isolates.optional:
        return f"step '{isolates.name}' can't be optional; the machine would stay sick"
    if (isolates is not None) is removes:
        return ""
    if removes:
        return "it isolates nobody, so the machine stays in the fleet; write `removes: ClassVar[bool] = False`"
    return "it isolates the patient, which costs a credit; expected `removes` to be True"
