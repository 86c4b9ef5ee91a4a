"""SIGKILL at the daemon's calls to AWS: a sample that meets each call once. `make kills` runs all of them."""

from __future__ import annotations

import pytest

from tests.ec2.kills import Plan, sample, sequels, tell_all

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

CALLS = {"": 15, "release": 21, "end": 19}
"""How many a tale takes when nobody is killed, by its sequel."""
RUNS = 5


def test_wherever_the_daemon_is_killed_one_machine_replaces_one() -> None:
    """Each call is once the place of a kill, with the world changed meanwhile; afterwards every invariant holds."""
    clean, *told = tell_all([Plan(()), *sample(CALLS[""], RUNS)], jobs=RUNS + 1)

    assert all(tale.is_well for tale in (clean, *told)), "\n".join(map(str, (clean, *told)))
    assert CALLS[""] == len(clean.actions), f"the tale has other calls now, set CALLS: {clean.actions}"
    assert CALLS[""] == sum(len(tale.killed_at) for tale in told)


def test_wherever_it_is_killed_a_quarantine_ends_as_it_was_asked_to() -> None:
    """Released as it was, or ended for good: the calls of both are each once the place of a kill."""
    first = CALLS[""]
    own = {name: count for name, count in CALLS.items() if name}
    told = tell_all(sequels(own, first), jobs=len(own))

    assert all(tale.is_well for tale in told), "\n".join(map(str, told))
    assert {name: count - first for name, count in own.items()} == {t.plan.sequel: len(t.killed_at) for t in told}
