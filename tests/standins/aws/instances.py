"""The lives of instances: shown late, pending, running, checked, stopped, terminated with a reason, and gone.

moto holds the objects and is told their states as AWS's seconds pass. An instance that is not yet visible is kept out of
moto, so every action finds it missing without knowing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.standins.aws.call import AwsError, Call, Json, not_found
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.emulator import Emulator

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
BY_USER = "Client.UserInitiatedShutdown"
REASONS = {
    BY_USER: "User initiated shutdown",
    "Client.InstanceInitiatedShutdown": "Instance initiated shutdown",
    "Client.VolumeLimitExceeded": "Volume limit exceeded",
    "Client.InternalError": "Client error on launch",
    "Client.InvalidSnapshot.NotFound": "The specified snapshot was not found.",
    "Server.InternalError": "Internal error on launch",
    "Server.InsufficientInstanceCapacity": "There was insufficient capacity available to satisfy the launch request",
}


@dataclass(slots=True)
class Life:
    """One instance, from its launch until nobody knows it any longer."""

    instance: Any  # Any: moto's object
    reservation: Any  # Any: moto's object
    visible: float
    doom: str = ""
    """A StateReason: it dies at once instead of running."""
    next: tuple[float, str] | None = None
    running: float = 0.0
    """Since when it runs, in AWS's seconds."""
    group: str = ""
    impaired: str = ""
    """`instance`, `system`, or "" for well."""
    boots: int = 1

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.instance.id)

    @property
    def state(self) -> str:
        """Its state's name."""
        return str(self.instance._state.name)

    @property
    def zone(self) -> str:
        """Its availability zone."""
        return str(self.instance.availability_zone)

    @property
    def address(self) -> str:
        """Its private address."""
        return str(self.instance.private_ip)

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return {tag["key"]: tag["value"] for tag in self.instance.get_tags()}

    @property
    def is_gone(self) -> bool:
        """On its way out, or out."""
        return self.state in ("shutting-down", "terminated")


class Instances:
    """All instances of the account."""

    def __init__(self, emulator: Emulator, clock: Clock, timing: Timing) -> None:
        """Begin with none."""
        self._emulator = emulator
        self._clock = clock
        self._timing = timing
        self.lives: dict[str, Life] = {}
        self.events: dict[str, list[Json]] = {}
        """Scheduled events of an instance, in DescribeInstanceStatus's shape."""
        self.on_gone: list[Callable[[str], None]] = []

    # -- what tests and other modules do

    def schedule(self, instance: str, code: str, description: str = "") -> None:
        """Announce an event, such as `instance-retirement` or `system-reboot`."""
        event = {"InstanceEventId": f"instance-event-{len(self.events):017x}", "Code": code}
        self.events.setdefault(instance, []).append(event | {"Description": description or code})

    def impair(self, instance: str, what: str = "instance") -> None:
        """Let the `instance` or the `system` status check fail; "" heals it."""
        self.lives[instance].impaired = what

    def shutdown(self, instance: str) -> None:
        """Shut down from within: what follows is InstanceInitiatedShutdownBehavior's business, whatever is protected."""
        behaviour = self.lives[instance].instance.instance_initiated_shutdown_behavior
        state = "terminated" if behaviour == "terminate" else "stopped"
        self.end(self.lives[instance], state, "Client.InstanceInitiatedShutdown")

    def end(self, life: Life, state: str, reason: str = BY_USER) -> None:
        """Stop or terminate an instance, protected or not: AWS itself and the guest ask nobody."""
        if state == "terminated":
            life.instance.terminate()
        else:
            life.instance.stop()
        life.instance.state_reason.code = reason
        life.instance.state_reason.message = f"{reason}: {REASONS.get(reason, reason)}"
        took = self._timing.shutting_down if state == "terminated" else self._timing.stopping
        self._enter(life, "shutting-down" if state == "terminated" else "stopping")
        life.next = (self._clock.now + took, state)

    def adopt(self, life: Life) -> None:
        """Take a new instance in, and hide it until it is visible."""
        self.lives[life.id] = life
        self._enter(life, "pending")
        life.next = (self._clock.now + self._timing.pending, "terminated" if life.doom else "running")
        if life.visible > self._clock.now:
            self._emulator.ec2().reservations.pop(life.reservation.id, None)

    def tick(self) -> None:
        """Let the time that has passed take effect."""
        now = self._clock.now
        shown = self._emulator.ec2().reservations
        for life in list(self.lives.values()):
            if life.reservation.id not in shown and now >= life.visible:
                shown[life.reservation.id] = life.reservation
            while life.next and now >= life.next[0]:
                self._advance(life, *life.next)

    def _advance(self, life: Life, at: float, state: str) -> None:
        life.next = None
        if state == "gone":
            self._emulator.ec2().reservations.pop(life.reservation.id, None)
            del self.lives[life.id]
            for told in self.on_gone:
                told(life.id)
            return
        if life.doom and life.state == "pending":
            self.end(life, "terminated", life.doom)
        self._enter(life, state)
        if state == "running":
            life.running = at
        if state == "terminated":
            life.next = (at + self._timing.gone, "gone")

    @staticmethod
    def _enter(life: Life, state: str) -> None:
        life.instance._state.name, life.instance._state.code = state, CODES[state]

    # -- the API

    def known(self, instance: str) -> Life:
        """Return an instance that the API shows, or refuse as EC2 does."""
        life = self.lives.get(instance)
        if life is None or self._clock.now < life.visible:
            raise not_found(instance)
        return life

    def start(self, call: Call) -> Json:
        """StartInstances."""
        chosen = [self.known(i) for i in call.ids("InstanceIds")]
        for life in chosen:
            _in_state(life, {"stopped", "running", "pending"}, "started")
        changed = []
        for life in chosen:
            before = life.state
            if before == "stopped":
                life.instance.start()
                self._enter(life, "pending")
                life.next = (self._clock.now + self._timing.pending, "running")
                life.boots += 1
            changed.append((life, before))
        return _changes(call, "StartingInstances", changed)

    def stop(self, call: Call) -> Json:
        """StopInstances; stop protection is honoured."""
        chosen = [self.known(i) for i in call.ids("InstanceIds")]
        for life in chosen:
            _in_state(life, {"running", "stopping", "stopped"}, "stopped")
            if life.instance.disable_api_stop:
                raise _protected(life, "stopped", "disableApiStop")
        changed = []
        for life in chosen:
            before = life.state
            if before == "running":
                self.end(life, "stopped")
            changed.append((life, before))
        return _changes(call, "StoppingInstances", changed)

    def reboot(self, call: Call) -> Json:
        """RebootInstances: the same state, a fresh boot."""
        chosen = [self.known(i) for i in call.ids("InstanceIds")]
        for life in chosen:
            _in_state(life, {"running"}, "rebooted")
        for life in chosen:
            life.running, life.boots = self._clock.now, life.boots + 1
        return {}

    def terminate(self, call: Call) -> Json:
        """TerminateInstances: zones that hold a protected instance are refused whole, the others are carried out."""
        chosen = [self.known(i) for i in call.ids("InstanceIds")]
        protected = [(life, flag) for life in chosen if not life.is_gone for flag in _protections(life)]
        spared = {life.zone for life, _ in protected}
        changed = []
        for life in chosen:
            before = life.state
            if not life.is_gone and life.zone not in spared:
                self.end(life, "terminated")
            changed.append((life, before))
        answer = _changes(call, "TerminatingInstances", changed)
        if protected:
            error = _protected(protected[0][0], "terminated", protected[0][1])
            error.partial = call.has_effect
            raise error
        return answer


def _protections(life: Life) -> Iterable[str]:
    """Name what protects an instance from TerminateInstances."""
    if life.instance.disable_api_termination:
        yield "disableApiTermination"
    if life.instance.disable_api_stop:  # "Stop protection also protects your instance from accidental termination"
        yield "disableApiStop"


def _protected(life: Life, verb: str, flag: str) -> AwsError:
    return AwsError(
        "OperationNotPermitted",
        f"The instance '{life.id}' may not be {verb}. Modify its '{flag}' instance attribute and try again.",
    )


def _in_state(life: Life, states: set[str], verb: str) -> None:
    if life.state not in states:
        raise AwsError(
            "IncorrectInstanceState", f"The instance '{life.id}' is not in a state from which it can be {verb}."
        )


def _changes(call: Call, name: str, changed: list[tuple[Life, str]]) -> Json:
    """Return what StartInstances and its like answer, and note whether anything changed."""
    call.has_effect = any(life.state != before for life, before in changed)
    return {
        name: [
            {
                "InstanceId": life.id,
                "CurrentState": {"Code": CODES[life.state], "Name": life.state},
                "PreviousState": {"Code": CODES[before], "Name": before},
            }
            for life, before in changed
        ]
    }
