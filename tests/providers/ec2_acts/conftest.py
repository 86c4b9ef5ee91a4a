"""A bench for each test, and one for each table of faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.ec2_acts.bench import Bench, opened


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A fleet behind one target group, launched by us."""
    with opened(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A fleet of two whose machines belong to an Auto Scaling group."""
    with opened(tmp_path, monkeypatch, group_size=2) as found:
        found.aws.forward(200)
        found.aws.log.clear()
        yield found
