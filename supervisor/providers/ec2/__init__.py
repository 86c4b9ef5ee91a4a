"""The provider `ec2`: machines on AWS, launched from a launch template, behind target groups of a load balancer.

    options   the table [fleet.NAME.ec2]
    api       calls AWS: explicit limits, no retries of mutations, every outcome in one of four
    region    what all fleets of one region share: one describe for all of them, the rate limits
    seen      AWS's answers as machines
    offer     what is launched: the template's version as a number, its image, the places
    acts      what is done to machines, each act as small idempotent calls
    cloud     the `Cloud` port over all this, in threads of its own

    permissions  what each act needs of IAM, and the least policy for a configuration
    preflight    a look at everything the fleet stands on, before it is healed
    trials       what the credentials permit, tried without any effect

boto3 is an extra (`pip install 'sickbay[ec2]'`): nothing here imports it before a fleet of this kind is opened.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from supervisor.core.machine import Offer
from supervisor.errors import ProviderError
from supervisor.ports import Cloud, Finding, Provider
from supervisor.providers.ec2.options import Ec2Options

__all__ = ["PROVIDER", "Ec2Options", "Ec2Provider"]


class Ec2Provider:
    """Fleets on AWS."""

    kind: ClassVar[str] = "ec2"
    Options: ClassVar[type[BaseModel]] = Ec2Options

    @classmethod
    def second_class(cls, options: Ec2Options) -> bool:  # noqa: ARG003  # the port
        """AWS's own status checks speak for every machine."""
        return True

    @classmethod
    def group(cls, options: Ec2Options) -> str:
        """Return the Auto Scaling group that launches and registers; '' when we do."""
        return options.auto_scaling_group

    @classmethod
    def balanced(cls, options: Ec2Options) -> bool:
        """Return whether a load balancer says who serves."""
        return bool(options.target_groups or options.auto_scaling_group)

    @classmethod
    def hourly_price(cls, options: Ec2Options) -> float:
        """Return what one machine costs an hour; 0 when nobody has said."""
        return options.hourly_price

    @classmethod
    def preflight(cls, fleet: str, options: Ec2Options, steps: Collection[str]) -> Sequence[Finding]:
        """Look at everything that the fleet stands on. Raises `ProviderError`, `CloudSilent`."""
        if importlib.util.find_spec("boto3") is None:
            raise ProviderError("boto3 is not installed, and nothing can be asked of AWS; pip install 'sickbay[ec2]'")
        from supervisor.providers.ec2.api import BotoApi  # noqa: PLC0415  # boto3 is an extra
        from supervisor.providers.ec2.permissions import verbs  # noqa: PLC0415  # needed here only
        from supervisor.providers.ec2.preflight import preflight  # noqa: PLC0415  # as above

        api = BotoApi(options.region, options.profile)
        try:
            return preflight(fleet, options, api, verbs(steps))
        finally:
            api.close()

    @classmethod
    def offline(cls, options: Ec2Options, version: str) -> Offer | None:  # noqa: ARG003  # the port
        """Return None: what a template's version is today, AWS alone knows."""
        return None

    @classmethod
    def open(cls, fleet: str, options: Ec2Options, version: str, state: Path, uid: str) -> Cloud:
        """Open one fleet. Nothing is asked of AWS yet. Raises `ProviderError` where boto3 is missing."""
        from supervisor.providers.ec2.cloud import Ec2Cloud  # noqa: PLC0415  # boto3 is an extra

        return Ec2Cloud.open(fleet, options, version, state, uid)


PROVIDER: type[Provider] = Ec2Provider
