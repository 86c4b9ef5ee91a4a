"""What a fleet is launched from: numbers and ids that can't move, or one clear sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from supervisor.core.machine import Placement
from supervisor.errors import CloudSilent, ProviderError
from supervisor.providers.ec2 import Ec2Options
from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.cloud import Ec2Cloud
from supervisor.providers.ec2.offer import offered
from tests.standins.aws import World, template_data
from tests.standins.aws.world import FLEET

pytestmark = pytest.mark.acceptance


def version(world: World, **changed: object) -> str:
    """Make another version of the template; "" takes a key away. Return its number."""
    data = {k: v for k, v in (template_data(world.image, world.serving) | changed).items() if v}
    made = world.aws.do("ec2", "CreateLaunchTemplateVersion", LaunchTemplateId=world.template, LaunchTemplateData=data)
    return str(made["LaunchTemplateVersion"]["VersionNumber"])


def changed(options: Ec2Options, **fields: object) -> Ec2Options:
    """Return other options."""
    return Ec2Options.model_validate(options.model_dump() | fields)


async def test_all_of_it_is_resolved(world: World, cloud: Ec2Cloud) -> None:
    """The default version is a number here, the image an id, each place a subnet in its zone."""
    offer = await cloud.offer()
    assert (world.image, "1.0.0") == (offer.image, offer.version)
    assert (("template", world.template), ("template_version", "1")) == offer.recipe
    assert tuple(Placement(z, (("subnet", s),)) for z, s in world.subnets.items()) == offer.placements
    assert set(world.aws.server.calls) == {"DescribeLaunchTemplateVersions", "DescribeImages", "DescribeSubnets"}


@pytest.mark.parametrize(("wanted", "expected"), [("$Default", "1"), ("$Latest", "2"), (2, "2"), (1, "1")])
def test_a_version_is_a_number(world: World, api: BotoApi, options: Ec2Options, wanted: object, expected: str) -> None:
    """Today's, for ever."""
    version(world)
    offer = offered(FLEET, changed(options, template_version=wanted), "", api)
    assert expected == dict(offer.recipe)["template_version"]


def test_types_come_before_places(world: World, api: BotoApi, options: Ec2Options) -> None:
    """The best type in all zones, then the next best."""
    offer = offered(FLEET, changed(options, types=("t3.small", "t3.micro")), "", api)
    found = [(place.zone[-1], dict(place.spec)["type"]) for place in offer.placements]
    assert [("a", "t3.small"), ("b", "t3.small"), ("a", "t3.micro"), ("b", "t3.micro")] == found


def image_is(state: str) -> Callable[[World, Ec2Options], Ec2Options]:
    """Give the image another state."""

    def broken(world: World, options: Ec2Options) -> Ec2Options:
        world.aws.set_image(world.image, state)
        return options

    return broken


def template_has(**data: object) -> Callable[[World, Ec2Options], Ec2Options]:
    """Give the template other data."""

    def broken(world: World, options: Ec2Options) -> Ec2Options:
        return changed(options, template_version=int(version(world, **data)))

    return broken


def golden_for(fleet: str) -> Callable[[World, Ec2Options], Ec2Options]:
    """Tag the image for a fleet."""

    def broken(world: World, options: Ec2Options) -> Ec2Options:
        world.aws.do("ec2", "CreateTags", Resources=[world.image], Tags=[{"Key": "sickbay:golden", "Value": fleet}])
        return options

    return broken


def deregistered(world: World, options: Ec2Options) -> Ec2Options:
    """Take the image away."""
    world.aws.do("ec2", "DeregisterImage", ImageId=world.image)
    return options


def options_say(**fields: object) -> Callable[[World, Ec2Options], Ec2Options]:
    """Configure something else."""
    return lambda _world, options: changed(options, **fields)


REFUSED: dict[str, tuple[Callable[[World, Ec2Options], Ec2Options], str]] = {
    "no such template": (
        options_say(launch_template="lt-0123456789abcdef0"),
        "launch template lt-0123456789abcdef0 in eu-central-1 is not there; set launch_template to one that is",
    ),
    "no such version": (options_say(template_version=9), "has no version 9; set template_version to one that it has"),
    "no such subnet": (options_say(subnets=("subnet-0123456789abcdef0",)), "set subnets to those that are"),
    "no image in the template": (template_has(ImageId=""), r"version 2 has no image; expected the id of an image"),
    "an alias for an image": (
        template_has(ImageId="resolve:ssm:/web/golden"),
        "has the image 'resolve:ssm:/web/golden'; expected the id of an image .* make a version that names one",
    ),
    "no type in the template": (template_has(InstanceType=""), "names no instance type; name one there, or set types"),
    "a pending image": (image_is("pending"), "is pending; expected available"),
    "a failed image": (image_is("failed"), "is failed; expected available"),
    "a disabled image": (image_is("disabled"), "is disabled; expected available"),
    "a deregistered image": (deregistered, "is not there"),
    "another fleet's image": (
        golden_for("db"),
        "is tagged sickbay:golden = 'db'; expected 'web': it is another fleet's",
    ),
}


@pytest.mark.parametrize(("broken", "sentence"), REFUSED.values(), ids=REFUSED)
async def test_what_can_not_be_launched_is_refused(
    world: World, api: BotoApi, options: Ec2Options, broken: Callable[[World, Ec2Options], Ec2Options], sentence: str
) -> None:
    """In one sentence: what was found, what was expected, what to do."""
    asked = broken(world, options)
    with pytest.raises(ProviderError, match=sentence) as caught:
        offered(FLEET, asked, "", api)
    assert "\n" not in str(caught.value)


def test_an_image_without_the_tag_is_anybodys(world: World, api: BotoApi, options: Ec2Options) -> None:
    """The tag is checked where it is."""
    world.aws.do("ec2", "DeleteTags", Resources=[world.image], Tags=[{"Key": "sickbay:golden"}])
    assert world.image == offered(FLEET, options, "", api).image


@pytest.mark.parametrize("action", ["DescribeLaunchTemplateVersions", "DescribeImages", "DescribeSubnets"])
@pytest.mark.parametrize("kind", ["500", "reset", "html", "xhtml", "truncated", "throttling"])
async def test_a_silent_cloud_is_no_wrong_configuration(world: World, cloud: Ec2Cloud, action: str, kind: str) -> None:
    """Another try may help: the last offer counts meanwhile."""
    world.aws.faults.add(action, kind, times=3)
    with pytest.raises(CloudSilent, match=f"ec2 {action} in eu-central-1"):
        await cloud.offer()


async def test_a_cloud_that_refuses_is_not_silent(world: World, cloud: Ec2Cloud) -> None:
    """A person must change something first."""
    world.aws.faults.add("DescribeImages", "error:UnauthorizedOperation")
    with pytest.raises(ProviderError, match="UnauthorizedOperation") as caught:
        await cloud.offer()
    assert not isinstance(caught.value, CloudSilent)
