"""An account with a world in it, and our own way to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.providers.ec2.api import BotoApi
from tests.standins.aws import Aws, World, build


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Time passes as ours does; the environment leads to this AWS and to no other."""
    with Aws() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield build(aws)


@pytest.fixture
def api(world: World) -> Iterator[BotoApi]:
    """Return an API with little patience."""
    api = BotoApi(world.aws.region, patience=0.5)
    yield api
    api.close()
