"""One instance as AWS shows it to an act: whose it is, what hangs on it, and whether it is set aside."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.providers.ec2.api import Answer, ReadError
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.scope import FLEET, HOLD, STATE, Scope, not_yet, of_tags, refuse

ID = re.compile(r"i-[0-9a-f]{8,17}")
UNKNOWN = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
ASIDE = ("quarantined", "expired")
DISPOSABLE = ("expired", "failed-candidate", "retired")
SHOWN_AFTER = 300.0  # seconds that AWS may take to show a new instance
REMEMBERED = 86_400.0  # seconds that a launch's note is kept


@dataclass(frozen=True, slots=True)
class Card:
    """A network interface and its security groups."""

    id: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume on its device; `dies` says that it goes with the machine."""

    device: str
    volume: str
    dies: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """What an act needs to know; `answer` is all that AWS said."""

    id: str
    state: str
    type: str
    zone: str
    spot: bool
    tags: Mapping[str, str]
    cards: tuple[Card, ...]
    disks: tuple[Disk, ...]
    answer: Answer

    @classmethod
    def of(cls, shown: Answer) -> Instance:
        """Read one entry of DescribeInstances."""
        cards = (
            Card(card["NetworkInterfaceId"], tuple(sorted(group["GroupId"] for group in card.get("Groups", []))))
            for card in shown.get("NetworkInterfaces", [])
        )
        disks = (
            Disk(disk["DeviceName"], disk["Ebs"]["VolumeId"], bool(disk["Ebs"].get("DeleteOnTermination")))
            for disk in shown.get("BlockDeviceMappings", [])
            if "Ebs" in disk
        )
        return cls(
            id=shown["InstanceId"],
            state=shown["State"]["Name"],
            type=shown.get("InstanceType", ""),
            zone=shown.get("Placement", {}).get("AvailabilityZone", ""),
            spot=shown.get("InstanceLifecycle") == "spot",
            tags=of_tags(shown.get("Tags", [])),
            cards=tuple(cards),
            disks=tuple(disks),
            answer=shown,
        )

    def tag(self, name: str) -> str:
        """Return a tag's value, or ''."""
        return self.tags.get(name, "")

    @property
    def is_gone(self) -> bool:
        """Terminated, or on its way there."""
        return self.state in ("shutting-down", "terminated")

    def is_aside(self, options: Ec2Options) -> bool:
        """Isolated, also half-way, or said to be."""
        return self.tag(STATE) in ASIDE or any(is_cut(card, options) for card in self.cards)

    def is_isolated(self, options: Ec2Options) -> bool:
        """Whether every interface carries the isolation group and nothing else."""
        return all(card.groups == (options.isolation_group,) for card in self.cards)


def is_cut(card: Card, options: Ec2Options) -> bool:
    """Whether an interface carries a group that only isolating gives it, so that its groups aren't its own."""
    return bool({options.isolation_group, options.untrack_group} & set(card.groups))


def look(scope: Scope, id: str) -> Instance | None:
    """Return an instance, anybody's; None when AWS says that there is none. Raises `ReadError`."""
    if not ID.fullmatch(id):
        return None
    try:
        answer = scope.api.read("ec2", "DescribeInstances", InstanceIds=[id])
    except ReadError as error:
        if error.code in UNKNOWN:
            return None
        raise
    found = [one for reservation in answer["Reservations"] for one in reservation["Instances"]]
    return next((Instance.of(one) for one in found if one["InstanceId"] == id), None)


def find(scope: Scope, filters: Mapping[str, str]) -> list[Instance]:
    """Return the instances that fit all filters; none given, all of the region's. Raises `ReadError`."""
    wanted: dict[str, Any] = {"MaxResults": 1000}  # Any: parameters of a call
    if filters:
        wanted["Filters"] = [{"Name": name, "Values": [value]} for name, value in filters.items()]
    shown = scope.api.pages("ec2", "DescribeInstances", "Reservations", **wanted)
    return [Instance.of(one) for reservation in shown for one in reservation["Instances"]]


def ours(scope: Scope, id: str) -> Instance:
    """Return an instance of our fleet. Raises `Halt` when there is none or it is somebody else's, and `ReadError`."""
    found = look(scope, id)
    if found is None:
        check_seen(scope, id)
        raise refuse(f"there is no machine {id}")
    check_ours(scope, id, found.tags)
    return found


def alive(scope: Scope, id: str) -> Instance:
    """Return an instance of our fleet that is not terminated. Raises as `ours` does."""
    found = ours(scope, id)
    if found.is_gone:
        raise refuse(f"there is no machine {id} any more: it is {found.state}")
    return found


def check_ours(scope: Scope, id: str, tags: Mapping[str, str]) -> None:
    """Raise `Halt` unless the tags say that something belongs to our fleet."""
    owner = tags.get(FLEET, "")
    if owner != scope.fleet:
        found = f"belongs to fleet {owner}" if owner else f"carries no tag {FLEET}"
        raise refuse(f"{id} {found}, expected {scope.fleet}: what is not of this fleet is never touched")


def check_not_held(id: str, tags: Mapping[str, str]) -> None:
    """Raise `Halt` where a person has written that something must stay."""
    if HOLD in tags:
        why = f" ({tags[HOLD]})" if tags[HOLD] else ""
        raise refuse(f"{id} carries the tag {HOLD}{why}: remove the tag to let it go")


# -- AWS shows a new instance late: an id that a launch answered is "not yet" for a while, never "not there"


def remember_launch(scope: Scope, id: str) -> None:
    """Note when an id was answered. Raises `OSError`."""
    note = scope.note("launched", id)
    note.touch()
    for other in note.parent.iterdir():
        if time.time() - other.stat().st_mtime > REMEMBERED:
            other.unlink(missing_ok=True)


def check_seen(scope: Scope, id: str) -> None:
    """Raise `Halt` for an id that AWS answered so short a time ago that it need not show it yet."""
    note = scope.folder / "launched" / id
    if ID.fullmatch(id) and note.exists() and time.time() - note.stat().st_mtime < SHOWN_AFTER:
        raise not_yet(f"{id} was launched less than {SHOWN_AFTER / 60:.0f} minutes ago and is not shown yet")
