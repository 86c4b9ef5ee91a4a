"""A world on AWS, the options of its fleet, and the production's way to reach it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.permissions import policy
from tests.standins.aws import Aws, World, build
from tests.standins.aws.world import FLEET


@pytest.fixture
def world() -> Iterator[World]:
    """Time passes as ours does, so that a test moves it with `forward`."""
    with Aws() as aws:
        yield build(aws)


@pytest.fixture
def group() -> Iterator[World]:
    """The same, with an Auto Scaling group of two that serve."""
    with Aws() as aws:
        world = build(aws, group_size=2)
        aws.forward(aws.timing.launching)
        aws.forward(aws.timing.pending + aws.timing.booting)
        yield world


def options_of(world: World, **other: object) -> Ec2Options:
    """Return what config.toml would say of a world's fleet."""
    found: dict[str, object] = {
        "region": world.aws.region,
        "launch_template": world.template,
        "subnets": tuple(world.subnets.values()),
        "target_groups": (world.target_group,),
        "isolation_group": world.isolation,
        "untrack_group": world.untrack,
        "auto_scaling_group": world.group,
    }
    return Ec2Options.model_validate(found | other)


def bound(world: World, **other: object) -> World:
    """Bind the daemon to the policy of its fleet."""
    world.aws.policy = policy({FLEET: options_of(world, **other)}, world.aws.account)
    return world


@pytest.fixture
def api(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotoApi]:
    """Reach the world as the daemon does."""
    yield from reached(world, monkeypatch)


@pytest.fixture
def group_api(group: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotoApi]:
    """Reach the world with a group."""
    yield from reached(group, monkeypatch)


def reached(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotoApi]:
    """Yield production's API, pointed at a world."""
    for key, value in world.aws.environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    made = BotoApi(world.aws.region, patience=5.0)
    yield made
    made.close()
