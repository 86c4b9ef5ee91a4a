"""`supervisor.testing.heal`: the author of a remediation sees what the production engine does with the plan."""

from __future__ import annotations

from typing import ClassVar

import pytest

from supervisor.api import Lifecycle, Plan, Remediation, StepPlan, Subject, Verb
from supervisor.errors import PluginError
from supervisor.testing import Did, Fault, heal


class Bounce(Remediation, kind="bounce"):
    """Restart, and nothing else; named steps."""

    removes: ClassVar[bool] = False

    def plan(self) -> Plan:
        """Return the steps."""
        return (
            StepPlan(Verb.RESTART, name="bounce"),
            StepPlan(Verb.WARM),
            StepPlan(Verb.REGISTER),
            StepPlan(Verb.CONFIRM),
        )


def test_the_steps_are_told_in_their_order_with_what_came_of_each() -> None:
    """By the names that their author gave them, in seconds since the fault."""
    healing = heal(Bounce(), fault=Fault.CRASH)
    first = healing.steps[0]

    assert ("restarted", ["bounce", "warm", "register", "confirm"]) == (healing.resolution, healing.names)
    assert Did("bounce", Verb.RESTART, Subject.PATIENT, "done", "", first.seconds) == first
    assert 0 < first.seconds < healing.steps[-1].seconds < healing.seconds < 120
    assert () == healing.held
    assert 5 == healing.served
    assert healing.story[-1].endswith("serves again")


def test_what_the_cloud_refuses_leads_to_the_next_rung() -> None:
    """A built-in rung is called by its kind."""
    healing = heal(Bounce(), "replace", refused=[Verb.RESTART])
    refused = healing.steps[0]

    assert ("bounce", "failed", "the test says no") == (refused.name, refused.result, refused.why)
    assert "replaced" == healing.resolution
    assert "isolate" == healing.names[-1]


def test_a_rung_that_does_not_help_and_is_the_last_needs_a_human() -> None:
    """The incident stays open; the story says why."""
    healing = heal(Bounce(), stubborn=True)

    assert "" == healing.resolution
    assert "needs a human: bounce failed: not ready after 600s" in healing.story[-1]


def test_a_guard_that_holds_is_told_with_value_and_threshold() -> None:
    """Of two that fall sick together nobody is touched before it is clear that they are not sick of one cause."""
    healing = heal(Bounce(), machines=4, sick=2)

    assert "restarted" == healing.resolution
    assert ["explanation"] == [sentence.partition(":")[0] for sentence in healing.held]
    assert "needs its own fault at 90 % or more" in healing.held[0]


class Endless(Remediation, kind="endless"):
    """A plan that its author got wrong, each time in another way."""

    wrong: str = ""
    starts_from: ClassVar[frozenset[Lifecycle]] = frozenset({Lifecycle.QUARANTINED})

    def plan(self) -> Plan:
        """Return something."""
        match self.wrong:
            case "raises":
                raise KeyError("nothing")
            case "a list":
                return [StepPlan(Verb.ISOLATE)]  # type: ignore[return-value]  # what a type checker would have said
            case "dice":
                return (StepPlan(Verb.ISOLATE, name=str(id(object())) + str(len(DICE) or DICE.append(1))),)  # type: ignore[func-returns-value]  # counts its calls
            case _:
                return (StepPlan(Verb.ISOLATE),)


DICE: list[int] = []
WRONG = {
    "raises": "makes no plan: KeyError: 'nothing' (line ",
    "a list": "plan() returned list, expected a tuple of StepPlan",
    "dice": "plans otherwise each time",
    "": "`starts_from` goes beyond in_service, probation, withdrawn",
}


@pytest.mark.parametrize("row", WRONG)
def test_what_sickbay_would_not_load_is_said_here_already(row: str) -> None:
    """The same sentence as in `sickbay validate`."""
    with pytest.raises(PluginError) as caught:
        heal(Endless(wrong=row))

    assert str(caught.value).startswith("the remediation 'endless'")
    assert WRONG[row] in str(caught.value)


def test_a_rung_that_nobody_knows_is_named() -> None:
    """With those that are there."""
    with pytest.raises(PluginError, match="there is no remediation 'replce'; known: quarantine, replace, restart"):
        heal("replce")
