"""Healers that a score must see through: one that does nothing, and one that kills whoever fails once."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.core.machine import Machine
from supervisor.core.requests import Deregister, Launch, Outcome, Request, Terminate
from supervisor.core.settings import Settings
from supervisor.core.signals import Beat, Result
from supervisor.core.terms import Cause, ChangeKind, Seconds, Status
from supervisor.sim.exam.healer import Desk, Page
from supervisor.sim.exam.site import FLEET


class Idle:
    """Sits at the desk and does nothing."""

    name = "idle"

    def begin(self, desk: Desk) -> None:
        self.desk = desk

    def heartbeats(self, beats: Sequence[Beat]) -> None: ...

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None: ...

    def operator(self, verb: str, target: str, seconds: Seconds) -> None: ...

    def configured(self, settings: Settings) -> None: ...

    def killed(self) -> None: ...


class Murderer(Idle):
    """Ends every machine that fails a single question, and says that it is sure why."""

    name = "murderer"

    def __init__(self, *, launches: int = 1) -> None:
        self._launches = launches
        self._sent = 0
        self._ended: set[str] = set()

    def begin(self, desk: Desk) -> None:
        super().begin(desk)
        desk.clockwork.every(10.0, lambda: desk.cloud.list(FLEET, self._look))

    def _look(self, machines: Sequence[Machine] | None) -> None:
        check = self.desk.settings.fleets[FLEET].checks[0]
        for machine in machines or ():
            if machine.state == "running" and machine.registered:
                self.desk.eyes.ask(FLEET, machine.id, check, self._judge)

    def _judge(self, result: Result) -> None:
        if result.status is not Status.CRITICAL or result.instance in self._ended:
            return
        self._ended.add(result.instance)
        self.desk.pager.tell(Page(0.0, f"{result.instance} must die", Cause.INSTANCE, result.instance))
        self._send(Deregister(FLEET, result.instance, self._token()))
        self._send(Terminate(FLEET, result.instance, self._token()))
        for _ in range(self._launches):
            tags = (("exam:slot", "7"),)
            self._send(Launch(FLEET, "img-1", "1.0.0", "a", self._token(), tags))

    def _token(self) -> str:
        self._sent += 1
        return f"t{self._sent}"

    def _send(self, request: Request) -> None:
        def answered(outcome: Outcome) -> None: ...

        self.desk.cloud.perform(request, answered)
