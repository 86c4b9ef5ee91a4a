"""What one step of the engine works with: records, fleets, the moment, and the turn it is writing.

The only way to change a record, tell people something or send a command; so every change is in the turn.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from supervisor.core import challenge, troubles
from supervisor.core.bucket import Bucket
from supervisor.core.fleet import Fleet
from supervisor.core.guards import Facts, breaker_allows, floors, share
from supervisor.core.health import Chart
from supervisor.core.journal import Step, Verb, Workflow, WorkflowKind
from supervisor.core.machine import MachineState, TargetHealth
from supervisor.core.model import (
    AuditEntry,
    CheckStanding,
    Holder,
    Image,
    Incident,
    Instance,
    Note,
    OutboxMessage,
    Permit,
    Quarantine,
    Removal,
    Slot,
)
from supervisor.core.population import ZONES
from supervisor.core.settings import Settings
from supervisor.core.sight import Sight
from supervisor.core.signals import Event, Forget, IncidentTold, InstanceMoved, Observe, Said, Turn
from supervisor.core.spending import Spending, count, others
from supervisor.core.terms import COMING, BootTime, Cause, Health, Lifecycle, Mode, Now, Seconds, Standing
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
        self.bucket = Bucket(now.boot)
        self.fleets: dict[str, Fleet] = {}
        self.owners: dict[str, Fleet] = {}  # instance -> its fleet, for everyone who has a chart
        self.charts: dict[str, Chart] = {}  # the same everyone, straight to the chart: for the hot path
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
        self.owners[instance.id] = fleet
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
        self.owners.pop(instance, None)
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

    # -- facts for the guards

    @property
    def holders(self) -> tuple[str, ...]:
        """Everyone who pauses all acting, with the reason."""
        return tuple(f"{h.name} ({h.reason})" if h.reason else h.name for h in self.world.all(Holder))

    def mode_of(self, fleet: Fleet) -> Mode:
        """Return the mode that counts for a fleet."""
        return fleet.policy.mode or self.settings.mode

    def is_approved(self, incident: Incident | None) -> bool:
        """Return whether a person has approved this incident as it stands, not too long ago."""
        if incident is None or incident.approval is None:
            return False
        return incident.approval.granted and self.now.wall < incident.approval.expires_at

    def _rejected(self, incident: Incident | None) -> str:
        """Return who has rejected this incident's remediation, not too long ago."""
        word = incident.approval if incident is not None else None
        return "" if word is None or word.granted or self.now.wall >= word.expires_at else word.actor

    def facts(
        self,
        fleet: Fleet,
        *,
        instance: Instance | None = None,
        slot: int | None = None,
        incident: Incident | None = None,
        workflow: Workflow | None = None,
    ) -> Facts:
        """Collect the numbers that the guards read."""
        guards, judgement, policy = self.settings.guards, self.settings.judgement, fleet.policy
        world, name, now = self.world, fleet.policy.name, self.now.boot
        chart = fleet.charts.get(instance.id) if instance else None
        own = instance.id if instance else ""
        zone = instance.zone if instance else ""
        slot = instance.slot if instance is not None and slot is None else slot
        place = world.get(Slot, name, slot) if slot is not None else None
        lb_floor, serving_floor = floors(policy.desired, guards.lb_floor, guards.serving_floor)

        explained = fleet.investigation.explained
        lately = fleet.sick_lately(guards.breaker_window, now)
        sick = lately - explained if explained else lately
        allowed = breaker_allows(guards.breaker_share, policy.desired)
        if len(sick) > allowed:
            fleet.storm_seen = now
        calm_in = 0.0 if fleet.storm_seen is None else fleet.storm_seen + guards.breaker_quiet - now

        spent = self._spending(fleet)
        concurrent = share(guards.concurrent_share, policy.desired)
        half_open = now < fleet.half_open_until
        if now - self.started.boot < judgement.cold_start or half_open:
            concurrent = 1
        in_zone = max(1, policy.desired // max(1, len(policy.zones)))
        costly = [i for i in world.kept[name] - {own} if not world.need(Quarantine, i).stopped]
        try_again = fleet.last_launch_failure is None or now - fleet.last_launch_failure >= guards.launch_half_open
        own_number = workflow.id if workflow is not None else 0
        # One try at a time: who waits besides it learns from it.
        try_again = try_again and not any(w.zone and w.id != own_number for w in spent.under_way)
        suspect = self.suspect_image(name)
        launches = workflow.image if workflow is not None else suspect.id if suspect is not None else ""
        age = None if fleet.inventory_at is None else now - fleet.inventory_at
        verdict, explaining = fleet.verdict_on(own), self.settings.explaining
        asked_for = workflow is not None and workflow.actor != "sickbay"
        challenged, told = ("", "") if asked_for else challenge.reading(fleet, instance, now, explaining)
        return Facts(
            mode=self.mode_of(fleet),
            approved=self.is_approved(incident),
            rejected=self._rejected(incident),
            by_operator=asked_for,
            holders=self.holders,
            held=self.hold_on(instance),
            grace=self._grace(fleet, instance),
            unheard=_unheard(chart, starting=instance is not None and instance.lifecycle in COMING),
            fresh_rounds=fleet.clean_rounds(now),
            fresh_rounds_needed=judgement.amnesty_rounds,
            blind=self.sight.blind,
            inventory_age=age,
            inventory_limit=fleet.inventory_limit,
            desired=policy.desired,
            serving=fleet.serving - (1 if chart is not None and chart.serving else 0),
            costs_capacity=_costs_capacity(chart),
            lb_floor=lb_floor,
            serving_floor=serving_floor,
            sick_lately=len(sick),
            unwell=fleet.unwell(guards.breaker_window, now)
            - sum(i in fleet.suspects or i in lately for i in explained),
            left_aside=len(explained),
            sick_allowed=allowed,
            breaker_quiet=max(0.0, calm_in),
            concurrent=spent.concurrent(own),
            concurrent_allowed=concurrent,
            zone=zone,
            zone_concurrent=spent.in_zone(zone, own),
            zone_allowed=share(guards.concurrent_zone_share, in_zone),
            credits=share(guards.concurrent_share, policy.desired) - others(spent.unsettled, own),
            hourly=others(spent.hour, own),
            hourly_allowed=share(guards.hourly_share, policy.desired, least=guards.hourly_least),
            daily=others(spent.day, own),
            daily_allowed=share(guards.daily_share, policy.desired, least=guards.daily_least),
            global_hourly=others(spent.everywhere, own),
            global_allowed=guards.global_hourly,
            lineage=self.lineage(place),
            lineage_allowed=guards.lineage_limit,
            cooldown_left=self._cooldown(place),
            needs_human=place.needs_human if place else "",
            quarantined=len((world.kept[name] | self._being_isolated(spent.under_way)) - {own}),
            quarantine_allowed=guards.quarantine_cap,
            launch_failures=spent.failures,
            launch_allowed=guards.launch_failures,
            launch_half_open=try_again and self.since(self.started.wall) >= guards.launch_half_open,
            instances=spent.instances,
            instances_allowed=guards.max_instances,
            group=policy.group,
            kept_cost=24 * policy.hourly_price * len(costly),
            kept_running=len(costly),
            machine_cost=24 * policy.hourly_price,
            cost_allowed=guards.quarantine_daily,
            verdict=Cause.INSTANCE if asked_for else verdict.cause,
            verdict_words="asked for by an operator" if asked_for else verdict.sentence or "nobody else is suspect",
            odds_needed=explaining.odds_for(policy),
            challenge=challenged,
            challenge_words=told or "asked for by an operator",
            acquitted=self._acquitted(fleet, chart, workflow),
            explained=bool(fleet.verdict.ranked),
            shared=self._shared(fleet, instance),
            zone_trouble=troubles.impaired(world).get(zone, "") if zone else "",
            waiver=self._waiver(fleet, own),
            permit=self._permit(name, workflow),
            half_open=half_open,
            waves=spent.waves(world, own),
            surprise_allowed=self.surprise_allowed(fleet),
            extra=spent.extra,
            extra_allowed=max(guards.extra_least, ceil(guards.extra_share * policy.desired)),
            image_trouble=f"{suspect.version or suspect.id}: {suspect.standing_why}"
            if suspect is not None and launches == suspect.id
            else "",
            is_control=suspect is not None and workflow is not None and launches != suspect.id,
        )

    def is_replaced(self, instance: str) -> bool:
        """Return whether another machine serves in the place of one that only waits to be set aside."""
        workflow = self.world.workflow_of(instance)
        if workflow is None or workflow.patient != instance or not workflow.candidate:
            return False
        candidate = self.world.get(Instance, workflow.candidate)
        return candidate is not None and candidate.served

    def _being_isolated(self, running: Iterable[Workflow]) -> set[str]:
        """Return those whose isolation was ordered: several that are ordered at once must not overfill the quarantine."""
        steps = ((w, w.step) for w in running if w.patient)
        return {
            w.patient
            for w, step in steps
            if step is not None
            and step.verb is Verb.ISOLATE
            and self.world.get(Step, w.id, step.name, w.attempt) is not None
        }

    def removed_lately(self, fleet: Fleet) -> int:
        """Return how many removals a fleet has had within the hour."""
        return others(self._spending(fleet).hour, "")

    def surprise_allowed(self, fleet: Fleet) -> int:
        """Return how many removals within an hour surprise nobody; one more needs everything weighed."""
        guards = self.settings.guards
        expected = guards.surprise_times * fleet.failure_rate * fleet.policy.desired
        return max(guards.hourly_least, ceil(expected))

    def suspect_image(self, fleet: str) -> Image | None:
        """Return the image of a fleet that is on trial: nothing but its control is launched meanwhile."""
        return next((i for i in self.world.all(Image) if i.fleet == fleet and i.standing is Standing.SUSPECT), None)

    def _spending(self, fleet: Fleet) -> Spending:
        """Return what is under way and was spent; counted once while neither records nor time move."""
        guards, basis = self.settings.guards, (self.world.version, self.now, self.settings)
        if self._counted[0] != basis:
            self._counted = (basis, {})
        policy, known = fleet.policy, self._counted[1]
        if policy.name not in known:
            known[policy.name] = count(self.world, policy.name, policy.desired, self.now.wall, guards.wave_gap)
        return known[policy.name]

    def _shared(self, fleet: Fleet, instance: Instance | None) -> str:
        trouble = troubles.covering(self.world, fleet, instance) if instance is not None else None
        return f"{trouble.about} is not over (incident {trouble.id})" if trouble is not None else ""

    def _acquitted(self, fleet: Fleet, chart: Chart | None, workflow: Workflow | None) -> str:
        """Say which check lost its vote since a healing began, whose patient nothing speaks against any more."""
        if workflow is None or workflow.kind is not WorkflowKind.REMEDIATE or not fleet.muted or chart is None:
            return ""
        if chart.finding.health not in (Health.HEALTHY, Health.UNKNOWN) or workflow.actor != "sickbay":
            return ""
        standings = (self.world.get(CheckStanding, fleet.policy.name, check) for check in sorted(fleet.muted))
        lost = [s.check for s in standings if s is not None and s.since >= workflow.opened_at]
        return f"check {', '.join(lost)} has no vote any more, and nothing else speaks against it" if lost else ""

    def permit(self, fleet: str) -> Permit | None:
        """Return a person's word that lets this fleet's machines be healed now, storm or not."""
        permit = self.world.get(Permit, fleet)
        return permit if permit is not None and permit.removals > 0 and self.now.wall < permit.until else None

    def _permit(self, fleet: str, workflow: Workflow | None) -> str:
        """Say whose word lets a healing begin; what began by it may end by it."""
        word = self.world.get(Permit, fleet)
        began = word is not None and workflow is not None and word.since <= workflow.opened_at < word.until
        if word is None or not (began and workflow is not None and workflow.kind is WorkflowKind.REMEDIATE):
            word = self.permit(fleet) if workflow is None else None
        return f"{word.actor} allows it until {word.until:%H:%M} UTC" if word is not None else ""

    def _waiver(self, fleet: Fleet, own: str) -> str:
        """Say why a machine may be healed although it is not plainly its own fault alone that makes it sick."""
        guards, verdict, name = self.settings.guards, fleet.verdict, fleet.policy.name
        if verdict.cause is Cause.COHORT:
            return "it is healed in waves"
        if verdict.cause is Cause.IMAGE and not troubles.accuses_good_image(self.world, fleet):
            return "another image takes its place"
        if verdict.cause in troubles.PLACES and fleet.shared_over:
            return f"{fleet.shared_over} is mostly well again: one at a time"
        if verdict.cause not in (Cause.UNEXPLAINED, Cause.FLEET) or verdict.label == ZONES:
            return ""
        if self.now.boot < fleet.half_open_until:
            return "new machines withstand it: half-open, one at a time"
        trouble = troubles.of(self.world, name)
        alone = sum(e.probability for e in verdict.ranked if e.cause is Cause.INSTANCE)
        patient = trouble is not None and self.since(trouble.opened_at) >= guards.unexplained_after
        every = timedelta(seconds=guards.unexplained_every)
        lately = any(
            r.fleet == name and r.instance != own and self.now.wall - r.at < every for r in self.world.values(Removal)
        )
        if verdict.cause is Cause.UNEXPLAINED and patient and alone >= 0.5 and not lately:
            return f"unexplained for long, each for itself at {alone:.2f}: one in {guards.unexplained_every:.0f}s"
        return ""

    def lineage(self, slot: Slot | None) -> int:
        """Return how many replacements were launched in a slot within the window."""
        if slot is None:
            return 0
        window = self.settings.guards.lineage_window
        return sum(1 for at in slot.lineage if self.since(at) < window)

    def _cooldown(self, slot: Slot | None) -> Seconds:
        if slot is None or slot.served_at is None or not slot.lineage:
            return 0.0
        return max(0.0, self.settings.guards.cooldown - self.since(slot.served_at))

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

    def _grace(self, fleet: Fleet, instance: Instance | None) -> str:
        if instance is None or instance.lifecycle not in COMING:
            return ""
        limit = fleet.boots.deadline(self.settings.judgement, self.to_boot(instance.created_at))
        return f"{instance.lifecycle} for {self.since(instance.since):.0f}s of {limit:.0f}s"

    def _workflow(self, number: int) -> Workflow:
        return self.world.need(Workflow, number)

    def _zone(self, instance: str) -> str:
        known = self.world.get(Instance, instance)
        return known.zone if known else ""

    def kept(self, fleet: Fleet) -> list[Quarantine]:
        """Return the fleet's quarantined machines, oldest first."""
        found = [self.world.need(Quarantine, i) for i in self.world.kept[fleet.policy.name]]
        return sorted(found, key=lambda q: (q.isolated_at, q.instance))


def _unheard(chart: Chart | None, *, starting: bool) -> str:
    """Return why nobody can say how an instance is: its checks are silent themselves, or broken."""
    if chart is None or not chart.observed:
        return ""
    finding = chart.finding
    # One that starts is never more than unknown, even where its group has registered it already.
    serves = not starting and chart.machine is not None and chart.machine.registered is True
    return finding.reason if finding.unheard or (serves and finding.health is Health.UNKNOWN) else ""


def _costs_capacity(chart: Chart | None) -> bool:
    """Return whether the load balancer may still send traffic; unknown counts as yes."""
    machine = chart.machine if chart is not None else None
    if machine is None:
        return True
    if machine.state in (MachineState.STOPPED, MachineState.TERMINATED):
        return False
    return machine.registered is not False and machine.target is not TargetHealth.UNHEALTHY
