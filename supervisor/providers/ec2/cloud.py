"""The `Cloud` port of a fleet on AWS: what the region's fleets see together, one fleet's part of it, and its acts."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from supervisor.core.machine import Leftover, LeftoverKind, Machine, Offer
from supervisor.core.requests import Outcome, Request, Unclear
from supervisor.errors import CloudSilent, ProviderError
from supervisor.providers.ec2.api import Answer, ReadError
from supervisor.providers.ec2.offer import offered
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.region import PAGE, Region, tag_of
from supervisor.providers.ec2.scope import FLEET, HOLD, INSTANCE
from supervisor.providers.ec2.seen import machines

MOST_LINES = 10_000
NO_CONSOLE = ("InvalidInstanceID", "UnsupportedOperation", "IncorrectInstanceState")


class Performer(Protocol):
    """Whoever carries requests out."""

    def perform(self, request: Request) -> Outcome:
        """Carry out one request; blocking, never raises."""
        ...


class Ec2Cloud:
    """One fleet on AWS. Machines live on when it is closed.

    A cancelled wait does not end the thread behind it: the act goes on, and its answer is dropped. Whoever cancels
    must take it for unclear.
    """

    def __init__(self, fleet: str, options: Ec2Options, version: str, region: Region, acts: Performer) -> None:
        """Take part in a region that counts this fleet already."""
        self.fleet = fleet
        self.options = options
        self.version = version
        self._region = region
        self._acts = acts
        self._is_closed = False
        self._first_seen: dict[str, datetime] = {}

    @classmethod
    def open(cls, fleet: str, options: Ec2Options, version: str, state: Path, uid: str) -> Ec2Cloud:  # noqa: ARG003  # the port
        """Open a fleet. Nothing is asked of AWS yet. Raises `ProviderError` where boto3 is missing."""
        if importlib.util.find_spec("boto3") is None:
            raise ProviderError(f"fleet {fleet} is on AWS, and boto3 is not installed: pip install 'sickbay[ec2]'")
        from supervisor.providers.ec2.acts import Acts  # noqa: PLC0415  # only a fleet that is opened acts

        region = Region.open(options.region, options.profile)
        return cls(fleet, options, version, region, Acts(fleet, options, region.api, state / "ec2" / fleet))

    async def offer(self) -> Offer:
        """Return what the fleet is launched from now, resolved. Raises `ProviderError`; `CloudSilent` when AWS is."""
        try:
            offer = await self._region.reading(offered, self.fleet, self.options, self.version, self._region.api)
        except ReadError as error:
            if error.is_no:
                raise
            raise CloudSilent(str(error)) from error
        self._region.zones.update(offer.zones)
        return offer

    async def inventory(self) -> Sequence[Machine]:
        """Return every machine of the fleet, those that ended in the last hour included. Raises `ProviderError`."""
        return machines(await self._region.look(self.fleet, self.options), self.fleet, self.options)

    async def leftovers(self) -> Sequence[Leftover]:
        """Return volumes and interfaces that nobody uses, and snapshots of machines that are gone. Raises `ProviderError`.

        A snapshot of a machine that is still shown is its evidence, and goes with it.
        """
        # The machines come last: one that ends meanwhile keeps its snapshots for another round.
        found = await self._region.reading(self._leftovers)
        shown = {machine.id for machine in await self.inventory()}
        return [one for one in found if one.kind is not LeftoverKind.SNAPSHOT or one.instance not in shown]

    async def perform(self, request: Request) -> Outcome:
        """Carry out one request. Running it twice has the effect of once; it never raises for a no."""
        try:
            return await self._region.acting(self._acts.perform, request)
        except RuntimeError as error:  # closed: nothing was begun, and the journal will replay it
            return Unclear(f"{request.verb}: {error}")

    async def logs(self, instance: str, lines: int) -> Sequence[str]:
        """Return the last lines of an instance's console; empty where there is none. Raises `ProviderError`."""
        return await self._region.reading(self._console, instance, min(lines, MOST_LINES))

    async def close(self) -> None:
        """Let go of the region; machines live on."""
        if not self._is_closed:
            self._is_closed = True
            self._region.close()

    # ------------------------------------------------------------------------------------------ in threads

    def _leftovers(self) -> list[Leftover]:
        ours = [{"Name": f"tag:{FLEET}", "Values": [self.fleet]}]
        free = [*ours, {"Name": "status", "Values": ["available"]}]
        pages = self._region.api.pages
        volumes = pages("ec2", "DescribeVolumes", "Volumes", Filters=free, MaxResults=PAGE // 2)
        cards = pages("ec2", "DescribeNetworkInterfaces", "NetworkInterfaces", Filters=free, MaxResults=PAGE)
        snapshots = pages("ec2", "DescribeSnapshots", "Snapshots", Filters=ours, OwnerIds=["self"], MaxResults=PAGE)
        return [
            *(self._leftover(v, LeftoverKind.VOLUME, str(v["VolumeId"]), v.get("CreateTime")) for v in volumes),
            *(self._leftover(c, LeftoverKind.INTERFACE, str(c["NetworkInterfaceId"]), None) for c in cards),
            *(self._leftover(s, LeftoverKind.SNAPSHOT, str(s["SnapshotId"]), s.get("StartTime")) for s in snapshots),
        ]

    def _leftover(self, shown: Answer, kind: LeftoverKind, id: str, since: datetime | None) -> Leftover:
        # An interface calls its tags by another name, and does not say since when it is there: since we saw it, then.
        tagged = {"Tags": shown.get("Tags") or shown.get("TagSet") or []}
        hold = tag_of(tagged, HOLD)
        return Leftover(
            id=id,
            fleet=self.fleet,
            kind=kind,
            instance=tag_of(tagged, INSTANCE) or "",
            created_at=since or self._first_seen.setdefault(id, datetime.now(UTC)),
            held="" if hold is None else hold or f"tag {HOLD}",
        )

    def _console(self, instance: str, lines: int) -> Sequence[str]:
        shown = self._read_instance(instance)
        if shown is None or tag_of(shown, FLEET) != self.fleet:
            return ()
        text = self._output(instance, latest=True)
        if text is None:  # only Nitro machines show what they wrote a moment ago
            text = self._output(instance, latest=False)
        return tuple((text or "").splitlines()[-lines:]) if lines > 0 else ()

    def _read_instance(self, instance: str) -> Answer | None:
        filters = [{"Name": "instance-id", "Values": [instance]}]
        pages = self._region.api.pages("ec2", "DescribeInstances", "Reservations", Filters=filters)
        return next((shown for reservation in pages for shown in reservation["Instances"]), None)

    def _output(self, instance: str, *, latest: bool) -> str | None:
        """Return the console's text; None where this kind of machine has none of this kind."""
        asked = {"Latest": True} if latest else {}
        try:
            answer = self._region.api.read("ec2", "GetConsoleOutput", InstanceId=instance, **asked)
        except ReadError as error:
            if error.code.startswith(NO_CONSOLE):
                return None
            raise
        return str(answer.get("Output") or "")  # botocore has decoded it
