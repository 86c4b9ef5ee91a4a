"""A machine's place in the load balancer: in every configured target group, on whatever ports.

A fleet without target groups has the tag `sickbay:role` instead. Nothing is remembered: what is to be undone is read.
"""

from __future__ import annotations

from supervisor.core.requests import Deregister, Done, Outcome, Register
from supervisor.providers.ec2 import undo
from supervisor.providers.ec2.api import ReadError
from supervisor.providers.ec2.instance import DISPOSABLE, Instance, alive, check_ours, look
from supervisor.providers.ec2.scaling import membership
from supervisor.providers.ec2.scope import ROLE, STATE, Scope, refuse

SERVING = "serving"


def register(scope: Scope, request: Register) -> Outcome:
    """Put a running machine into every target group that it is not in. Its health there is not waited for."""
    machine = alive(scope, request.instance)
    if machine.is_aside(scope.options):
        raise refuse(f"{machine.id} is isolated: restore it first")
    if machine.tag(STATE) in DISPOSABLE:
        raise refuse(f"{machine.id} is marked {machine.tag(STATE)}: what is to end is not registered")
    if machine.state != "running":
        raise refuse(f"{machine.id} is {machine.state}, expected running: only what runs can be registered")
    if group := scope.options.auto_scaling_group:
        if membership(scope, machine.id) is None:
            raise refuse(
                f"{machine.id} is not in Auto Scaling group {group}, which registers its members: attach it there"
            )
        return Done(instance=machine.id, detail=f"Auto Scaling group {group} registers it")
    for arn in scope.options.target_groups:
        if not ports(scope, arn, machine.id):
            scope.change("elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=[{"Id": machine.id}])
    if not scope.options.target_groups:
        scope.tag(machine.id, {ROLE: SERVING}, machine.tags)
    return Done(instance=machine.id, detail="; ".join(undo.unprotect(scope, machine)))


def deregister(scope: Scope, request: Deregister) -> Outcome:
    """Take a machine out everywhere, also one that is gone: what is gone must not stay there. Draining goes on."""
    machine = look(scope, request.instance)
    if machine is not None:
        check_ours(scope, machine.id, machine.tags)
    take_out(scope, request.instance, machine)
    return Done(instance=request.instance)


def take_out(scope: Scope, id: str, machine: Instance | None) -> None:
    """Deregister an id from every group and every port."""
    for arn in scope.options.target_groups:
        if found := ports(scope, arn, id):
            targets = [{"Id": id, "Port": port} for port in found]
            scope.change("elbv2", "DeregisterTargets", TargetGroupArn=arn, Targets=targets)
    if machine is not None and not machine.is_gone and machine.tag(ROLE) == SERVING:
        scope.tag(id, {ROLE: ""}, machine.tags)


def ports(scope: Scope, arn: str, id: str) -> list[int]:
    """Return the ports on which an id is registered in a target group; what drains is out. Raises `ReadError`."""
    try:
        answer = scope.api.read("elbv2", "DescribeTargetHealth", TargetGroupArn=arn)
    except ReadError as error:
        if error.code == "TargetGroupNotFound":
            return []
        raise
    return sorted(
        int(shown["Target"]["Port"])
        for shown in answer["TargetHealthDescriptions"]
        if shown["Target"]["Id"] == id
        and shown["TargetHealth"]["State"] != "draining"
        and shown["TargetHealth"].get("Reason") != "Target.NotRegistered"
    )


def check_out(scope: Scope, machine: Instance) -> None:
    """Raise `Halt` while a machine is registered, or belongs to its group. Raises `ReadError`."""
    where = [arn.split("/")[1] for arn in scope.options.target_groups if ports(scope, arn, machine.id)]
    if where:
        raise refuse(f"{machine.id} is still registered at target group {' and '.join(where)}: deregister it first")
    if not scope.options.target_groups and machine.tag(ROLE) == SERVING:
        raise refuse(f"{machine.id} still serves (tag {ROLE}): deregister it first")
    if scope.options.auto_scaling_group and (member := membership(scope, machine.id)) is not None:
        raise refuse(
            f"{machine.id} is still in Auto Scaling group {member.group}, which would replace it: detach it first"
        )
