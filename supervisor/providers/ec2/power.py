"""A machine's power: restarted in place, stopped, started again."""

from __future__ import annotations

import json
from pathlib import Path

from supervisor.core.requests import Done, Outcome, Restart, Stop
from supervisor.files import read_json, sync_folder, write_durably
from supervisor.providers.ec2.api import AwsLater, AwsNo
from supervisor.providers.ec2.balancing import check_out
from supervisor.providers.ec2.instance import Instance, alive
from supervisor.providers.ec2.protection import STOP, put
from supervisor.providers.ec2.scope import Scope, refuse, short


def restart(scope: Scope, request: Restart) -> Outcome:
    """Reboot a machine at most once for a token; one that is stopped is started.

    AWS knows no token for this, and an uptime no outsider can read. So the token is written down before the call, and
    a call in doubt is not made again: a machine that was not rebooted fails its checks and is replaced; one that is
    rebooted twice may be lost in the middle of its start.
    """
    machine = alive(scope, request.instance)
    note = scope.note("restarts", f"{machine.id}-{short(request.token)}.json")
    sent = read_json(note)
    if sent is not None and (sent["action"] == "RebootInstances" or machine.state != "stopped"):
        return Done(instance=machine.id, detail="asked for before, under this token")
    if machine.is_aside(scope.options):
        raise refuse(f"{machine.id} is isolated: restore it first")
    machine = settled(scope, machine)
    if machine.state == "stopped":
        _send(scope, note, machine, request, "StartInstances")
        return Done(instance=machine.id, detail="it was stopped, and is started")
    _send(scope, note, machine, request, "RebootInstances")
    return Done(instance=machine.id)


def _send(scope: Scope, note: Path, machine: Instance, request: Restart, action: str) -> None:
    write_durably(note, json.dumps({"token": request.token, "action": action}))
    try:
        scope.change("ec2", action, InstanceIds=[machine.id])
    except (AwsNo, AwsLater):  # it did not happen: the next try may send it
        note.unlink()
        sync_folder(note.parent)
        raise


def stop(scope: Scope, request: Stop) -> Outcome:
    """Stop a machine that is set aside; its disks stay. Its protection from stopping is lifted for that alone."""
    machine = alive(scope, request.instance)
    if machine.state in ("stopping", "stopped"):
        return Done(instance=machine.id, detail="it is stopped already")
    if not machine.is_aside(scope.options):
        raise refuse(f"{machine.id} is not set aside, expected a machine in quarantine: isolate it first")
    check_out(scope, machine)
    machine = settled(scope, machine)
    put(scope, machine, {STOP: False})
    scope.change("ec2", "StopInstances", InstanceIds=[machine.id])
    scope.until(
        lambda: True if alive(scope, machine.id).state in ("stopping", "stopped") else None,
        f"{machine.id} is still shown as running: not yet stopped",
    )
    return Done(instance=machine.id, detail="stopped, its disks are kept")


def start(scope: Scope, machine: Instance) -> None:
    """Start a machine that is stopped. Raises as changes do."""
    if machine.state == "stopped":
        scope.change("ec2", "StartInstances", InstanceIds=[machine.id])


def settled(scope: Scope, machine: Instance) -> Instance:
    """Wait until a machine is neither starting nor stopping. Raises `Halt`: not yet."""

    def look() -> Instance | None:
        found = alive(scope, machine.id)
        return found if found.state in ("running", "stopped") else None

    if machine.state in ("running", "stopped"):
        return machine
    return scope.until(look, f"{machine.id} is still {machine.state}: not yet")
