"""An account with a world in it, and our own way to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.providers.ec2 import Ec2Options
from supervisor.providers.ec2.acts import Acts
from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.buckets import PACES, Buckets
from supervisor.providers.ec2.cloud import Ec2Cloud
from supervisor.providers.ec2.region import Region
from tests.standins.aws import Aws, World, build
from tests.standins.aws.world import FLEET


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
    """Return an API with little patience, and without limits of its own."""
    api = BotoApi(world.aws.region, patience=1.0, buckets=Buckets(dict.fromkeys(PACES, (1e6, 1e6))))
    yield api
    api.close()


@pytest.fixture
def options(world: World) -> Ec2Options:
    """Return what a configuration says of the world's fleet."""
    return Ec2Options(
        region=world.aws.region,
        launch_template=world.template,
        subnets=tuple(world.subnets.values()),
        target_groups=(world.target_group,),
        isolation_group=world.isolation,
        untrack_group=world.untrack,
    )


@pytest.fixture
def region(world: World, api: BotoApi) -> Iterator[Region]:
    """Return the region with little patience."""
    region = Region(world.aws.region, "", api)
    yield region
    region.close()


@pytest.fixture
def cloud(region: Region, options: Ec2Options, tmp_path: Path) -> Ec2Cloud:
    """Return the fleet's cloud."""
    return Ec2Cloud(FLEET, options, "1.0.0", region, Acts(FLEET, options, region.api, tmp_path))
