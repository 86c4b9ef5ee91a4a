"""What people need to understand a fault: captures in the state folder, snapshots at AWS. Found by their token."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from supervisor.core.requests import Capture, Done, Outcome
from supervisor.errors import ProviderError
from supervisor.files import sync_folder, write_durably
from supervisor.providers.ec2.api import THROTTLING, AwsLater, AwsNo, ReadError
from supervisor.providers.ec2.instance import Instance, ours
from supervisor.providers.ec2.protection import flags
from supervisor.providers.ec2.scope import CAPTURE, FLEET, INSTANCE, Scope, as_tags, short
from supervisor.providers.ec2.undo import secure

BUSY = ("ConcurrentSnapshotLimitExceeded", "SnapshotCreationPerVolumeRateExceeded")


def capture(scope: Scope, request: Capture) -> Outcome:
    """Keep what can be seen of a machine, unless this token did before; then protect the machine itself.

    Raises `OSError`, and as reads and changes do.
    """
    machine = ours(scope, request.instance)
    folder = scope.note("captures", f"{machine.id}-{short(request.token)}")
    if not folder.exists():
        _keep(scope, machine, request.token, folder)
    notes = [] if machine.is_gone else secure(scope, machine)
    return Done(instance=machine.id, detail="; ".join([str(folder), *notes]))


def _keep(scope: Scope, machine: Instance, token: str, folder: Path) -> None:
    """Write all parts beside the folder's place, and put it there whole."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    read, id = scope.api.read, machine.id
    facts: dict[str, object] = {
        "token": token,
        "at": datetime.now(UTC).isoformat(),
        "instance": machine.answer,
        "status": _seen(
            lambda: read("ec2", "DescribeInstanceStatus", InstanceIds=[id], IncludeAllInstances=True)[
                "InstanceStatuses"
            ]
        ),
        "attributes": _seen(lambda: dict(flags(scope, id))),
        "targets": {
            arn: _seen(lambda arn=arn: _targets(scope, arn, id))  # type: ignore[misc]  # a lambda's default has no type
            for arn in scope.options.target_groups
        },
    }
    write_durably(part / "machine.json", json.dumps(facts, indent=1, default=str))
    write_durably(part / "console.txt", str(_seen(lambda: console(scope, id))))
    os.replace(part, folder)
    sync_folder(folder.parent)


def console(scope: Scope, id: str) -> str:
    """Return a machine's console: the present one where its kind has that, else what AWS kept. Raises `ReadError`."""
    try:
        return str(scope.api.read("ec2", "GetConsoleOutput", InstanceId=id, Latest=True).get("Output", ""))
    except ReadError as error:
        if error.code not in ("UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue"):
            raise
    return str(scope.api.read("ec2", "GetConsoleOutput", InstanceId=id).get("Output", ""))


def _targets(scope: Scope, arn: str, id: str) -> list[object]:
    shown = scope.api.read("elbv2", "DescribeTargetHealth", TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [one for one in shown if one["Target"]["Id"] == id]


def _seen(look: Callable[[], object]) -> object:
    """Return what a look shows; where it shows nothing, the reason: one missing piece must not cost all others."""
    try:
        return look()
    except ReadError as error:
        if error.code in THROTTLING:
            raise  # a later try sees it
        return f"not seen: {error}"


# -- snapshots


def snapshot(scope: Scope, machine: Instance, token: str) -> list[str]:
    """Begin a snapshot of all disks, unless this token did; say why not, where AWS won't. Their end is not waited for.

    Raises `AwsLater` while AWS is busy with others, and as reads and changes do.
    """
    wanted = {FLEET: scope.fleet, INSTANCE: machine.id, CAPTURE: short(token)}
    if not scope.options.snapshot or not machine.disks:
        return []
    if any(state != "error" for _, state in snapshots(scope, wanted)):
        return []
    try:
        scope.change(
            "ec2",
            "CreateSnapshots",
            InstanceSpecification={"InstanceId": machine.id},
            Description=f"sickbay: {machine.id} of {scope.fleet}, set aside",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": as_tags(wanted)}],
        )
    except AwsNo as no:
        if no.code in BUSY:
            raise AwsLater(str(no)) from no
        # The machine is safe: that its disks are not copied is worth telling, not worth letting it back.
        return [f"no snapshot: {no}"]
    return []


def snapshots(scope: Scope, tags: dict[str, str]) -> list[tuple[str, str]]:
    """Return the ids and states of our snapshots with these tags. Raises `ReadError`."""
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
    found = scope.api.pages("ec2", "DescribeSnapshots", "Snapshots", OwnerIds=["self"], Filters=filters)
    return [(one["SnapshotId"], one["State"]) for one in found]


def volatile(scope: Scope, machine: Instance) -> list[str]:
    """Say what of a machine can be lost however well it is kept."""
    if machine.spot:
        return ["evidence: volatile, AWS may take a spot machine back at any moment"]
    if machine.answer.get("RootDeviceType") == "instance-store" or _has_own_disks(scope, machine.type):
        return ["evidence: volatile, what is on its instance store is lost when it stops"]
    return []


def _has_own_disks(scope: Scope, type: str) -> bool:
    with contextlib.suppress(ProviderError, LookupError):  # a warning alone hangs on it
        answer = scope.api.read("ec2", "DescribeInstanceTypes", InstanceTypes=[type])
        return bool(answer["InstanceTypes"][0].get("InstanceStorageSupported"))
    return False
