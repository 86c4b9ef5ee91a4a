"""Who knows the truth, and may use it only once it could have been seen: what it loses, nobody could have saved.

It replaces exactly the machines that are at fault themselves: 30 s after the first probe of one that failed, or once the
cloud showed it ended twice, 15 s apart; one whose probes never fail, after five minutes. It launches first, where a zone
is open, and removes the old one when the new one serves. Nothing else is ever touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.core.machine import Machine, MachineState
from supervisor.core.requests import Deregister, Done, Launch, Mark, Outcome, Register, Request, Terminate
from supervisor.core.settings import Settings
from supervisor.core.signals import Beat, Result
from supervisor.core.terms import BootTime, ChangeKind, Seconds, Status
from supervisor.sim.exam.healer import Desk
from supervisor.sim.exam.parts import Box, Power
from supervisor.sim.exam.runs import ORACLE
from supervisor.sim.exam.site import FLEET, Site

CONFIRM: Seconds = 30.0
ENDED_CONFIRM: Seconds = 15.0
QUIET_CONFIRM: Seconds = 300.0
BEAT: Seconds = 5.0
RETRY: Seconds = 30.0


@dataclass(slots=True)
class Replacement:
    """One machine that takes another's place."""

    old: str
    new: str = ""
    registered: bool = False


class Oracle:
    """A healer that need not judge."""

    name = ORACLE

    def __init__(self) -> None:
        """Know nothing yet: `knows` tells."""
        self._failed_at: dict[str, BootTime] = {}
        self._ended_at: dict[str, BootTime] = {}
        self._confirmed: set[str] = set()
        self._under_way: dict[str, Replacement] = {}
        self._tokens = 0

    def knows(self, site: Site) -> None:
        """Be told the truth."""
        self._site = site

    def begin(self, desk: Desk) -> None:
        """Sit down."""
        self._desk = desk
        desk.clockwork.every(BEAT, self._look)
        desk.clockwork.every(10.0, lambda: desk.cloud.list(FLEET, self._listed))

    def heartbeats(self, beats: Sequence[Beat]) -> None:
        """Need none."""

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None:
        """Know already."""

    def operator(self, verb: str, target: str, seconds: Seconds) -> None:
        """Go on: what a hold costs is no fault of the healer's."""

    def configured(self, settings: Settings) -> None:
        """Take new settings."""
        self._desk.settings = settings

    def killed(self) -> None:
        """Forget nothing."""

    def _listed(self, machines: Sequence[Machine] | None) -> None:
        now = self._desk.clockwork.now
        for machine in machines or ():
            if machine.state in (MachineState.TERMINATED, MachineState.STOPPED):
                seen = self._ended_at.setdefault(machine.id, now)
                if now - seen >= ENDED_CONFIRM:
                    self._confirmed.add(machine.id)

    def _look(self) -> None:
        now = self._desk.clockwork.now
        for box in self._site.at_fault():
            if box.id in self._under_way:
                continue
            self._ask(box)
            since = self._failed_at.get(box.id, now)
            quiet = now - (box.at_fault if box.at_fault is not None else now)
            if box.id in self._confirmed or now - since >= CONFIRM or quiet >= QUIET_CONFIRM:
                self._under_way[box.id] = Replacement(box.id)
                self._launch(self._under_way[box.id])
        for replacement in list(self._under_way.values()):
            self._follow(replacement)

    def _ask(self, box: Box) -> None:
        def answered(result: Result) -> None:
            if result.status is Status.CRITICAL:
                self._failed_at.setdefault(box.id, result.sent)

        for check in self._desk.settings.fleets[FLEET].checks:
            self._desk.eyes.ask(FLEET, box.id, check, answered)

    def _launch(self, replacement: Replacement) -> None:
        if self._site.dud_image:
            return  # nothing that is launched would boot
        policy = self._desk.settings.fleets[FLEET]
        zones = [zone for zone in policy.zones if not self._site.zones[zone].cut] or list(policy.zones)
        zone = min(zones, key=lambda zone: (sum(box.zone == zone for box in self._site.boxes.values()), zone))
        token = self._token()

        def ask() -> None:
            self._desk.cloud.perform(Launch(FLEET, policy.image, policy.version, zone, token), answered)

        def answered(outcome: Outcome) -> None:
            if isinstance(outcome, Done):
                replacement.new = outcome.instance
            else:
                self._desk.clockwork.after(RETRY, ask)

        ask()

    def _follow(self, replacement: Replacement) -> None:
        box = self._site.boxes.get(replacement.new)
        if box is None:
            return
        if not replacement.registered and box.power is Power.RUNNING and self._site.is_up(box):
            replacement.registered = True
            self._perform(Register(FLEET, box.id, self._token()))
        if box.worth > 0:
            self._perform(Deregister(FLEET, replacement.old, self._token()))
            self._perform(Mark(FLEET, replacement.old, self._token(), "expired"))
            self._perform(Terminate(FLEET, replacement.old, self._token()))
            replacement.new = ""  # it is done; the entry stays, so that it is done once

    def _perform(self, request: Request) -> None:
        self._desk.cloud.perform(request, lambda _: None)

    def _token(self) -> str:
        self._tokens += 1
        return f"oracle-{self._tokens}"
