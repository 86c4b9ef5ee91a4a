"""Stories of images that do not boot: two failures, one control launch, and an answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from supervisor.core.model import Image, IncidentState
from supervisor.core.settings import Judgement
from supervisor.core.signals import Promote
from supervisor.core.terms import Standing
from supervisor.runtime.service import Service
from supervisor.sim.run import Stage, until
from supervisor.sim.world import World
from tests.scenarios.test_storms import proved, safe, told
from tests.stages import ask, calm, fleet, instances, launches, open_incidents, removals, settings, stage


def after_a_new_image() -> Stage:
    """Return a fleet that serves from img-1 and heals from img-2, which a person has promoted."""
    there = stage()

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(boot)
    there.settings = settings(replace(fleet(), image="img-2", version="2.0.0"))

    async def promote(service: Service, world: World) -> None:
        await asyncio.sleep(120)
        assert (await ask(service, Promote("web"))).ok

    there.live(promote)
    return there


def image(service: Service, name: str) -> Image:
    """Return an image's record."""
    return service.engine.ctx.world.need(Image, "web", name)


def test_an_image_that_does_not_boot_is_condemned_by_a_control_launch() -> None:
    """Two launches of it fail, one of the image before serves: that one is good again, and healing went on."""
    there = after_a_new_image()
    there.world.bad_images.add("img-2")

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(120)
        world.crash(instances(service)[0].id)
        await until(lambda: image(service, "img-2").standing is Standing.SUSPECT, 3600)
        await calm(service, world, 3600)
        assert Standing.CONDEMNED is image(service, "img-2").standing
        assert image(service, "img-1").last_known_good
        assert not image(service, "img-2").last_known_good
        await until(lambda: not service.engine.ctx.world.running["web"], 3600)
        refused = await ask(service, Promote("web"))
        assert not refused.ok
        assert "condemned" in refused.text
        assert "--absolve" in refused.text
        assert (await ask(service, Promote("web", absolve=True), "the base image was down")).ok
        assert Standing.GOOD is image(service, "img-2").standing
        assert image(service, "img-2").last_known_good

    there.live(story)
    assert ["img-2", "img-2", "img-1"] == [call.image for call in launches(there.world)[6:]]
    assert launches(there.world)[7].zone == launches(there.world)[8].zone
    assert len(told(there, "image.condemned")) == 1
    safe(there)


def test_when_the_control_fails_as_well_the_image_is_cleared_and_launching_stops() -> None:
    """The place is at fault: three launches in all, a human is asked, the sick one is left where it is."""
    there = after_a_new_image()
    there.settings = replace(there.settings, judgement=Judgement(boot_deadline=60.0))

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(120)
        world.boots_in = 86400.0
        world.crash(instances(service)[0].id)
        await until(lambda: image(service, "img-2").standing is Standing.CLEARED, 3 * 3600)
        [trouble] = open_incidents(service)
        assert IncidentState.ESCALATED is trouble.state
        assert any("not the image, but the place" in note.text for note in trouble.notes)
        await asyncio.sleep(600)

    there.live(story)
    assert ["img-2", "img-2", "img-1"] == [call.image for call in launches(there.world)[6:]]
    assert not [r for r in removals(there.world) if r.verb == "isolate"]


def test_without_an_earlier_image_launching_stops_and_people_are_told() -> None:
    """Two launches, then one try after half an hour; then the slot needs a human."""
    there = stage(settings(judgement=Judgement(boot_deadline=60.0)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        world.boots_in = 86400.0
        world.crash(instances(service)[0].id)
        await asyncio.sleep(2700)
        [trouble] = open_incidents(service)
        assert IncidentState.ESCALATED is trouble.state

    there.live(story)
    assert len(launches(there.world)) == 6 + 3
    assert len(told(there, "incident.launches_fail")) == 1
