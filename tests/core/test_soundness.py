"""Which plans Sickbay carries out for a plugin: a table of those it refuses, and a proof that the others do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.api import Plan, Remediation, StepPlan, Subject, Verb
from supervisor.core.journal import PlannedStep
from supervisor.core.soundness import flaw
from supervisor.plugins import discover, planned
from supervisor.testing import Fault, heal

PATIENT, CANDIDATE = Subject.PATIENT, Subject.CANDIDATE
NEWCOMER = [(verb, CANDIDATE) for verb in ("launch", "warm", "register", "confirm")]
BACK = ["restart", "warm", "register", "confirm"]


def plan(*steps: str | tuple[str, Subject]) -> list[PlannedStep]:
    """Return a plan from verbs, of the patient unless said otherwise; "?" behind a verb makes the step optional."""
    made = []
    for number, step in enumerate(steps):
        verb, subject = (step, PATIENT) if isinstance(step, str) else step
        made.append(PlannedStep(f"{number}", Verb(verb.removesuffix("?")), subject, verb.endswith("?")))
    return made


FLAWS = {
    "nothing": (plan(), True, "its plan has no step"),
    "an end": (plan("withdraw", "terminate"), True, "step '1' is Sickbay's own business; expected one of withdraw"),
    "out of quarantine": (plan("restore", *BACK), False, "step '0' is Sickbay's own business"),
    "only out of sight": (plan("withdraw", "capture"), False, "it neither restarts nor isolates the patient"),
    "back without a proof": (plan("restart", "register"), False, "it brings the patient back with restart, register; expected"),
    "a launch that nobody proves": (plan(("launch", CANDIDATE), "isolate"), True, "it launches with launch of the candidate; expected"),
    "a launch of the patient": (plan("launch", "isolate"), True, "it launches with launch of the patient; expected"),
    "serving before it is warm": (
        plan(NEWCOMER[0], NEWCOMER[2], NEWCOMER[1], NEWCOMER[3], "isolate"), True, "it launches with launch of the candidate, register",
    ),
    "two launches": (plan(*NEWCOMER, *NEWCOMER, "isolate"), True, "each once and of the candidate"),
    "a candidate set aside": (plan(*NEWCOMER, ("isolate", CANDIDATE)), True, "it launches with"),
    "a proof that may be left out": (plan("restart", "warm?", "register", "confirm"), False, "step '1' can't be optional"),
    "a removal that may be left out": (plan("isolate?"), True, "step '0' can't be optional; the machine would stay sick"),
    "a removal without its price": (plan("isolate"), False, "it isolates the patient, which costs a credit"),
    "a price without a removal": (plan(*BACK), True, "write `removes: ClassVar[bool] = False`"),
    "both at once": (plan(*BACK, "isolate"), True, "a ladder for both"),
    "after the end": (plan("isolate", "withdraw"), True, "goes on with the patient after `isolate`"),
}  # fmt: skip


@pytest.mark.parametrize("row", FLAWS)
def test_a_plan_that_would_do_harm_is_refused_in_one_sentence(row: str) -> None:
    """With what was found and what was expected."""
    steps, removes, sentence = FLAWS[row]

    assert sentence in flaw(steps, removes=removes)


def test_two_steps_of_one_name_are_refused() -> None:
    """The journal knows a step by its name."""
    twice = [PlannedStep("a", Verb.CAPTURE, PATIENT), PlannedStep("a", Verb.ISOLATE, PATIENT)]

    assert "two steps called 'a'" in flaw(twice, removes=True)


def test_the_built_in_plans_are_sound() -> None:
    """The same law for all."""
    for kind, plugin in discover().remediations.items():
        assert kind == planned(plugin.cls()).kind


class Any(Remediation, kind="any"):
    """Whatever steps it is given."""

    steps: tuple[StepPlan, ...]

    def plan(self) -> Plan:
        """Return them."""
        return self.steps


EXTRAS = st.lists(st.sampled_from([Verb.WITHDRAW, Verb.CAPTURE]), max_size=3)


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[StepPlan, ...]:
    """Draw a removal with a launch somewhere, or without one, and with what may stand anywhere before its end."""
    patient = [StepPlan(verb, name=f"{verb}-{n}", optional=draw(st.booleans())) for n, verb in enumerate(draw(EXTRAS))]
    patient.append(StepPlan(Verb.ISOLATE))
    candidate = [StepPlan(Verb(verb), CANDIDATE) for verb, _ in NEWCOMER] if draw(st.booleans()) else []
    steps: list[StepPlan] = []
    while patient or candidate:
        first = draw(st.sampled_from([each for each in (patient, candidate) if each]))
        steps.append(first.pop(0))
    return tuple(steps)


@settings(max_examples=8)
@given(shuffled(), st.sampled_from(Fault))
def test_every_sound_plan_heals_and_breaks_nothing(steps: tuple[StepPlan, ...], fault: Fault) -> None:
    """In whatever order its author puts it: `heal` checks every invariant of the simulator."""
    healing = heal(Any(steps=steps), fault=fault)

    assert healing.resolution in ("replaced", "set_aside")
    assert {"isolate"} <= set(healing.names)
