"""What all baselines share: the list of machines, probes on a beat, and how a cloud is asked for less or more.

A baseline is a `Baseline` with its numbers and one rule, `due`: whom to take away now. It sees the machines through the
desk's eyes and cloud only, names no cause, and is as simple as the product that it stands for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from supervisor.core.machine import Machine, MachineState
from supervisor.core.requests import (
    Deregister,
    Done,
    Launch,
    Mark,
    Outcome,
    Refused,
    Register,
    Request,
    Terminate,
    Unclear,
)
from supervisor.core.settings import CheckPolicy, Settings
from supervisor.core.signals import Beat, Result
from supervisor.core.terms import BootTime, ChangeKind, Role, Seconds, Status
from supervisor.sim.exam.baselines.group import LONG_AGO, Group, Lease, Member, Streak
from supervisor.sim.exam.healer import Desk, Page

BEAT: Seconds = 5.0
"""How often rules are looked at again that only time changes."""
RETRY: Seconds = 30.0
"""How long after a no of the cloud's a launch is tried again."""
REFUSED_FOR: Seconds = 600.0
"""How long a zone that had no capacity is left out."""


class Baseline:
    """A healer that stands for a product. Subclasses set the numbers and say who is `due`."""

    name: str = ""
    summary: ClassVar[str] = ""
    sight: ClassVar[Streak | Lease]
    listing: ClassVar[Seconds] = 10.0  # how often the cloud is asked for its machines
    trusts_absence: ClassVar[bool] = False  # a machine that the list lacks is gone, whatever its probes say
    owns_machines: ClassVar[bool] = False  # it is the cloud's own: a stopped machine is replaced at once
    launches_first: ClassVar[bool] = False  # the replacement serves before the old one goes
    idempotent: ClassVar[bool] = True  # a launch whose answer was lost is asked for by the same token
    obeys: ClassVar[frozenset[str]] = frozenset()  # what of an operator's it knows: "pause", "hold"

    def __init__(self) -> None:
        """Begin with nobody."""
        self.groups: dict[str, Group] = {}
        self.paused = False
        self.exempt: dict[str, BootTime] = {}
        self.braked: set[str] = set()
        self.ended = 0  # removals so far
        self._tokens = 0

    # -- the rule

    def due(self, group: Group, now: BootTime) -> Sequence[Member]:
        """Return whom to take away now: everybody who is bad, unless a product knows a brake."""
        return group.bad

    def fell(self, group: Group, member: Member, now: BootTime) -> None:
        """Hear that a machine was just found bad."""

    # -- the healer

    def begin(self, desk: Desk) -> None:
        """Sit down at the desk."""
        self.desk = desk
        self.groups = {name: Group(policy) for name, policy in sorted(desk.settings.fleets.items())}
        desk.clockwork.every(self.listing, self._list)
        desk.clockwork.every(BEAT, self._look, first=BEAT)

    def heartbeats(self, beats: Sequence[Beat]) -> None:
        """No product here hears them by a way of their own."""

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None:
        """No product here knows what was changed."""

    def operator(self, verb: str, target: str, seconds: Seconds) -> None:
        """Obey what the product knows."""
        if verb in ("pause", "resume") and "pause" in self.obeys:
            self.paused = verb == "pause"
        if verb in ("hold", "unhold") and "hold" in self.obeys:
            self.exempt[target] = self.desk.clockwork.now + seconds if verb == "hold" else LONG_AGO

    def configured(self, settings: Settings) -> None:
        """Take new settings: the desired size, the checks."""
        for name, policy in settings.fleets.items():
            if name in self.groups:
                self.groups[name].policy = policy

    def killed(self) -> None:
        """Count afresh: what is counted is nowhere on disk."""
        for group in self.groups.values():
            for member in group.members.values():
                member.fails = member.passes = 0

    def say(self, text: str, *, urgent: bool = False) -> None:
        """Tell people; a machine that was replaced wakes nobody."""
        self.desk.pager.tell(Page(self.desk.clockwork.now, text, urgent=urgent))

    def brake(self, group: Group, is_on: bool, text: str) -> None:
        """Say once that a brake holds all removals."""
        if is_on and group.policy.name not in self.braked:
            self.say(text, urgent=True)
        (self.braked.add if is_on else self.braked.discard)(group.policy.name)

    # -- the list of machines

    def _list(self) -> None:
        for name in self.groups:
            self.desk.cloud.list(name, lambda machines, name=name: self._listed(name, machines))  # type: ignore[misc]  # bound now

    def _listed(self, name: str, machines: Sequence[Machine] | None) -> None:
        if machines is None:
            return
        group, now = self.groups[name], self.desk.clockwork.now
        is_first = not group.members
        seen = {machine.id: machine for machine in machines}
        for machine in sorted(machines, key=lambda machine: machine.id):
            member = group.members.get(machine.id)
            if member is None and machine.state is MachineState.RUNNING and not machine.isolated:
                self._join(group, machine, now, served=is_first)
            elif member is not None:
                self.noticed(group, member, machine, now)
        for member in list(group.members.values()):
            machine_now = seen.get(member.id)
            absent = machine_now is None and (member.bad_since is not None or (self.trusts_absence and member.running))
            if absent or (machine_now is not None and machine_now.state is MachineState.TERMINATED):
                group.forget(member)
        self._fill(group, now)

    def noticed(self, group: Group, member: Member, machine: Machine, now: BootTime) -> None:
        """See a known machine in the list."""
        member.running = machine.state is MachineState.RUNNING
        if self.owns_machines and machine.state is MachineState.STOPPED:
            self.bad(group, member, now)

    def _join(self, group: Group, machine: Machine, now: BootTime, *, served: bool) -> None:
        member = Member(machine.id, machine.fleet, machine.zone, machine.id, LONG_AGO if served else now, served)
        member.passed_at = now if served else LONG_AGO
        group.members[machine.id] = member
        if not served and machine.registered is False:
            self._ask(Register(machine.fleet, machine.id, self._token()))
        phase = zlib.crc32(machine.id.encode()) % 1000 / 1000 * self.sight.interval
        self.desk.clockwork.after(phase, lambda: self._probe(group, member))

    # -- probes

    def _probe(self, group: Group, member: Member) -> None:
        if group.members.get(member.id) is not member or member.leaving:
            return
        self.desk.clockwork.after(self.sight.interval, lambda: self._probe(group, member))
        self.look_at(group, member)

    def look_at(self, group: Group, member: Member) -> None:
        """Ask every liveness check of one machine; all of them pass, or the round has failed."""
        checks = [check for check in group.policy.checks if check.role is Role.LIVENESS]
        answers: list[Result] = []

        def answered(result: Result) -> None:
            answers.append(result)
            if len(answers) == len(checks):
                bad = any(answer.status is Status.CRITICAL for answer in answers)
                if bad or any(answer.status in (Status.OK, Status.WARNING) for answer in answers):
                    self.counted(group, member, not bad)

        for check in checks:
            self.desk.eyes.ask(member.fleet, member.id, self._own(check), answered)

    def _own(self, check: CheckPolicy) -> CheckPolicy:
        return replace(check, interval=self.sight.interval, timeout=self.sight.timeout)

    def counted(self, group: Group, member: Member, passed: bool) -> None:
        """Count one round of probes."""
        now = self.desk.clockwork.now
        if passed:
            member.passes, member.fails, member.passed_at = member.passes + 1, 0, now
            member.joined = True
        else:
            member.passes, member.fails = 0, member.fails + 1
        self._judge(group, member, now)

    def _judge(self, group: Group, member: Member, now: BootTime) -> None:
        well = self.sight.judge(member, now)
        if well is False:
            self.bad(group, member, now)
        elif well and member.running:
            member.bad_since = None

    def bad(self, group: Group, member: Member, now: BootTime) -> None:
        """Find a machine bad; act at once where the rule says so."""
        if member.bad_since is None:
            member.bad_since = now
            self.say(f"{self.name}: {member.id} is unhealthy")
            self.fell(group, member, now)
            self._act(group, now)

    # -- acting

    def _look(self) -> None:
        now = self.desk.clockwork.now
        for group in self.groups.values():
            if isinstance(self.sight, Lease):  # it runs out by itself; what is counted is judged as it is counted
                for member in group.kept:
                    self._judge(group, member, now)
            self._act(group, now)
            self._fill(group, now)

    def _act(self, group: Group, now: BootTime) -> None:
        if self.paused:
            return
        for member in self.due(group, now):
            if self.exempt.get(member.id, LONG_AGO) > now:
                continue
            if self.launches_first:
                member.replacing = True
            else:
                self.remove(group, member)
        if self.launches_first:
            self._hand_over(group)
        self._fill(group, now)

    def _hand_over(self, group: Group) -> None:
        for member in [member for member in group.kept if member.replacing]:
            staying = [other for other in group.well if not other.replacing]
            others_leaving = sum(other.replacing for other in group.kept) - 1
            if len(staying) + others_leaving >= group.policy.desired or member.bad_since is None:
                member.replacing = False
                if member.bad_since is not None:
                    self.remove(group, member)

    def remove(self, group: Group, member: Member) -> None:
        """Take a machine out of the load balancer, and destroy it."""
        member.leaving = True
        self.ended += 1
        requests: list[Request] = [
            Deregister(member.fleet, member.id, self._token()),
            Mark(member.fleet, member.id, self._token(), "expired"),
            Terminate(member.fleet, member.id, self._token()),
        ]

        def step(outcome: Outcome | None = None) -> None:
            if outcome is not None and not isinstance(outcome, Done | Refused):
                self.desk.clockwork.after(RETRY, lambda: self.desk.cloud.perform(requests[0], step))
                return
            if outcome is not None:
                requests.pop(0)
            if requests:
                self.desk.cloud.perform(requests[0], step)
            elif isinstance(outcome, Done):
                group.forget(member)

        step()

    def _fill(self, group: Group, now: BootTime) -> None:
        """Launch until as many are there, or coming, as are wanted."""
        if self.paused or now < group.wait_until:
            return
        wanted = group.policy.desired + sum(member.replacing for member in group.kept)
        while len(group.kept) + group.launching < wanted and now >= group.wait_until:
            group.launching += 1
            zone = group.zone_for_next(now)
            policy, slot = group.policy, group.vacant.pop(0) if group.vacant else ""
            tags = (("exam:slot", slot),) if slot else ()
            asked = Launch(policy.name, policy.image, policy.version, zone, self._token(), tags, policy.recipe)
            self._launch(group, asked, slot)

    def _launch(self, group: Group, asked: Launch, slot: str) -> None:
        self.desk.cloud.perform(asked, lambda outcome: self._launched(group, asked, slot, outcome))

    def _launched(self, group: Group, asked: Launch, slot: str, outcome: Outcome) -> None:
        now = self.desk.clockwork.now
        if isinstance(outcome, Unclear) and self.idempotent:
            self.desk.clockwork.after(RETRY, lambda: self._launch(group, asked, slot))
            return
        group.launching -= 1
        if isinstance(outcome, Done):
            member = Member(outcome.instance, asked.fleet, asked.zone, slot or outcome.instance, now, running=False)
            group.members[member.id] = member
            self._ask(Register(member.fleet, member.id, self._token()))
            self.desk.clockwork.after(self.sight.interval, lambda: self._probe(group, member))
            return
        group.wait_until = now + RETRY
        group.vacant += [slot] if slot else []
        if isinstance(outcome, Refused) and outcome.capacity:
            group.refused_zones[asked.zone] = now + REFUSED_FOR

    def _ask(self, request: Request) -> None:
        """Ask until it is done, or refused for good; a machine that does not run yet can't be registered yet."""

        def answered(outcome: Outcome) -> None:
            if isinstance(outcome, Done):
                return
            group = self.groups[request.fleet]
            member = group.members.get(request.instance) if not isinstance(request, Launch) else None
            if member is not None and not member.leaving:
                self.desk.clockwork.after(RETRY / 3, lambda: self.desk.cloud.perform(request, answered))

        self.desk.cloud.perform(request, answered)

    def _token(self) -> str:
        self._tokens += 1
        return f"{self.name}-{self.desk.seed}-{self._tokens}"
