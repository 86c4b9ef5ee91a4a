"""What the engine's events add up to since the daemon began. Fed by the service after each commit, never before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.context import Context
from supervisor.core.journal import Step, StepStatus
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance
from supervisor.core.requests import Launch
from supervisor.core.signals import Event, IncidentTold, InstanceMoved, Said, StepMoved
from supervisor.core.terms import SERVING, Lifecycle
from supervisor.surfaces.metrics import catalogue as c
from supervisor.surfaces.metrics.catalogue import Family
from supervisor.surfaces.metrics.sheet import Histogram, Sheet

KINDS = tuple(map(str, IncidentKind))
TAKEN_OUT = frozenset({Lifecycle.WITHDRAWN, Lifecycle.QUARANTINED})

Labels = tuple[str, ...]  # the values of a family's labels, in their order


@dataclass(slots=True)
class _Story:
    """What was counted of an incident that is not closed."""

    held: frozenset[str]
    resolved: bool


class Tally:
    """Counters and histograms, by their labels."""

    def __init__(self, ctx: Context) -> None:
        """Begin at zero. What was held and resolved before this start is not counted a second time."""
        self._ctx = ctx
        self._counts: dict[Family, Counter[Labels]] = defaultdict(Counter)
        self._histograms: dict[Family, defaultdict[Labels, Histogram]] = defaultdict(lambda: defaultdict(Histogram))
        open_now = (ctx.world.need(Incident, n) for numbers in ctx.world.open_of.values() for n in numbers)
        self._stories = {i.id: _Story(frozenset(i.held), i.state is IncidentState.RESOLVED) for i in open_now}
        self.config_at: datetime = ctx.started.wall
        self.config_ok = True

    def take(self, events: Sequence[Event]) -> None:
        """Count events."""
        for event in events:
            match event:
                case IncidentTold():
                    self._incident(event.kind, event.incident)
                case InstanceMoved():
                    self._moved(event)
                case StepMoved():
                    self._step(event)
                case Said():
                    self._said(event)

    def fill(self, sheet: Sheet) -> None:
        """Write everything counted; what is not, for every fleet configured, as a zero: an increase needs one."""
        counts = {family: Counter(counter) for family, counter in self._counts.items()}
        for family, zeros in self._zeros().items():
            counts.setdefault(family, Counter()).update(dict.fromkeys(zeros, 0))
        for family, counter in counts.items():
            for labels, value in sorted(counter.items()):
                sheet.put(family, value, *labels)
        for family, histograms in self._histograms.items():
            for labels, histogram in sorted(histograms.items()):
                sheet.put_histogram(family, histogram, *labels)

    def _zeros(self) -> Mapping[Family, Iterable[Labels]]:
        fleets = {name: fleet.policy for name, fleet in self._ctx.fleets.items()}
        kinds: list[Labels] = [(name, kind) for name in fleets for kind in KINDS]
        zones: list[Labels] = [(name, zone) for name, policy in fleets.items() for zone in policy.zones]
        return {
            c.OPENED: kinds,
            c.ESCALATED: kinds,
            c.REMOVALS: zones,
            c.LAUNCHES: [(*where, str(StepStatus.DONE)) for where in zones],
            c.CONFIG_REFUSED: [()],
        }

    # -- events

    def _incident(self, kind: str, incident: Incident) -> None:
        fleet, what = incident.fleet, str(incident.kind)
        story = self._stories.setdefault(incident.id, _Story(frozenset(), resolved=False))
        if kind in ("incident.opened", "incident.joined"):
            self._counts[c.OPENED][fleet, what] += 1
            detected = incident.opened_at - incident.suspected_at
            self._histograms[c.DETECTION][fleet, what].observe(detected.total_seconds())
        elif kind == "incident.escalated":
            self._counts[c.ESCALATED][fleet, what] += 1
        elif kind == "incident.held":
            # Only guards that are new hold it anew; told again unchanged, it was let go in between.
            now = frozenset(incident.held)
            for guard in now if now == story.held else now - story.held:
                self._counts[c.REFUSALS][fleet, guard] += 1
        story.held = frozenset(incident.held)
        # One that ends without having been resolved before recovered by itself. Later notes count nothing.
        ended = kind in ("incident.resolved", "incident.closed")
        if ended and incident.resolved_at is not None and not story.resolved:
            story.resolved = True
            self._counts[c.RESOLVED][fleet, what, str(incident.resolution)] += 1
            recovered = incident.resolved_at - incident.suspected_at
            self._histograms[c.RECOVERY][fleet, what].observe(recovered.total_seconds())
        if incident.state is IncidentState.CLOSED:
            del self._stories[incident.id]

    def _moved(self, event: InstanceMoved) -> None:
        self._counts[c.MOVES][event.fleet, str(event.new)] += 1
        if event.old in SERVING and event.new in TAKEN_OUT:
            instance = self._ctx.world.get(Instance, event.instance)
            self._counts[c.REMOVALS][event.fleet, instance.zone if instance else ""] += 1

    def _step(self, event: StepMoved) -> None:
        step, fleet = event.step, event.workflow.fleet
        outcome = _outcome(step)
        verb = next((planned.verb for planned in event.workflow.plan if planned.name == step.name), None)
        if not outcome or verb is None:
            return
        self._counts[c.STEPS][fleet, str(verb), outcome] += 1
        if isinstance(step.request, Launch):
            self._counts[c.LAUNCHES][fleet, step.request.zone, outcome] += 1
        if step.done_at is not None and step.status is not StepStatus.SKIPPED:
            self._histograms[c.STEP_SECONDS][fleet, str(verb)].observe((step.done_at - step.intent_at).total_seconds())

    def _said(self, event: Said) -> None:
        self._counts[c.NOTICES][event.fleet, event.kind] += 1
        if event.kind == "config.refused":
            self._counts[c.CONFIG_REFUSED][()] += 1
            self.config_ok = False
        elif event.kind == "config.loaded":
            self.config_at, self.config_ok = self._ctx.now.wall, True


def _outcome(step: Step) -> str:
    """Return what came of a step just now; '' while it is only begun."""
    match step.status:
        case StepStatus.DONE | StepStatus.SKIPPED | StepStatus.UNCLEAR:
            return str(step.status)
        case StepStatus.FAILED:
            return "failed" if step.request is None else "refused"
        case StepStatus.INTENT:
            return "throttled" if step.outcome is not None else ""
