"""Judges one instance from its evidence: a pure function of what is known and the moment.

"Not yet" is an answer with a time: `Finding.look_at`. Unknown is never sick. Silence alone never condemns: it needs a
second class of evidence (the load balancer, the cloud), or a long silence while everything else is plainly well.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.evidence import Evidence
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Health, Role, Seconds, Status


@dataclass(frozen=True, slots=True)
class Finding:
    """What the evidence says now.

    `ready` is the startup criterion. `unready` means that a readiness check asks to leave the load balancer.
    `by_silence` marks a suspicion that rests on silence only. `unheard` means that no check it waits for says anything,
    neither good nor bad. `look_at` is when the answer may change by itself.
    """

    health: Health
    reason: str
    look_at: BootTime | None = None
    ready: bool = False
    unready: bool = False
    by_silence: bool = False
    unheard: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the judge must know beyond the instance itself."""

    may_condemn: bool  # False while blind or in amnesty: nobody may turn sick
    cloud_fresh: bool  # what cloud and load balancer said is recent enough to speak
    peers_well: bool  # the others answer, and so does the cloud: it is not we who are cut off


class Chart:
    """Everything observed of one instance, in memory only: a restart starts it afresh."""

    __slots__ = (
        "absent_since",
        "checks",
        "confirmed_stopped",
        "fast",
        "finding",
        "fleet",
        "id",
        "look",
        "machine",
        "observed",
        "registered_after",
        "registered_seen",
        "serving",
        "stopped_since",
    )

    def __init__(self, instance: str, fleet: str, checks: dict[str, Evidence]) -> None:
        """Start knowing nothing."""
        self.id = instance
        self.fleet = fleet
        self.checks = checks
        self.finding = Finding(Health.UNKNOWN, "no results yet")
        self.machine: Machine | None = None
        self.absent_since: BootTime | None = None
        self.stopped_since: BootTime | None = None
        self.confirmed_stopped = False
        self.registered_after: BootTime = float("-inf")  # only a later inventory may confirm a registration
        self.registered_seen: BootTime | None = None  # of the newest such inventory
        self.serving = False
        self.fast = False
        self.observed = False
        self.look: BootTime | None = None

    def reset(self) -> None:
        """Forget all suspicion."""
        for evidence in self.checks.values():
            evidence.reset()
        self.stopped_since = None
        self.confirmed_stopped = False
        self.absent_since = None
        self.finding = Finding(Health.UNKNOWN, "no results yet")


def suspect_since(chart: Chart) -> BootTime | None:
    """Return the first sign of the present trouble."""
    signs = [e.failing_since for e in chart.checks.values() if e.failing_since is not None]
    if chart.stopped_since is not None:
        signs.append(chart.stopped_since)
    return min(signs, default=None)


def judge(chart: Chart, judgement: Judgement, around: Surroundings, now: BootTime) -> Finding:
    """Judge one instance that serves or has served."""
    was = chart.finding.health
    if chart.confirmed_stopped and around.may_condemn:
        return Finding(Health.SICK, _stopped_sentence(chart.machine))
    if chart.machine is not None and chart.machine.stopped_by_user:
        return Finding(Health.UNKNOWN, "a user stopped it: ask before healing")

    liveness = [e for e in chart.checks.values() if e.role is Role.LIVENESS]
    gating = [e for e in chart.checks.values() if e.role in (Role.LIVENESS, Role.READINESS)]
    looks: list[BootTime] = [e.last + e.weights.stale_after for e in gating if e.last is not None]

    condemned: Evidence | None = None
    for e in liveness:
        verdict, later = _condemns(e, chart, judgement, around, now)
        if verdict and condemned is None:
            condemned = e
        if later is not None:
            looks.append(later)
    unready = any(
        e.role is Role.READINESS and _has_failed_long(e, judgement, now) and not e.is_stale(now) for e in gating
    )
    looks += [e.failing_since + judgement.sick_after for e in gating if e.failing_since is not None]
    look_at = min((t for t in looks if t > now), default=None)

    if condemned is not None and around.may_condemn:
        return Finding(Health.SICK, _condemned_sentence(condemned, chart, now), look_at, unready=unready)
    failing = [e for e in gating if e.fails > 0 and not e.is_stale(now)]
    stale = [e for e in gating if e.is_stale(now)]
    if was is Health.SICK and not stale:
        if not failing and _quiet_for(gating, judgement.parole_passes, judgement.parole_after, now):
            return Finding(Health.HEALTHY, "recovered by itself", look_at)
        if around.may_condemn:
            return Finding(Health.SICK, chart.finding.reason, _soon(look_at, now, judgement), unready=unready)
    if failing:
        worst = max(failing, key=lambda e: e.score)
        silent = all(not e.answered for e in failing)
        return Finding(
            Health.SUSPECT,
            f"{worst.check.name}: {worst.text}{_impaired(chart)}",
            look_at,
            unready=unready,
            by_silence=silent,
        )
    if stale:
        names = ", ".join(sorted(e.check.name for e in stale))
        return Finding(Health.UNKNOWN, f"no fresh result of {names}", look_at, unready=unready)
    if was in (Health.SUSPECT, Health.SICK) and not _quiet_for(
        gating, judgement.well_passes, judgement.well_after, now
    ):
        silent = chart.finding.by_silence
        return Finding(
            Health.SUSPECT,
            "passes again, not yet for long enough",
            _soon(look_at, now, judgement),
            unready=unready,
            by_silence=silent,
        )
    return Finding(Health.HEALTHY, f"all checks pass{_impaired(chart)}", look_at, unready=unready)


def judge_startup(chart: Chart, judgement: Judgement, now: BootTime) -> Finding:
    """Judge one that is still coming up: failures are ignored, only the startup criterion counts."""
    gating = [e for e in chart.checks.values() if e.role is not Role.ADVISORY]
    if chart.confirmed_stopped:
        return Finding(Health.UNKNOWN, _stopped_sentence(chart.machine))
    waiting = [e for e in gating if e.passes < judgement.startup_passes or e.is_stale(now)]
    runs = [e.last_pass_run for e in gating if e.last_pass_run is not None and e.passes > 0]
    span_at = max(runs, default=now) + (judgement.startup_span if gating else 0.0)
    if waiting:
        e = waiting[0]
        if all(other.is_stale(now) for other in waiting):
            broken = e.status is Status.UNKNOWN and e.text
            what = f"{e.check.name} says nothing: {e.text}" if broken else f"no answer from {e.check.name} yet"
            return Finding(Health.UNKNOWN, f"starting: {what}", unheard=True)
        passed = f"{e.passes} of {judgement.startup_passes}"
        return Finding(Health.UNKNOWN, f"starting: {e.check.name} passed {passed} times")
    if now < span_at:
        return Finding(Health.UNKNOWN, "starting: passing, not yet for long enough", span_at)
    return Finding(Health.HEALTHY, "startup checks passed", ready=True)


def _has_failed_long(e: Evidence, judgement: Judgement, now: BootTime) -> bool:
    return (
        e.score >= e.weights.condemns_at
        and e.failing_since is not None
        and now - e.failing_since >= judgement.sick_after
    )


def _condemns(
    e: Evidence, chart: Chart, judgement: Judgement, around: Surroundings, now: BootTime
) -> tuple[bool, BootTime | None]:
    """Return whether one liveness check condemns, else when it may."""
    if e.fails == 0 or e.failing_since is None or e.is_stale(now) or not _has_failed_long(e, judgement, now):
        return False, None
    if e.answered or (around.cloud_fresh and second_class(chart)):
        return True, None
    patience = e.failing_since + judgement.silence_alone_after
    if now >= patience:
        return around.peers_well, None
    return False, patience


def second_class(chart: Chart) -> bool:
    """Return whether evidence of another class than our probes speaks against the instance."""
    machine = chart.machine
    if machine is None:
        return False
    ended = machine.state in (MachineState.STOPPED, MachineState.TERMINATED)
    return ended or machine.target is TargetHealth.UNHEALTHY or bool(machine.impaired)


def _quiet_for(gating: list[Evidence], passes: int, span: Seconds, now: BootTime) -> bool:
    return all(e.passes >= passes and (e.last_fail is None or now - e.last_fail >= span) for e in gating)


def _soon(look_at: BootTime | None, now: BootTime, judgement: Judgement) -> BootTime:
    later = now + max(0.05, judgement.well_after / 4)
    return later if look_at is None else min(look_at, later)


def _condemned_sentence(e: Evidence, chart: Chart, now: BootTime) -> str:
    since = 0.0 if e.failing_since is None else now - e.failing_since
    return f"{e.check.name}: {e.text} — {e.fails} failures in a row, {since:.0f}s{_impaired(chart)}"


def _impaired(chart: Chart) -> str:
    found = chart.machine.impaired if chart.machine is not None else ""
    return f", and the cloud's status check fails: {found}" if found else ""


def _stopped_sentence(machine: Machine | None) -> str:
    state = machine.state if machine is not None else MachineState.STOPPED
    reason = f" ({machine.reason})" if machine is not None and machine.reason else ""
    return f"the cloud says {state}{reason}"
