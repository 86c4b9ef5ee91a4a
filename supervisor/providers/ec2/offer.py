"""What a fleet is launched from: the template's version as a number, its image, the places. Blocking: runs in a thread.

`$Default` and `$Latest` move, and one launch token must always mean the same machine: so they are resolved here, once.
"""

from __future__ import annotations

import structlog

from supervisor.core.machine import Offer, Placement
from supervisor.core.requests import Words
from supervisor.errors import ProviderError
from supervisor.providers.ec2.api import Answer, Api, ReadError
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.region import tag_of

log = structlog.get_logger()

GOLDEN = "sickbay:golden"


def offered(fleet: str, options: Ec2Options, version: str, api: Api) -> Offer:
    """Return what is launched now, all of it checked to be there. Raises `ProviderError` in one clear sentence."""
    template = _template(options, api)
    number, data = str(template["VersionNumber"]), template.get("LaunchTemplateData", {})
    named = f"launch template {options.launch_template}, version {number}"
    image = str(data.get("ImageId", ""))
    if not image.startswith("ami-"):
        raise ProviderError(
            f"{named} has {f'the image {image!r}' if image else 'no image'}; expected the id of an image (ami-…): "
            "an alias may mean another image tomorrow, so make a version that names one"
        )
    _check_image(fleet, image, named, api)
    if not options.types and not options.auto_scaling_group and not data.get("InstanceType"):
        raise ProviderError(f"{named} names no instance type; name one there, or set types")
    recipe: Words = (("template", options.launch_template), ("template_version", number))
    return Offer(image, version, recipe, _placements(options, api))


def _template(options: Ec2Options, api: Api) -> Answer:
    wanted = str(options.template_version)
    named = f"launch template {options.launch_template} in {options.region}"
    try:
        found: list[Answer] = api.read(
            "ec2",
            "DescribeLaunchTemplateVersions",
            LaunchTemplateId=options.launch_template,
            Versions=[wanted],
        ).get("LaunchTemplateVersions", [])
    except ReadError as error:
        if error.code.startswith("InvalidLaunchTemplateId"):
            if "Version" in error.code:
                raise ProviderError(
                    f"{named} has no version {wanted}; set template_version to one that it has"
                ) from error
            raise ProviderError(f"{named} is not there; set launch_template to one that is") from error
        raise
    if len(found) != 1:
        raise ProviderError(f"{named} has no version {wanted}; set template_version to one that it has")
    return found[0]


def _check_image(fleet: str, image: str, named: str, api: Api) -> None:
    try:
        found: list[Answer] = api.read(
            "ec2", "DescribeImages", ImageIds=[image], IncludeDeprecated=True, IncludeDisabled=True
        ).get("Images", [])
    except ReadError as error:
        if not error.code.startswith("InvalidAMIID"):
            raise
        found = []
    if not found:
        raise ProviderError(f"image {image} of {named} is not there (deregistered, or not shared with this account)")
    state = str(found[0].get("State", ""))
    if state != "available":
        raise ProviderError(f"image {image} of {named} is {state}; expected available: nothing can be launched from it")
    golden = tag_of(found[0], GOLDEN)
    if golden is not None and golden != fleet:
        raise ProviderError(
            f"image {image} of {named} is tagged {GOLDEN} = {golden!r}; expected {fleet!r}: it is another fleet's"
        )
    if deprecated := str(found[0].get("DeprecationTime", "")):
        log.warning("ec2.image_deprecated", fleet=fleet, image=image, since=deprecated)


def _placements(options: Ec2Options, api: Api) -> tuple[Placement, ...]:
    try:
        shown: list[Answer] = api.read("ec2", "DescribeSubnets", SubnetIds=list(options.subnets)).get("Subnets", [])
    except ReadError as error:
        if not error.code.startswith("InvalidSubnetID"):
            raise
        raise ProviderError(
            f"a subnet is not there in {options.region}: {error}; set subnets to those that are"
        ) from error
    zones = {str(subnet["SubnetId"]): str(subnet["AvailabilityZone"]) for subnet in shown}
    missing = [subnet for subnet in options.subnets if subnet not in zones]
    if missing:
        raise ProviderError(f"{', '.join(missing)} is not there in {options.region}; set subnets to those that are")
    return tuple(
        Placement(zones[subnet], (("subnet", subnet), *((("type", type),) if type else ())))
        for type in options.types or ("",)
        for subnet in options.subnets
    )
