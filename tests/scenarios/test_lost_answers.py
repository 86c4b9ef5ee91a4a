"""Stories of answers that come long after their effect has been seen."""

from __future__ import annotations

from supervisor.core.requests import Register, Request
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Life
from supervisor.sim.run import until
from supervisor.sim.world import World
from tests.stages import calm, fleet, instances, settings, stage


def test_a_machine_seen_in_its_place_before_the_answer_comes_counts_as_serving() -> None:
    """The cloud shows it registered and healthy for minutes already: the answer then changes nothing to be seen."""
    there = stage(settings(fleet(1)))
    lost = 7  # the same request after 2, 4, 8, 16, … seconds: for minutes the cloud shows it in its place

    def lose(request: Request) -> bool:
        nonlocal lost
        if isinstance(request, Register) and lost:
            lost -= 1
            return True
        return False

    def make(world: World, name: str, life: Life) -> FakeCloud:
        return FakeCloud(world, name, life, lose=lose)

    there.make_cloud = make

    async def story(service: Service, world: World) -> None:
        await until(lambda: len(instances(service, Lifecycle.PROBATION)) == 1, 600)
        await calm(service, world, 60)
        assert 1 == service.engine.ctx.fleets["web"].serving
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 1, 3600)

    there.live(story)
    assert 0 == lost
