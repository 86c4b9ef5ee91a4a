"""What two judges made of the same troubles, side by side: read from their records, compared in words.

`sim/replay.py` has one judge read what was recorded, and one what the engine of now decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from supervisor.core.history import HEARTBEAT, Moment, Run
from supervisor.core.journal import Workflow, WorkflowKind
from supervisor.core.model import Incident, IncidentState, Record, Resolution
from supervisor.core.terms import Seconds, Status
from supervisor.sim.past import Past

ALIKE: Seconds = 5.0  # decisions that lie no further apart are the same: results are expanded evenly, not as they came
ACTS = frozenset({WorkflowKind.REMEDIATE, WorkflowKind.WITHDRAW, WorkflowKind.FILL})


@dataclass(slots=True)
class Decided:
    """What was made of one machine's trouble (or of one shared cause), by one judge."""

    fleet: str
    subject: str
    cause: str
    found: Moment
    acted: Moment | None = None
    act: str = ""
    held: tuple[str, ...] = ()
    recovered: Moment | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One trouble, as it was judged then and as these settings judge it. One of the two may be missing."""

    fleet: str
    subject: str
    then: Decided | None
    now: Decided | None
    words: str
    same: bool
    regretted: bool = False  # it would have been taken away, and got well without

    @property
    def at(self) -> Moment:
        """When it was first found."""
        return min(one.found for one in (self.then, self.now) if one is not None)


class Judge:
    """Reads from records what was decided, then or now."""

    def __init__(self, fleets: Iterable[str]) -> None:
        """Begin with nothing."""
        self.decided: list[Decided] = []
        self._fleets = frozenset(fleets)
        self._by_incident: dict[int, Decided] = {}
        self._seen: set[int] = set()

    def saw(self, record: Record, at: Moment) -> None:
        """Take one record as it was written."""
        if isinstance(record, Incident) and record.fleet in self._fleets:
            self._incident(record, at)
        elif isinstance(record, Workflow) and record.fleet in self._fleets and record.kind in ACTS:
            self._workflow(record, at)

    def _incident(self, incident: Incident, at: Moment) -> None:
        known = self._by_incident.get(incident.id)
        if known is None:
            if incident.state is not IncidentState.OPEN:
                return  # from before
            known = Decided(incident.fleet, incident.instance or incident.about, incident.cause, at)
            self._by_incident[incident.id] = known
            self.decided.append(known)
        if incident.held and known.acted is None:
            known.held = incident.held
        if incident.state is IncidentState.CLOSED and incident.resolution is Resolution.RECOVERED:
            known.recovered = at

    def _workflow(self, workflow: Workflow, at: Moment) -> None:
        if workflow.id in self._seen:
            return
        self._seen.add(workflow.id)
        act = workflow.remediation or str(workflow.kind)
        known = self._by_incident.get(workflow.incident)
        if known is None and workflow.kind is WorkflowKind.WITHDRAW:
            self.decided.append(Decided(workflow.fleet, workflow.patient, "not ready", at, at, act))
        elif known is not None and known.acted is None:
            known.acted, known.act = at, act


def compare(then: Sequence[Decided], now: Sequence[Decided], past: Past) -> list[Compared]:
    """Set what was decided beside what would be, one trouble of one machine after another."""
    sides: dict[tuple[str, str], tuple[list[Decided], list[Decided]]] = defaultdict(lambda: ([], []))
    for place, decided in enumerate((then, now)):
        for one in decided:
            sides[one.fleet, one.subject][place].append(one)
    return [
        _compared(fleet, subject, first, second, past)
        for (fleet, subject), (before, after) in sorted(sides.items())
        for first, second in zip_longest(before, after)
    ]


def _compared(fleet: str, subject: str, then: Decided | None, now: Decided | None, past: Past) -> Compared:
    acted_then = then.acted if then is not None else None
    acted_now = now.acted if now is not None else None
    if acted_now is not None and acted_then is None:
        well = then.recovered if then is not None and then.recovered else _recovery(past, subject, acted_now)
        if well is not None and well > acted_now:
            words = f"would have acted, and then it recovered by itself after {well - acted_now:.0f}s"
            return Compared(fleet, subject, then, now, words, same=False, regretted=True)
        return Compared(fleet, subject, then, now, "would have acted", same=False)
    if acted_then is not None and acted_now is None:
        if now is None:
            return Compared(fleet, subject, then, now, "would not have", same=False)
        held = f": held by {', '.join(now.held)}" if now.held else ""
        return Compared(fleet, subject, then, now, f"would not have acted{held}", same=False)
    if then is None or now is None:
        words = "would have opened an incident" if then is None else "would have opened no incident"
        return Compared(fleet, subject, then, now, words, same=False)
    late = (acted_now or now.found) - (acted_then or then.found)
    if abs(late) > ALIKE:
        words = f"{'later' if late > 0 else 'earlier'} by {abs(late):.0f}s"
        return Compared(fleet, subject, then, now, words, same=False)
    if acted_then is None and set(then.held) != set(now.held):
        return Compared(fleet, subject, then, now, f"held by {', '.join(now.held) or 'nobody'} instead", same=False)
    return Compared(fleet, subject, then, now, "same", same=True)


def _recovery(past: Past, instance: str, after: Moment) -> Moment | None:
    """Return when a machine passed again after a moment, in the record; None if it never did."""
    last: dict[str, tuple[Moment, Run]] = {}
    for run in past.runs:
        if run.instance == instance and run.first <= after and run.check != HEARTBEAT:
            last[run.check] = (run.last, run)
    failing = {check for check, (_, run) in last.items() if run.status is Status.CRITICAL}
    passes: dict[str, Moment] = {}
    for run in past.runs:
        if run.instance == instance and run.first > after and run.status is Status.OK and run.results > 1:
            passes.setdefault(run.check, run.first)
    return max(passes[check] for check in failing) if failing and failing <= passes.keys() else None
