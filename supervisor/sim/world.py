"""A mechanical world: machines that run, stop, hang and err; a load balancer that looks for itself; a log of calls.

Nothing here judges. Symptoms follow from what is broken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from supervisor.core.machine import Leftover, Machine, MachineState, TargetHealth
from supervisor.core.requests import Outcome, Request
from supervisor.core.signals import Result
from supervisor.core.terms import BootTime, Seconds, Status
from supervisor.sim.time import VirtualClock


class Behaviour(StrEnum):
    """How a machine answers."""

    WELL = "well"
    HANG = "hang"
    ERRORS = "errors"


@dataclass(slots=True)
class SimMachine:
    """One machine."""

    id: str
    fleet: str
    zone: str
    image: str
    version: str
    address: str
    token: str
    tags: tuple[tuple[str, str], ...]
    launched: BootTime
    boots_in: Seconds
    behaviour: Behaviour = Behaviour.WELL
    stopped: bool = False
    terminated: bool = False
    isolated: bool = False
    registered_at: BootTime | None = None
    was_ill: bool = False
    stopped_by_user: bool = False
    restarts: set[str] = field(default_factory=set)
    passes: int = 0  # good answers since its last start
    says: str = "HTTP 500, expected 200"  # what its errors read like
    takes: Seconds = 0.0  # until it answers well; 0: as long as the others
    mark: str = ""  # what is written on it: what permits its end
    impaired: str = ""
    notices: tuple[str, ...] = ()
    held: str = ""
    group: str = ""  # the Auto Scaling group that owns it
    reason: str = ""  # why it ended
    log: list[str] = field(default_factory=list)  # what it has printed

    def is_running(self, now: BootTime) -> bool:
        """Return whether it has booted and not stopped."""
        return not self.stopped and not self.terminated and now - self.launched >= self.boots_in

    def serves(self, now: BootTime) -> bool:
        """Return whether a visitor would be answered well."""
        return self.is_running(now) and self.behaviour is Behaviour.WELL and not self.isolated


@dataclass(frozen=True, slots=True)
class Call:
    """One mutating call as a proxy would log it. `order` is shared with the commits."""

    order: int
    at: BootTime
    request: Request
    outcome: Outcome | None  # None: the caller died before it was answered
    effect: bool  # something changed now
    serving_before: int = 0  # machines of the fleet that a visitor can reach
    serving_after: int = 0
    passes: int = 0  # of the machine concerned, since its last start


@dataclass(slots=True)
class Group:
    """An Auto Scaling group: keeps so many members, launches `after` seconds when one is missing, and registers them."""

    name: str
    size: int
    after: Seconds = 20.0
    delivers: bool = True
    due: list[BootTime] = field(default_factory=list)  # launches that it has decided on
    made: int = 0


@dataclass(slots=True)
class World:
    """Everything outside the supervisor."""

    clock: VirtualClock
    boots_in: Seconds = 5.0
    balancer_delay: Seconds = 2.0
    machines: dict[str, SimMachine] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    snapshots: list[tuple[str, str]] = field(default_factory=list)  # (instance, token)
    groups: dict[str, Group] = field(default_factory=dict)  # fleet -> the group that owns its machines
    leftovers: dict[str, Leftover] = field(default_factory=dict)  # volumes, interfaces, snapshots
    ever_left: list[Leftover] = field(default_factory=list)  # those that were swept as well
    bad_images: set[str] = field(default_factory=set)  # never answer
    blind: bool = False  # nothing can be seen from where the supervisor stands
    cloud_down: bool = False
    logs_take: Seconds = 0.0  # to be read
    checks_spread: bool = False  # each machine has a phase of its own, as in production; else all in step
    takes: Seconds = 0.0  # a machine, until it answers well
    checks_broken: bool = False  # they can't be made, whoever is asked
    empty_list: bool = False
    order: int = 0

    def next_order(self) -> int:
        """Return the next number of the one sequence in which commits and effects happened."""
        self.order += 1
        return self.order

    # -- breaking things

    def crash(self, id: str) -> None:
        """Stop a machine's processes."""
        self.machines[id].stopped = self.machines[id].was_ill = True

    def behave(self, id: str, behaviour: Behaviour) -> None:
        """Change how a machine answers."""
        machine = self.machines[id]
        machine.behaviour = behaviour
        machine.was_ill = machine.was_ill or behaviour is not Behaviour.WELL

    def leave(self, one: Leftover) -> None:
        """Let a machine leave something behind."""
        self.leftovers[one.id] = one
        self.ever_left.append(one)

    def reclaim(self, id: str) -> None:
        """Let the cloud take a machine back."""
        machine = self.machines[id]
        machine.terminated, machine.registered_at, machine.reason = True, None, "Server.SpotInstanceTermination"

    def vanish(self, id: str) -> None:
        """Let a machine disappear from the cloud."""
        del self.machines[id]

    # -- groups

    def tick(self) -> None:
        """Let the groups do what they do by themselves: launch what is missing, register what runs."""
        now = self.clock.boot
        for fleet, group in self.groups.items():
            members = [m for m in self.machines.values() if m.group == group.name and not m.terminated]
            while group.delivers and len(members) + len(group.due) < group.size:
                group.due.append(now + group.after)
            for due in [at for at in group.due if at <= now]:
                group.due.remove(due)
                self._deliver(fleet, group, due)
            for m in members:
                if m.registered_at is None and m.is_running(now):
                    m.registered_at = m.launched + m.boots_in

    def _deliver(self, fleet: str, group: Group, at: BootTime) -> None:
        group.made += 1
        id = f"i-{group.made:04}"
        self.machines[id] = SimMachine(
            id=id,
            fleet=fleet,
            zone="ab"[group.made % 2],
            image="img-1",
            version="1.0.0",
            address=f"127.2.0.{group.made}",
            token="",
            tags=(("sickbay:fleet", fleet),),
            launched=at,
            boots_in=self.boots_in,
            group=group.name,
        )

    # -- looking

    def shown(self, fleet: str) -> list[Machine]:
        """Return what the cloud would list."""
        self.tick()
        return [self._show(m) for m in sorted(self.machines.values(), key=lambda m: m.id) if m.fleet == fleet]

    def _show(self, m: SimMachine) -> Machine:
        now = self.clock.boot
        if m.terminated:
            state = MachineState.TERMINATED
        elif m.stopped:
            state = MachineState.STOPPED
        else:
            state = MachineState.RUNNING if m.is_running(now) else MachineState.PENDING
        target = TargetHealth.UNKNOWN
        if m.registered_at is not None:
            initial = now - m.registered_at < self.balancer_delay
            target = TargetHealth.INITIAL if initial else TargetHealth.HEALTHY
            if not initial and not m.serves(now):
                target = TargetHealth.UNHEALTHY
        return Machine(
            id=m.id,
            fleet=m.fleet,
            state=state,
            zone=m.zone,
            image=m.image,
            version=m.version,
            address=m.address,
            registered=m.registered_at is not None,
            target=target,
            isolated=m.isolated,
            reason=m.reason or ("exited" if m.stopped else ""),
            stopped_by_user=m.stopped_by_user,
            tags=m.tags,
            impaired=m.impaired,
            notices=m.notices,
            held=m.held,
            group=m.group,
        )

    def ask(self, id: str, check: str, timeout: Seconds) -> Result:
        """Return what a check would be answered now."""
        self.tick()
        now = self.clock.boot
        m = self.machines.get(id)
        if self.checks_broken:
            return Result(id, check, Status.UNKNOWN, False, now, now, "the check itself failed: no such file")
        silent = self.blind or m is None or m.behaviour is Behaviour.HANG or m.isolated or m.terminated
        if silent:
            return Result(id, check, Status.CRITICAL, True, now, now + timeout, "no answer")
        if m is None or not m.is_running(now):
            return Result(id, check, Status.CRITICAL, False, now, now, "connection refused")
        if m.image in self.bad_images or m.behaviour is Behaviour.ERRORS:
            return Result(id, check, Status.CRITICAL, False, now, now, m.says)
        m.passes += 1
        return Result(id, check, Status.OK, False, now, now + (m.takes or self.takes), "HTTP 200")

    def serving(self, fleet: str) -> int:
        """Return how many machines a visitor can reach."""
        self.tick()
        now = self.clock.boot
        return sum(
            1 for m in self.machines.values() if m.fleet == fleet and m.registered_at is not None and m.serves(now)
        )

    def live(self, fleet: str) -> list[SimMachine]:
        """Return the machines that cost money and are not set aside."""
        return [m for m in self.machines.values() if m.fleet == fleet and not m.terminated and not m.isolated]
