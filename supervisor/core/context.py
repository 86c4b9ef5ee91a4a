"""What one step of the engine works with: records, fleets, the moment, and the turn it is writing.

The only way to change a record, tell people something or send a command; so every change is in the turn.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from supervisor.core.bucket import Bucket
from supervisor.core.fleet import Fleet
from supervisor.core.health import Chart
from supervisor.core.hearing import Hearing
from supervisor.core.model import (
    AuditEntry,
    Holder,
    Image,
    Incident,
    Instance,
    Note,
    OutboxMessage,
    Permit,
    Quarantine,
    Slot,
)
from supervisor.core.settings import Settings
from supervisor.core.sight import Sight
from supervisor.core.signals import Event, Forget, IncidentTold, InstanceMoved, Observe, Said, Turn
from supervisor.core.spending import Spending, count, others
from supervisor.core.terms import COMING, BootTime, Lifecycle, Mode, Now, Seconds, Standing
from supervisor.core.world import World

StepKey = tuple[int, str, int]
DAY = timedelta(days=1)
KILL_SWITCH = "file"
KEPT_NOTES = 200


class Context:
    """The engine's working state. `turn` is replaced at each step."""

    def __init__(self, world: World, settings: Settings, now: Now) -> None:
        """Start at this moment."""
        self.world = world
        self.settings = settings
        self.now = now
        self.started = now
        self.clock_set: datetime | None = None  # when somebody last set the wall clock, on the clock as it is now
        self.turn = Turn()
        self.sight = Sight(now)
        self.hearing = Hearing()
        self.bucket = Bucket(now.boot)
        self.fleets: dict[str, Fleet] = {}
        self.charts: dict[str, Chart] = {}  # of every fleet: for the hot path
        self.slots_known: dict[
            str, tuple[int, int]
        ] = {}  # fleet -> slots wanted, and slot changes, when all were there
        self._counted: tuple[tuple[int, Now, Settings], dict[str, Spending]] = ((-1, now, settings), {})
        self.flying: set[StepKey] = set()  # steps given to an executor in this life, and not yet answered

    # -- time

    def at(self, seconds: Seconds) -> datetime:
        """Return the wall time so many seconds from now."""
        return self.now.wall + timedelta(seconds=seconds)

    def since(self, moment: datetime) -> Seconds:
        """Return the seconds since a stored moment; never negative."""
        return max(0.0, (self.now.wall - moment).total_seconds())

    def to_boot(self, moment: datetime) -> BootTime:
        """Return a stored moment on the boot clock."""
        return self.now.boot + (moment - self.now.wall).total_seconds()

    def waited(self, since: datetime) -> Seconds:
        """Return how long a wait has lasted under our eyes: from this start, or since somebody set the clock, at most."""
        begun = max(since, self.started.wall)
        if self.clock_set is not None:
            begun = self.clock_set if begun > self.now.wall else max(begun, self.clock_set)
        return self.since(begun)

    # -- telling

    def emit(self, event: Event) -> None:
        """Publish an event to log and page."""
        self.turn.events.append(event)

    def tell(self, kind: str, text: str, *, fleet: str = "", incident: int = 0) -> None:
        """Queue one message on every surface."""
        for surface in self.settings.surfaces:
            number = self.world.next_id()
            self.world.put(
                OutboxMessage(
                    id=number,
                    surface=surface,
                    dedup=f"{self.world.identity.uid}/{number}",
                    kind=kind,
                    at=self.now.wall,
                    fleet=fleet,
                    incident=incident,
                    text=text,
                )
            )

    def say(self, kind: str, text: str, fleet: str = "") -> None:
        """Tell something that belongs to no incident."""
        self.emit(Said(kind, text, fleet))
        self.tell(kind, text, fleet=fleet)

    def note(self, incident: Incident, kind: str, text: str) -> Incident:
        """Write one line into an incident's story, and tell it."""
        notes = (*incident.notes, Note(self.now.wall, text))[-KEPT_NOTES:]
        incident = self.world.put(replace(incident, notes=notes))
        self.emit(IncidentTold(kind, incident, text))
        self.tell(kind, text, fleet=incident.fleet, incident=incident.id)
        return incident

    def audit(self, action: str, target: str, *, actor: str = "sickbay", via: str = "engine", reason: str = "") -> None:
        """Write one line of the audit log."""
        number = self.world.next_id()
        self.world.put(AuditEntry(number, self.now.wall, actor, via, action, target, reason))

    # -- records

    def move(self, instance: Instance, lifecycle: Lifecycle, **fields: object) -> Instance:
        """Change an instance's lifecycle."""
        if instance.lifecycle is not lifecycle:
            self.emit(InstanceMoved(instance.id, instance.fleet, instance.lifecycle, lifecycle))
            fields = {"since": self.now.wall, **fields}
        moved = self.world.put(replace(instance, lifecycle=lifecycle, **fields))  # type: ignore[arg-type]  # checked by tests
        fleet = self.fleets.get(instance.fleet)
        if fleet is not None:
            self.track(fleet, moved)
        return moved

    def vacate(self, instance: Instance) -> None:
        """Let an instance's slot wait for another one, if it fills one still."""
        slot = self.world.get(Slot, instance.fleet, instance.slot) if instance.slot is not None else None
        if slot is not None and slot.occupant == instance.id:
            self.world.put(replace(slot, occupant=None))

    def track(self, fleet: Fleet, instance: Instance) -> None:
        """Bring the in-memory side of an instance in line with its record."""
        fleet.dirty = True
        if instance.lifecycle in (Lifecycle.RETIRED, Lifecycle.RETIRING):
            self.unobserve(fleet, instance.id)
            self.forget(fleet, instance.id)
            return
        chart = fleet.chart(instance.id)
        self.charts[instance.id] = chart
        if instance.lifecycle is Lifecycle.WITHDRAWN:
            fleet.withdrawn.add(instance.id)
        else:
            fleet.withdrawn.discard(instance.id)
        if instance.lifecycle in (Lifecycle.QUARANTINED, Lifecycle.BOOT_FAILED):
            self.unobserve(fleet, instance.id)
            chart.reset()
            fleet.investigation.population.leave(instance.id)
            fleet.set_serving(chart, serving=False)
            for group in (fleet.sick, fleet.suspects, fleet.silent, fleet.unready, fleet.unknown):
                group.discard(instance.id)
            fleet.lately.edges += 1
        else:
            self.observe(fleet, instance)

    def forget(self, fleet: Fleet, instance: str) -> None:
        """Drop the in-memory side of an instance."""
        self.charts.pop(instance, None)
        fleet.drop(instance)

    def observe(self, fleet: Fleet, instance: Instance, *, fast: bool | None = None) -> None:
        """Have an instance's checks run, at the suspect's pace while it is suspect or starting."""
        chart = fleet.chart(instance.id)
        if not instance.address:
            return
        if fast is None:
            doubtful = instance.id in fleet.suspects or instance.id in fleet.sick
            fast = instance.lifecycle in COMING or (doubtful and fleet.may_hurry(instance.id))
        if chart.observed and chart.fast == fast:
            return
        fleet.watch(chart, fast=fast)
        self.turn.commands.append(
            Observe(
                instance.id, fleet.policy.name, instance.address, instance.zone, instance.image, instance.version, fast
            )
        )

    def unobserve(self, fleet: Fleet, instance: str) -> None:
        """Have no more checks run on an instance."""
        chart = fleet.charts.get(instance)
        if chart is not None and chart.observed:
            fleet.unwatch(chart)
            self.turn.commands.append(Forget(instance))

    def token(self, *parts: str | int) -> str:
        """Return the idempotency token of one step: the same parts are the same effect, for ever."""
        text = "\x1f".join([self.world.identity.uid, *map(str, parts)])
        return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:40]

    # -- what the guards and the steps ask

    @property
    def holders(self) -> tuple[str, ...]:
        """Everyone who pauses all acting, with the reason."""
        return tuple(f"{h.name} ({h.reason})" if h.reason else h.name for h in self.world.all(Holder))

    def mode_of(self, fleet: Fleet) -> Mode:
        """Return the mode that counts for a fleet."""
        return fleet.policy.mode or self.settings.mode

    def is_replaced(self, instance: str) -> bool:
        """Return whether another machine serves in the place of one that only waits to be set aside."""
        workflow = self.world.workflow_of(instance)
        if workflow is None or workflow.patient != instance or not workflow.candidate:
            return False
        candidate = self.world.get(Instance, workflow.candidate)
        return candidate is not None and candidate.served

    def removed_lately(self, fleet: Fleet) -> int:
        """Return how many removals a fleet has had within the hour."""
        return others(self.spending(fleet).hour, "")

    def surprise_allowed(self, fleet: Fleet) -> int:
        """Return how many removals within an hour surprise nobody; one more needs everything weighed."""
        guards = self.settings.guards
        expected = guards.surprise_times * fleet.failure_rate * fleet.policy.desired
        return max(guards.hourly_least, ceil(expected))

    def suspect_image(self, fleet: str) -> Image | None:
        """Return the image of a fleet that is on trial: nothing but its control is launched meanwhile."""
        return next((i for i in self.world.all(Image) if i.fleet == fleet and i.standing is Standing.SUSPECT), None)

    def spending(self, fleet: Fleet) -> Spending:
        """Return what is under way and was spent; counted once while neither records nor time move."""
        guards, basis = self.settings.guards, (self.world.version, self.now, self.settings)
        if self._counted[0] != basis:
            self._counted = (basis, {})
        policy, known = fleet.policy, self._counted[1]
        if policy.name not in known:
            known[policy.name] = count(self.world, policy.name, policy.desired, self.now.wall, guards.wave_gap)
        return known[policy.name]

    def permit(self, fleet: str) -> Permit | None:
        """Return a person's word that lets this fleet's machines be healed now, storm or not."""
        permit = self.world.get(Permit, fleet)
        return permit if permit is not None and permit.removals > 0 and self.now.wall < permit.until else None

    def lineage(self, slot: Slot | None) -> int:
        """Return how many replacements were launched in a slot within the window."""
        if slot is None:
            return 0
        window = self.settings.guards.lineage_window
        return sum(1 for at in slot.lineage if self.since(at) < window)

    def hold_on(self, instance: Instance | None) -> str:
        """Return who holds an instance and why: an operator, or a word written on the machine itself; '' for nobody."""
        if instance is None:
            return ""
        if instance.held_until is None or instance.held_until <= self.now.wall:
            fleet = self.fleets.get(instance.fleet)
            chart = fleet.charts.get(instance.id) if fleet is not None else None
            written = chart.machine.held if chart is not None and chart.machine is not None else ""
            return f"held on the machine itself: {written}" if written else ""
        reason = f": {instance.hold_reason}" if instance.hold_reason else ""
        return f"held by {instance.held_by} until {instance.held_until:%Y-%m-%d %H:%M} UTC{reason}"

    def kept(self, fleet: Fleet) -> list[Quarantine]:
        """Return the fleet's quarantined machines, oldest first."""
        found = [self.world.need(Quarantine, i) for i in self.world.kept[fleet.policy.name]]
        return sorted(found, key=lambda q: (q.isolated_at, q.instance))
