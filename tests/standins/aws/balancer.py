"""ELBv2's targets: registered, probed over real HTTP, drained, and routed to. moto keeps the load balancers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.standins.aws.call import AwsError, Call, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.emulator import Emulator
from tests.standins.aws.instances import Instances
from tests.standins.aws.probe import Verdict, probe

NOT_USED = "Target group is not configured to receive traffic from the load balancer"
NOT_ENABLED = "Target is in an Availability Zone that is not enabled for the load balancer"
Key = tuple[str, int]


@dataclass(slots=True)
class Target:
    """An instance on a port, as its target group sees it."""

    id: str
    port: int
    since: float
    state: str = "initial"
    """initial, healthy, unhealthy or draining; what DescribeTargetHealth says may differ."""
    bad: Verdict | None = None
    passes: int = 0
    fails: int = 0
    probe_at: float = 0.0
    is_probed: bool = False
    drained_at: float = 0.0

    def again(self, now: float) -> None:
        """Begin as a target that nobody has probed yet."""
        self.since, self.state, self.bad, self.passes, self.fails, self.probe_at = now, "initial", None, 0, 0, now


class Balancer:
    """The targets of all target groups."""

    def __init__(self, emulator: Emulator, instances: Instances, clock: Clock, timing: Timing) -> None:
        """Begin without targets."""
        self._emulator = emulator
        self._instances = instances
        self._clock = clock
        self._timing = timing
        self._targets: dict[str, dict[Key, Target]] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self.is_broken = False
        """The load balancer itself fails: it then says `Elb.InternalError` of every target."""

    # -- what tests look at

    def routed(self, group: str) -> list[str]:
        """Return the instances that get requests: the healthy ones, or all of them if none is. It fails open."""
        usable = [t for t in self._in(group).values() if t.state != "draining" and not self._unused(group, t)]
        return sorted({t.id for t in usable if t.state == "healthy"} or {t.id for t in usable})

    # -- the API

    def register(self, call: Call) -> Json:
        """RegisterTargets: all or none."""
        group = self._group(call)
        wanted = [(target["Id"], int(target.get("Port", group.port))) for target in call.params["Targets"]]
        idle = [name for name, _ in wanted if group.target_type == "instance" and not self._runs(name)]
        if idle:
            raise AwsError(
                "InvalidTarget",
                f"The following targets are not in a running state and cannot be registered: {', '.join(map(repr, idle))}",
            )
        changed = [self.add(group.arn, name, port) for name, port in wanted]
        call.has_effect = any(changed)
        return {}

    def deregister(self, call: Call) -> Json:
        """DeregisterTargets: what is not registered is no error. A port override must be named, or nothing happens."""
        group = self._group(call)
        wanted = [(target["Id"], int(target.get("Port", group.port))) for target in call.params["Targets"]]
        changed = [self.remove(group.arn, name, port) for name, port in wanted]
        call.has_effect = any(changed)
        return {}

    def health(self, call: Call) -> Json:
        """DescribeTargetHealth."""
        group = self._group(call)
        known = self._in(group.arn)
        asked = [(t["Id"], int(t.get("Port", group.port))) for t in call.params.get("Targets", [])]
        shown = [self._shown(group, key, known.get(key)) for key in asked or known]
        return {"TargetHealthDescriptions": shown}

    # -- what Auto Scaling does too

    def add(self, arn: str, name: str, port: int = 0) -> bool:
        """Register a target; say whether that changed anything."""
        port = port or int(self._model(arn).port)
        target = self._in(arn).get((name, port))
        if target and target.state != "draining":
            return False
        self._in(arn)[name, port] = Target(
            name, port, self._clock.now, probe_at=self._clock.now + self._timing.registering
        )
        return True

    def remove(self, arn: str, name: str, port: int = 0) -> bool:
        """Let a target drain; say whether that changed anything."""
        group = self._model(arn)
        target = self._in(arn).get((name, port or int(group.port)))
        if target is None or target.state == "draining":
            return False
        delay = float(group.attributes["deregistration_delay.timeout_seconds"])
        target.state, target.drained_at = "draining", self._clock.now + delay
        return True

    def state(self, arn: str, name: str) -> str:
        """Return what DescribeTargetHealth would say of an instance."""
        group = self._model(arn)
        key = (name, int(group.port))
        return str(self._shown(group, key, self._in(arn).get(key))["TargetHealth"]["State"])

    # -- time

    def tick(self) -> None:
        """Drop what has drained or gone, and probe what is due."""
        now = self._clock.now
        for arn, targets in self._targets.items():
            for key, target in list(targets.items()):
                if target.state == "draining":
                    if now >= target.drained_at:
                        del targets[key]
                elif target.id.startswith("i-") and target.id not in self._instances.lives:
                    del targets[key]
                elif self._unused(arn, target):
                    target.again(now)
                elif now >= target.probe_at and not target.is_probed and self._model(arn).health_check_enabled:
                    self._begin(arn, target)

    def _begin(self, arn: str, target: Target) -> None:
        target.is_probed = True
        task = asyncio.get_running_loop().create_task(self._probe(arn, target), name=f"probe of {target.id}")
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe(self, arn: str, target: Target) -> None:
        group = self._model(arn)
        own = group.health_check_port
        port = target.port if own in (None, "traffic-port") else int(own)
        limit = max(self._clock.ours(float(group.health_check_timeout_seconds)), 0.25)
        began = self._clock.now
        bad = await probe(self._address(target), port, group.health_check_path or "/", group.matcher["HttpCode"], limit)
        target.is_probed = False
        target.probe_at = began + float(group.health_check_interval_seconds)
        if target.state == "draining":
            return
        target.passes, target.fails = (0, target.fails + 1) if bad else (target.passes + 1, 0)
        if bad:
            target.bad = bad
        if target.fails >= int(group.unhealthy_threshold_count):
            target.state = "unhealthy"
        enough = 1 if target.state == "initial" else int(group.healthy_threshold_count)  # a new target needs one pass
        if target.passes >= enough:
            target.state, target.bad = "healthy", None

    # -- what is said of a target

    def _shown(self, group: Any, key: Key, target: Target | None) -> Json:  # Any: moto's object
        health = self._health(group, target)
        return {
            "Target": {"Id": key[0], "Port": key[1]},
            "HealthCheckPort": str(
                key[1] if group.health_check_port in (None, "traffic-port") else group.health_check_port
            ),
            "TargetHealth": dict(zip(("State", "Reason", "Description"), health, strict=False)),
        }

    def _health(self, group: Any, target: Target | None) -> tuple[str, ...]:  # Any: moto's object
        if target is None:
            return "unused", "Target.NotRegistered", "Target is not registered to the target group"
        if target.state == "draining":
            return "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
        unused = self._unused(group.arn, target)
        if unused:
            return "unused", *unused
        if not group.health_check_enabled:
            return "unavailable", "Target.HealthCheckDisabled", "Health checks are disabled for this target group"
        if self.is_broken:
            return (
                "unhealthy",
                "Elb.InternalError",
                "Health checks failed due to an internal error on the load balancer",
            )
        if target.state == "unhealthy" and target.bad:
            return "unhealthy", target.bad.reason, target.bad.text
        if target.state == "initial":
            if self._clock.now < target.since + self._timing.registering:
                return "initial", "Elb.RegistrationInProgress", "Target registration is in progress"
            return "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
        return (target.state,)

    def _unused(self, arn: str, target: Target) -> tuple[str, str] | None:
        """Say why the load balancer would not even look at a target."""
        serving = self._model(arn).load_balancer_arns
        if not serving:
            return "Target.NotInUse", NOT_USED
        life = self._instances.lives.get(target.id)
        if life is None:
            return None
        if life.zone not in self._zones(serving):
            return "Target.NotInUse", NOT_ENABLED
        if life.state != "running":
            return "Target.InvalidState", f"Target is in the {life.state} state"
        return None

    def _zones(self, arns: Iterable[str]) -> set[str]:
        balancers = [self._emulator.elbv2().load_balancers[arn] for arn in arns]
        return {subnet.availability_zone for b in balancers for subnet in b.subnets}

    def _runs(self, name: str) -> bool:
        life = self._instances.lives.get(name)
        return life is not None and life.state == "running" and self._clock.now >= life.visible

    def _address(self, target: Target) -> str:
        life = self._instances.lives.get(target.id)
        return life.address if life else target.id

    def _in(self, arn: str) -> dict[Key, Target]:
        return self._targets.setdefault(arn, {})

    def _group(self, call: Call) -> Any:  # Any: moto's object
        return self._model(call.params["TargetGroupArn"])

    def _model(self, arn: str) -> Any:  # Any: moto's object
        found = self._emulator.elbv2().target_groups.get(arn)
        if found is None:
            raise AwsError("TargetGroupNotFound", f"Target groups '{arn}' not found")
        return found
