"""An account of AWS with a world in it, for each test anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.standins.aws import Aws, World, build


@pytest.fixture
def world() -> Iterator[World]:
    """Time passes as ours does, so that a test moves it with `forward`."""
    with Aws() as aws:
        yield build(aws)


@pytest.fixture
def fast() -> Iterator[World]:
    """Fifty of AWS's seconds pass in one of ours: for what waits for real probes."""
    with Aws(rate=50) as aws:
        yield build(aws)


@pytest.fixture
def ec2(world: World) -> Any:
    """Return EC2 as the daemon reaches it."""
    return world.aws.client("ec2")
