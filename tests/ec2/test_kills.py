"""SIGKILL at the daemon's calls to AWS: a sample that meets each call once. `make kills` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ec2.kills import Plan, sample, tell, tell_all

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

RUNS = 5
JOBS = 3


def test_wherever_the_daemon_is_killed_one_machine_replaces_one(tmp_path: Path) -> None:
    """Each call is once the place of a kill, with the world changed meanwhile; afterwards every invariant holds."""
    clean = tell(Plan(()), tmp_path)
    assert clean.is_well, str(clean)
    told = tell_all(sample(len(clean.actions), RUNS), JOBS)

    assert all(tale.is_well for tale in told), "\n".join(map(str, told))
    assert len(clean.actions) - RUNS <= sum(len(tale.killed_at) for tale in told)
