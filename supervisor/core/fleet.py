"""One fleet in memory: its policy, the charts of its instances, and the counters that the guards read.

Counters change with each edge of one instance, never by walking the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from supervisor.core.blips import Blips
from supervisor.core.boots import Boots
from supervisor.core.evidence import Evidence, Tally, Weights, new_tally, weights
from supervisor.core.health import WELL, Chart, Finding
from supervisor.core.hearing import Hearing
from supervisor.core.investigation import Investigation
from supervisor.core.lifespan import Lifespan
from supervisor.core.machine import Machine, Placement
from supervisor.core.pace import Pace
from supervisor.core.settings import CheckPolicy, FleetPolicy, Judgement
from supervisor.core.stumbles import Stumbles
from supervisor.core.terms import BootTime, FleetState, Health, Role, Seconds
from supervisor.core.verdict import Verdict, well

if TYPE_CHECKING:
    from supervisor.core.attrition import Lot


MOST_HURRIED = 200
"""Suspects of a fleet that are asked more often: so many confirm any crowd, and five times the questions of a large fleet
would blind the prober when sight matters most."""
PARDONED = Finding(Health.SUSPECT, "nothing that has a vote speaks against it any more, not yet for long enough")


@dataclass(slots=True)
class Lately:
    """Who was sick lately, kept while nothing changes that it rests on: in a mass failure many ask."""

    edges: int = 0  # grows with every change of the groups by health
    basis: tuple[BootTime, Seconds, int, int, int] | None = None
    sick: set[str] = field(default_factory=set)
    unwell: int = 0  # these, and all suspects


class Fleet:
    """The observed side of a fleet. Mutable, in memory only."""

    lot: Lot | None = None
    """Which type or host loses more machines than its share, as of the last loss."""

    def __init__(self, policy: FleetPolicy, judgement: Judgement, now: BootTime) -> None:
        """Start with nothing observed, in amnesty."""
        self.policy = policy
        self.weights: dict[str, Weights] = {}
        self.tallies: dict[str, Tally] = {}  # check -> results taken, of every instance
        self.blips: dict[str, Blips] = {}  # check -> how often a well machine fails it
        self.broken: dict[str, float] = {}  # check -> the share of its last results that were UNKNOWN
        self.paces: dict[tuple[str, str], Pace] = {}  # (check, type of machine)
        self.boots, self.lifespan, self.stumbles = Boots(), Lifespan(), Stumbles()
        self.hearing = Hearing()  # of its own machines, while the way is open on which all signs of life come
        self.studied_at = self.saved_at = self.amnesty_from = now
        self.stretch = 1.0
        self.charts: dict[str, Chart] = {}
        self.sick, self.suspects, self.silent = set[str](), set[str](), set[str]()
        self.astir: set[str] = set()  # whom the next list must be asked for, though it may show nothing new of them
        self.came_up: dict[str, datetime] = {}  # image -> when the newest machine was launched from it that has served
        self.fenced: dict[str, BootTime] = {}  # those that came back from their end, and when they were last kept out
        self.unready: set[str] = set()
        self.unknown: set[str] = set()
        self.withdrawn: set[str] = set()  # set aside, not isolated: parole is possible
        self.serving = 0
        self.observed = 0  # machines whose checks run
        self.well = 0  # of those, the healthy
        self.hurried: set[str] = set()  # of those, who is asked more often
        self.turned_sick: dict[str, BootTime] = {}
        self.lately = Lately()
        self.storm_seen: BootTime | None = None
        self.storm = self.storm_told = False
        self.storm_calm: BootTime | None = None  # since when no more are sick than allowed, while the storm lasts
        self.half_open_until: BootTime = float("-inf")  # machines are healed one at a time till then
        self.shared_calm: BootTime | None = None  # since when nothing speaks for the shared trouble that stands
        self.shared_over = ""  # of which trouble most are well again, though the verdict still names it
        # When it was last told that users stop machines, and that the cloud takes some back.
        self.stops_told = self.reclaims_told = float("-inf")
        self.muted: frozenset[str] = frozenset()  # checks without a vote
        self.decided_at: BootTime = float("-inf")
        self.inventories = 0  # whole answers since the amnesty began
        self.listed: Mapping[str, Machine] | None = None  # the last of them
        # Answers that failed, and good ones since the last of them.
        self.inventory_failures = self.inventories_in_a_row = 0
        self.inventory_at: BootTime | None = None
        self.inventory_error = self.cursor = ""  # `cursor`: of a crowd, who was looked at last
        self.last_launch_failure: BootTime | None = None
        self.capacity_refused: dict[Placement, BootTime] = {}  # when each refused
        self.verdict: Verdict = well(now)
        self.investigation = Investigation()
        self.state: FleetState | None = None
        self.reported: set[str] = set()  # unknown machines, each told once
        self.surplus: dict[str, BootTime] = {}  # machines that no slot needs -> first seen
        self.leftovers: dict[str, BootTime] = {}  # what is plainly nobody's -> since when it was seen so
        self.look: BootTime | None = None
        self.dirty = True
        self.configure(policy, judgement)

    def configure(self, policy: FleetPolicy, judgement: Judgement) -> None:
        """Take a new policy; what is known of checks that remain is kept."""
        self.policy = policy
        self.weights = {c.name: weights(c, policy.desired, judgement) for c in policy.checks}
        self.blips = {c.name: self.blips.get(c.name) or Blips() for c in policy.checks}
        self.weigh(judgement)
        self.tallies = {c.name: self.tallies.get(c.name) or new_tally() for c in policy.checks}
        for chart in self.charts.values():
            old = chart.checks
            chart.checks = self.new_checks(chart.id)
            for name, evidence in chart.checks.items():
                kept = old.get(name)
                if kept is not None and kept.check == evidence.check:
                    kept.weights, kept.tally = evidence.weights, evidence.tally
                    chart.checks[name] = kept
            chart.matched = False
            self.unwatch(chart)
        self.dirty = True

    def weigh(self, judgement: Judgement) -> None:
        """Derive every check's weights afresh from what was learnt, in place."""
        for check in self.policy.checks:
            rate = self.blips[check.name].rate(judgement.blip_rate)
            self.weights[check.name].take(weights(check, self.policy.desired, judgement, rate, self.stretch))

    def new_checks(self, instance: str) -> dict[str, Evidence]:
        """Return fresh evidence for one instance."""
        fresh = {
            c.name: Evidence(c, self.weights[c.name], self.tallies[c.name], instance, self.pace(c, ""))
            for c in self.policy.checks
        }
        for name in self.muted & fresh.keys():
            fresh[name].role = Role.ADVISORY
        return fresh

    def pace(self, check: CheckPolicy, kind: str) -> Pace:
        """Return how fast a check is answered by machines of a type."""
        key = (check.name, kind)
        pace = self.paces.get(key)
        if pace is None or pace.role is not check.role:
            pace = self.paces[key] = Pace(check.name, check.role)
        return pace

    def match(self, chart: Chart) -> None:
        """Compare a machine with its like from now on: its type may be known by now, or have changed."""
        if chart.matched is chart.machine:
            return
        chart.matched = chart.machine
        kind = chart.kind
        for evidence in chart.checks.values():
            known = self.paces.get((evidence.check.name, kind))
            if evidence.pace is not known:
                evidence.pace.forget(chart.id)
                evidence.pace = self.pace(evidence.check, kind)

    def verdict_on(self, instance: str) -> Verdict:
        """Return what is wrong with one instance: the fleet's verdict where it covers it, else its own fault."""
        return self.investigation.verdict_on(instance, self.verdict)

    @property
    def failure_rate(self) -> float:
        """Failures that one machine may be expected to have in an hour: the mean of what was learnt."""
        return self.lifespan.rate

    def mute(self, checks: frozenset[str]) -> None:
        """Take the vote from these checks, and give it back to all others: they are asked and shown as before."""
        if checks == self.muted:
            return
        silenced, self.muted = checks - self.muted, checks
        for chart in self.charts.values():
            accused = any(not chart.checks[name].is_quiet for name in silenced & chart.checks.keys())
            for name, evidence in chart.checks.items():
                evidence.role = Role.ADVISORY if name in checks else evidence.check.role
            if accused and chart.pardon():
                self.set_finding(chart, PARDONED)
        self.dirty = True

    def chart(self, instance: str) -> Chart:
        """Return the chart of an instance; a new one if need be."""
        chart = self.charts.get(instance)
        if chart is None:
            chart = self.charts[instance] = Chart(instance, self.policy.name, self.new_checks(instance))
            self.unknown.add(instance)
            self.astir.add(instance)
        return chart

    def may_hurry(self, instance: str) -> bool:
        """Return whether a suspect is asked more often: of a crowd, the next answer tells little, and asking costs most."""
        return instance in self.hurried or len(self.hurried) < MOST_HURRIED

    def watch(self, chart: Chart, *, fast: bool) -> None:
        """Count a machine as one whose checks run, at the suspect's pace or at their own."""
        self.observed += not chart.observed
        chart.observed, chart.fast = True, fast
        _put(self.hurried, chart.id, member=fast)
        self._count_well(chart)

    def unwatch(self, chart: Chart) -> None:
        """Count a machine as one whose checks do not run."""
        self.astir.add(chart.id)
        self.observed -= chart.observed
        chart.observed = False
        self.hurried.discard(chart.id)
        self._count_well(chart)

    def _count_well(self, chart: Chart) -> None:
        well = chart.observed and chart.finding.health is Health.HEALTHY
        self.well += well - chart.well
        chart.well = well

    def are_others_well(self, chart: Chart, least: float) -> bool:
        """Return whether at least this share of the other machines that are asked is healthy; true where none is."""
        return self.well - chart.well >= least * (self.observed - chart.observed)

    def drop(self, instance: str) -> None:
        """Forget an instance that has left."""
        self.investigation.population.leave(instance)
        chart = self.charts.pop(instance, None)
        if chart is None:
            return
        self.unwatch(chart)
        self.lately.edges += 1
        if chart.serving:
            self.serving -= 1
        for group in (self.sick, self.suspects, self.silent, self.unready, self.unknown, self.withdrawn):
            group.discard(instance)
        for pace in self.paces.values():
            pace.forget(instance)
        self.dirty = True

    def set_finding(self, chart: Chart, finding: Finding) -> bool:
        """Take a new finding into the counters; return whether anything but its wording changed."""
        old = chart.finding
        chart.finding = WELL if finding.health is Health.HEALTHY and _is_plain(finding) else finding
        edge = (old.health, old.unready, old.by_silence, old.ready) != (
            finding.health,
            finding.unready,
            finding.by_silence,
            finding.ready,
        )
        if edge:
            name = chart.id
            self.lately.edges += 1
            _put(self.sick, name, member=finding.health is Health.SICK)
            _put(self.suspects, name, member=finding.health is Health.SUSPECT)
            _put(self.unknown, name, member=finding.health is Health.UNKNOWN)
            _put(self.silent, name, member=finding.by_silence and finding.health is Health.SUSPECT)
            _put(self.unready, name, member=finding.unready)
            self._count_well(chart)
            self.dirty = True
        return edge

    def set_serving(self, chart: Chart, *, serving: bool) -> None:
        """Count a serving instance in or out."""
        if chart.serving != serving:
            chart.serving = serving
            self.serving += 1 if serving else -1
            self.dirty = True

    @property
    def inventory_limit(self) -> Seconds:
        """How old the cloud's last whole answer may be and still speak."""
        return 3 * self.policy.inventory_interval + 15.0

    def round_length(self) -> Seconds:
        """Return how long one round of every check takes at most."""
        return max((c.interval + c.timeout for c in self.policy.checks), default=0.0)

    def clean_rounds(self, now: BootTime) -> int:
        """Return how many whole rounds, of checks and of the inventory, have passed since the amnesty began."""
        length = self.round_length()
        rounds = self.inventories if length == 0 else int((now - self.amnesty_from) / length)
        return min(rounds, self.inventories)

    def is_amnesty_over(self, now: BootTime, judgement: Judgement) -> bool:
        """Return whether enough clean rounds have passed to believe what is seen."""
        return self.clean_rounds(now) >= judgement.amnesty_rounds

    def begin_amnesty(self, now: BootTime) -> None:
        """Forget all suspicion and count the rounds afresh."""
        self.amnesty_from = now
        self.inventories = 0
        self.leftovers.clear()
        self.investigation.population.forget_suspicion()
        for chart in self.charts.values():
            chart.reset()
            self._count_well(chart)
            self.set_serving(chart, serving=False)
        self.unknown = set(self.charts)
        self.lately.edges += 1
        for group in (self.sick, self.suspects, self.silent, self.unready):
            group.clear()
        for pace in self.paces.values():
            pace.begin_amnesty()
        self.dirty = True

    def sick_lately(self, window: Seconds, now: BootTime) -> set[str]:
        """Return everyone who turned sick within the window, removed or not, is sick now, or has fallen silent.

        A single lost answer is no silence: it counts once the machine counts as sick beside others.
        The set is the fleet's own, for all who ask while nothing changes: they must not change it.
        """
        lately, population = self.lately, self.investigation.population
        if (now, window, lately.edges, population.version, len(self.turned_sick)) != lately.basis:
            self.turned_sick = {i: at for i, at in self.turned_sick.items() if now - at <= window}
            lately.sick = set(self.turned_sick) | self.sick | (self.silent & population.sick.keys())
            lately.unwell = len(self.suspects | lately.sick)
            lately.basis = (now, window, lately.edges, population.version, len(self.turned_sick))
        return lately.sick

    def unwell(self, window: Seconds, now: BootTime) -> int:
        """Return how many are suspect, or were sick within the window."""
        self.sick_lately(window, now)
        return self.lately.unwell

    def was_sick_lately(self, instance: str, window: Seconds, now: BootTime) -> bool:
        """Return whether `sick_lately` names a machine, without naming the others."""
        at = self.turned_sick.get(instance)
        if instance in self.sick or (at is not None and now - at <= window):
            return True
        return instance in self.silent and instance in self.investigation.population.sick


def _put(group: set[str], name: str, *, member: bool) -> None:
    if member:
        group.add(name)
    else:
        group.discard(name)


def _is_plain(finding: Finding) -> bool:
    return finding.reason == WELL.reason and not finding.ready and not finding.unready
