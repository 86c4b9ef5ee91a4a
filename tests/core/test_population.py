"""Who shares what: kept with each edge, never recounted."""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Instance
from supervisor.core.population import Label, Population
from supervisor.core.signature import Pattern, Symptom
from supervisor.core.terms import Lifecycle

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SUBNET = Label("subnet", "a1")


def instance(id: str) -> Instance:
    """Return one that serves."""
    return Instance(id, "web", Lifecycle.IN_SERVICE, 0, "img-1", "1.0.0", "a", "", T0, T0)


def machine(id: str, state: MachineState = MachineState.RUNNING, subnet: str = "a1") -> Machine:
    """Return what its cloud shows."""
    labels = (("subnet", subnet),) if subnet else ()
    return Machine(id, "web", state, "a", "img-1", "1.0.0", "", labels=labels)


def test_one_that_is_over_is_still_counted_where_it_was() -> None:
    """A cloud shows a terminated machine without its subnet; the sick of that subnet are no fewer for it."""
    there = Population()
    for id in ("i-1", "i-2"):
        there.place(instance(id), machine(id))
    there.mark("i-1", Symptom(Pattern.UNREACHABLE), 1.0)
    there.place(instance("i-1"), machine("i-1", MachineState.TERMINATED, subnet=""))

    assert ["i-1", "i-2"] == list(there.carrying(SUBNET))
    assert {"i-1"} == there.sick_with(SUBNET)


def test_one_that_moves_is_counted_where_it_is_now() -> None:
    """Its symptom goes with it."""
    there = Population()
    there.place(instance("i-1"), machine("i-1"))
    there.mark("i-1", Symptom(Pattern.UNREACHABLE), 1.0)
    there.place(instance("i-1"), machine("i-1", subnet="a2"))

    assert not there.sick_with(SUBNET)
    assert {"i-1"} == there.sick_with(Label("subnet", "a2"))


def test_one_that_was_removed_while_sick_counts_for_a_while() -> None:
    """Whoever is carried out of a burning house has not left the fire."""
    there = Population()
    there.place(instance("i-1"), machine("i-1"))
    there.mark("i-1", Symptom(Pattern.UNREACHABLE), 100.0)
    there.leave("i-1")

    there.expire(900.0, 1000.0)
    assert 1 == there.counts().sick
    there.expire(900.0, 1001.0)
    assert (0, 0) == (there.counts().sick, there.counts().total)


def test_it_counts_what_would_be_if_some_were_sick() -> None:
    """Just those, whoever else is; and nothing of it stays."""
    there = Population()
    for id in ("i-1", "i-2", "i-3"):
        there.place(instance(id), machine(id, subnet="a1" if id != "i-3" else "b1"))
    there.mark("i-1", Symptom(Pattern.UNREACHABLE), 1.0)
    fails = Symptom(Pattern.ONE_CHECK, "page")
    counts = there.supposing({"i-2": fails, "i-3": fails, "a stranger": fails})

    assert (3, 2, {fails: 2}) == (counts.total, counts.sick, counts.symptoms)
    assert (2, 1) == next((g.total, g.sick) for g in counts.groups if g.label == SUBNET)
    assert ["i-1"] == list(there.sick)
