"""What keeps a machine from ending: its attributes, and whether its disks would go with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from supervisor.providers.ec2.api import AwsNo
from supervisor.providers.ec2.instance import Instance
from supervisor.providers.ec2.scope import Scope

Flags: TypeAlias = Mapping[str, bool | str]
"""Attributes of an instance by AWS's names."""

TERMINATION, STOP, SHUTDOWN = "DisableApiTermination", "DisableApiStop", "InstanceInitiatedShutdownBehavior"

PROTECTED: Flags = {TERMINATION: True, STOP: True, SHUTDOWN: "stop"}
"""The last one counts too: no protection holds a guest that shuts itself down, if that means its end."""


def flags(scope: Scope, id: str, names: Iterable[str] = tuple(PROTECTED)) -> Flags:
    """Return attributes as they are. Raises `ReadError`."""
    return {name: _flag(scope, id, name) for name in names}


def protect(scope: Scope, machine: Instance, present: Flags) -> list[str]:
    """Have a machine and its disks stay, whatever anybody asks of the API; say what could not be had."""
    return put(scope, machine, PROTECTED, {disk.device: False for disk in machine.disks}, present)


def put(
    scope: Scope,
    machine: Instance,
    wanted: Flags,
    dying: Mapping[str, bool] = MappingProxyType({}),
    present: Flags | None = None,
) -> list[str]:
    """Give attributes and disks the wanted values, where they differ; say what AWS has not for such a machine.

    `present` are the attributes, where they were read already. Raises as reads and changes do.
    """
    notes = []
    present = flags(scope, machine.id, tuple(wanted)) if present is None else present
    for name, value in wanted.items():
        if present[name] == value:
            continue
        try:
            # AWS takes one attribute a call.
            scope.change("ec2", "ModifyInstanceAttribute", InstanceId=machine.id, **{name: {"Value": value}})
        except AwsNo as no:
            # A spot machine can be kept from nothing: AWS takes it back when it wants to.
            if not machine.spot and no.code not in ("UnsupportedOperation", "Unsupported"):
                raise
            notes.append(f"{name} can't be set ({no.code})")
    shown = {disk.device: disk.dies for disk in machine.disks}
    changed = {device: dies for device, dies in dying.items() if shown.get(device, dies) != dies}
    if changed:
        disks = [{"DeviceName": device, "Ebs": {"DeleteOnTermination": dies}} for device, dies in changed.items()]
        scope.change("ec2", "ModifyInstanceAttribute", InstanceId=machine.id, BlockDeviceMappings=disks)
    return notes


def _flag(scope: Scope, id: str, name: str) -> bool | str:
    asked = name[0].lower() + name[1:]
    answer = scope.api.read("ec2", "DescribeInstanceAttribute", InstanceId=id, Attribute=asked)
    value: bool | str = answer[name].get("Value", "stop" if name == SHUTDOWN else False)
    return value
