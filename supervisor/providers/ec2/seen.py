"""AWS's answers as machines of one fleet. Pure: an answer that does not say enough is no answer, and no bad news.

What AWS does not know, or gets wrong itself, never speaks against a machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.requests import Words
from supervisor.errors import ProviderError
from supervisor.providers.ec2.api import Answer
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.region import SPOT, Look, tag_of
from supervisor.providers.ec2.scope import FLEET, HOLD, STATE, VERSION

STATES = {
    "pending": MachineState.PENDING,
    "running": MachineState.RUNNING,
    "stopping": MachineState.STOPPED,
    "stopped": MachineState.STOPPED,
    "shutting-down": MachineState.TERMINATED,
    "terminated": MachineState.TERMINATED,
}
BY_A_USER = frozenset({"Client.UserInitiatedShutdown", "Client.UserInitiatedHibernate"})
"""Somebody called the API. `Client.InstanceInitiatedShutdown` is the guest itself: nobody wished that."""
ONCE = frozenset({*BY_A_USER, "Client.InstanceInitiatedShutdown", "Client.InstanceTerminated"})
"""What has happened to one machine, and need not happen to the next; all other `Client.` reasons would."""
OURS = frozenset({"quarantined", "expired"})
"""Values of `sickbay:state` that we write before we stop a machine."""
OVER = ("[Completed]", "[Canceled]")
LEAVING = frozenset({"draining", "unused"})
"""States of a target to which nothing new is sent, whatever it answers."""


def machines(look: Look, fleet: str, options: Ec2Options) -> list[Machine]:
    """Return the machines that carry the fleet's tag; without it they are out of our reach, whoever launched them.

    Raises `ProviderError` where the answer leaves out what makes a machine.
    """
    return [_machine(i, look, fleet, options) for i in look.instances if tag_of(i, FLEET) == fleet]


def _machine(shown: Answer, look: Look, fleet: str, options: Ec2Options) -> Machine:
    id = str(shown["InstanceId"])
    state = STATES.get(str(shown.get("State", {}).get("Name", "")))
    zone = str(shown.get("Placement", {}).get("AvailabilityZone", ""))
    if state is None or not zone:
        raise ProviderError(
            f"AWS's answer about {id} is not whole: it has no {'zone' if state else 'state that we know'}"
        )
    tags = {str(tag["Key"]): str(tag.get("Value", "")) for tag in shown.get("Tags", [])}
    status = (look.statuses or {}).get(id, {})
    code, reason = _reason(shown) if state in (MachineState.STOPPED, MachineState.TERMINATED) else ("", "")
    standing = _standing(id, state, tags, look, options)
    return Machine(
        id=id,
        fleet=fleet,
        state=state,
        zone=zone,
        image=str(shown.get("ImageId", "")),
        version=tags.get(VERSION, ""),
        address=str(shown.get("PrivateIpAddress", "")),
        registered=standing.registered,
        target=standing.target,
        isolated=is_isolated(shown, options.isolation_group),
        reason=reason,
        # Only of what is stopped: nobody can start again what is terminated, and Auto Scaling ends machines as a user.
        stopped_by_user=state is MachineState.STOPPED and code in BY_A_USER and tags.get(STATE) not in OURS,
        tags=tuple(sorted(tags.items())),
        impaired=impaired(status) if state is MachineState.RUNNING else "",
        notices=notices(status, (look.spots or {}).get(str(shown.get(SPOT, "")), {})),
        held=tags[HOLD] or f"tag {HOLD}" if HOLD in tags else "",
        group=_group(id, tags, look, options),
        hopeless=state is MachineState.TERMINATED and code.startswith("Client.") and code not in ONCE,
        labels=shares(shown),
    )


def shares(shown: Answer) -> Words:
    """Return what a machine shares with others besides its zone and image, named as in a launch's terms.

    AWS shows what is terminated without most of it.
    """
    placement = shown.get("Placement", {})
    found = {
        "subnet": shown.get("SubnetId", ""),
        "type": shown.get("InstanceType", ""),
        "placement group": placement.get("GroupName", ""),
        "host": placement.get("HostId", ""),
    }
    return tuple((name, str(value)) for name, value in found.items() if value)


def is_isolated(shown: Answer, isolation_group: str) -> bool:
    """Whether every interface of an instance has the isolation group and no other."""
    cards = shown.get("NetworkInterfaces", [])
    return bool(cards) and all([g["GroupId"] for g in card.get("Groups", [])] == [isolation_group] for card in cards)


def impaired(status: Answer) -> str:
    """Return what AWS's own checks find wrong; '' for what is well, too young or not known."""
    found = []
    for key, what in (("SystemStatus", "system"), ("InstanceStatus", "instance")):
        check = status.get(key, {})
        if check.get("Status") != "impaired":
            continue
        for detail in check.get("Details", []):
            if detail.get("Status") == "failed":
                since = detail.get("ImpairedSince")
                found.append(
                    f"{what} {detail['Name']} failed" + (f" since {since:%Y-%m-%d %H:%M} UTC" if since else "")
                )
        if not any(line.startswith(what) for line in found):
            found.append(f"{what} status impaired")
    return ", ".join(found)


def notices(status: Answer, spot: Answer) -> tuple[str, ...]:
    """Return what AWS announces and has not done or called off yet; for a spot machine, that it takes it back."""
    found = []
    if (said := str(spot.get("Status", {}).get("Code", ""))).startswith("marked-for-"):
        found.append(f"spot: {said}: AWS takes it back within minutes")
    for event in status.get("Events", []):
        text = str(event.get("Description", ""))
        if text.startswith(OVER):
            continue
        since = event.get("NotBefore")
        code = str(event.get("Code", ""))
        said = code if text in ("", code) else f"{code}: {text}"
        found.append(said + (f" (not before {since:%Y-%m-%d %H:%M} UTC)" if since else ""))
    return tuple(sorted(found))


def _reason(shown: Answer) -> tuple[str, str]:
    """Return why it stopped: AWS's code, and its words."""
    given = shown.get("StateReason", {})
    code, message = str(given.get("Code", "")), str(given.get("Message", ""))
    if not code:
        return "", str(shown.get("StateTransitionReason", ""))
    return code, message if message.startswith(code) else f"{code}: {message}"


def _group(id: str, tags: dict[str, str], look: Look, options: Ec2Options) -> str:
    if options.auto_scaling_group and look.members is not None:
        return str(look.members.get(id, {}).get("AutoScalingGroupName", ""))
    return tags.get("aws:autoscaling:groupName", "")


# ---------------------------------------------------------------------------------------------- how it serves


@dataclass(frozen=True, slots=True)
class Standing:
    """How a machine stands at its load balancer."""

    registered: bool | None
    target: TargetHealth = TargetHealth.UNKNOWN


def _standing(id: str, state: MachineState, tags: dict[str, str], look: Look, options: Ec2Options) -> Standing:
    runs = state is MachineState.RUNNING
    if options.target_groups:
        return at_balancer(id, [look.targets.get(arn) for arn in options.target_groups])
    if options.auto_scaling_group:
        if look.members is None:
            return Standing(None)
        member = look.members.get(id, {})
        well = str(member.get("HealthStatus", "")).upper() == "HEALTHY"
        serves = member.get("LifecycleState") == "InService"
        return Standing(serves, TargetHealth.HEALTHY if serves and well and runs else TargetHealth.UNKNOWN)
    # Without a load balancer registration is a note, and whoever runs counts as healthy there.
    if tags.get("sickbay:role") != "serving":
        return Standing(False)
    return Standing(True, TargetHealth.HEALTHY if runs else TargetHealth.UNHEALTHY)


def at_balancer(id: str, groups: Iterable[Sequence[Answer] | None]) -> Standing:
    """Sum up what all target groups say of a machine, on all of its ports; None is a group that did not answer.

    Registered is who may get requests from any group: the floors count it, and Deregister takes it out of all. Healthy is
    who is healthy in all of them, for only then is every listener served.
    """
    is_silent, is_registered = False, False
    found: set[TargetHealth] = set()
    for group in groups:
        if group is None:
            is_silent = True
            continue
        here = [d.get("TargetHealth", {}) for d in group if d.get("Target", {}).get("Id") == id]
        served = [health for health in here if health.get("State") not in LEAVING]
        is_registered = is_registered or bool(served)
        found |= {target_health(health) for health in served} or {TargetHealth.INITIAL}
    if not is_registered:
        return Standing(None if is_silent else False)
    if is_silent:
        return Standing(True)
    worst = (TargetHealth.UNHEALTHY, TargetHealth.UNKNOWN, TargetHealth.INITIAL, TargetHealth.HEALTHY)
    return Standing(True, next(health for health in worst if health in found))


def target_health(health: Answer) -> TargetHealth:
    """Return what one description means. A load balancer in trouble (`Elb.` reasons) says nothing about a machine."""
    state, reason = str(health.get("State", "")), str(health.get("Reason", ""))
    if state == "healthy":
        return TargetHealth.HEALTHY
    if state in ("initial", "draining"):
        return TargetHealth.INITIAL
    if state.startswith("unhealthy") and reason.startswith("Target.") and reason != "Target.HealthCheckDisabled":
        return TargetHealth.UNHEALTHY
    return TargetHealth.UNKNOWN
