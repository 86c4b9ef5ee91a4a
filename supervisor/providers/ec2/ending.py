"""The end of what is ours and no longer wanted: machines, and what they leave behind.

Every refusal comes before the first change. What may be ended says so by a tag, which IAM demands too.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from supervisor.core.requests import Done, Outcome, Sweep, Terminate
from supervisor.providers.ec2 import undo
from supervisor.providers.ec2.api import AwsDoubt, AwsLater, AwsNo, ReadError
from supervisor.providers.ec2.balancing import check_out
from supervisor.providers.ec2.evidence import snapshots
from supervisor.providers.ec2.instance import (
    DISPOSABLE,
    ID,
    Instance,
    check_not_held,
    check_ours,
    check_seen,
    find,
    look,
    ours,
)
from supervisor.providers.ec2.protection import PROTECTED, STOP, TERMINATION, put
from supervisor.providers.ec2.scope import FLEET, INSTANCE, STATE, Scope, not_yet, of_tags, refuse


def terminate(scope: Scope, request: Terminate) -> Outcome:
    """Destroy a machine that is marked, out of the load balancer and not held; its snapshots complete, or waived."""
    id = request.instance
    machine = look(scope, id)
    if machine is None:
        _check_absent(scope, id)
        return Done(instance=id, detail="it is gone already")
    check_ours(scope, id, machine.tags)
    if not machine.is_gone:
        check_out(scope, machine)
        if not request.waived:
            _check_copied(scope, id)
        # Looked at again right before: what was asked meanwhile may have taken time, and this can't be undone.
        machine = ours(scope, id)
    if not machine.is_gone:
        _check_marked(machine)
        _end(scope, machine)
    undo.forget(scope, id)
    return Done(instance=id, detail=f"waived by {request.waived}" if request.waived else "")


def _check_absent(scope: Scope, id: str) -> None:
    check_seen(scope, id)
    # By its id it is not there; a list that does not show it either settles it.
    if ID.fullmatch(id) and any(one.id == id for one in find(scope, {})):
        raise not_yet(f"AWS lists {id}, and does not know it by its id: not yet")


def _check_marked(machine: Instance) -> None:
    if machine.tag(STATE) not in DISPOSABLE:
        found = f'"{machine.tag(STATE)}"' if machine.tag(STATE) else "none"
        raise refuse(
            f"the tag {STATE} of {machine.id} is {found}, expected one of {', '.join(DISPOSABLE)}: mark it first"
        )
    check_not_held(machine.id, machine.tags)


def _check_copied(scope: Scope, id: str) -> None:
    for snapshot, state in snapshots(scope, {FLEET: scope.fleet, INSTANCE: id}):
        if state != "completed":
            raise refuse(f"snapshot {snapshot} of {id} is {state}, expected completed: wait for it, or waive it")


def _end(scope: Scope, machine: Instance) -> None:
    """Lift the protection and terminate, in one step; where AWS says no to the second, the first is taken back."""
    put(scope, machine, {TERMINATION: False, STOP: False})
    try:
        # One id a call: one that is protected would fail the others of its zone.
        scope.change("ec2", "TerminateInstances", InstanceIds=[machine.id])
    except AwsNo:
        with contextlib.suppress(AwsNo, AwsLater, AwsDoubt, ReadError):
            put(scope, machine, {TERMINATION: PROTECTED[TERMINATION], STOP: PROTECTED[STOP]})
        raise
    scope.until(
        lambda: True if (found := look(scope, machine.id)) is None or found.is_gone else None,
        f"{machine.id} is still shown as {machine.state}: not yet terminated",
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """What AWS calls a kind of leftover, and where its answers hold what we ask for."""

    describe: str
    items: str
    ids: str
    id: str
    tags: str
    state: str
    free: tuple[str, ...]
    delete: str
    unknown: tuple[str, ...]


KINDS = {
    "volume": Kind(
        "DescribeVolumes", "Volumes", "VolumeIds", "VolumeId", "Tags", "State", ("available", "error"), "DeleteVolume",
        ("InvalidVolume.NotFound",),
    ),
    "interface": Kind(
        "DescribeNetworkInterfaces", "NetworkInterfaces", "NetworkInterfaceIds", "NetworkInterfaceId", "TagSet",
        "Status", ("available",), "DeleteNetworkInterface", ("InvalidNetworkInterfaceID.NotFound",),
    ),
    "snapshot": Kind(
        "DescribeSnapshots", "Snapshots", "SnapshotIds", "SnapshotId", "Tags", "State", ("completed", "error"),
        "DeleteSnapshot", ("InvalidSnapshot.NotFound",),
    ),
}  # fmt: skip


def sweep(scope: Scope, request: Sweep) -> Outcome:
    """Destroy something that a machine of ours left behind: marked first, as IAM demands, then deleted."""
    id, kind = request.instance, KINDS.get(request.kind)
    if kind is None:
        raise refuse(f"{id} is a {request.kind!r}, expected one of {', '.join(KINDS)}")
    try:
        found = [
            one for one in scope.api.read("ec2", kind.describe, **{kind.ids: [id]})[kind.items] if one[kind.id] == id
        ]
    except ReadError as error:
        if error.code not in kind.unknown:
            raise
        found = []
    if not found or found[0][kind.state] == "deleting":
        return Done(instance=id, detail="it is gone already")
    tags = of_tags(found[0].get(kind.tags, []))
    check_ours(scope, id, tags)
    check_not_held(id, tags)
    if found[0][kind.state] not in kind.free:
        raise refuse(f"{id} is {found[0][kind.state]}, expected {kind.free[0]}: only what nobody uses is deleted")
    if request.kind == "snapshot" and (owner := look(scope, tags.get(INSTANCE, ""))) is not None and not owner.is_gone:
        raise refuse(f"{id} is a copy of {owner.id}, which is still there: it goes after its machine")
    scope.tag(id, {STATE: "expired"}, tags)
    try:
        scope.change("ec2", kind.delete, **{kind.id: id})
    except AwsNo as no:
        if no.code not in kind.unknown:
            raise
    return Done(instance=id)
