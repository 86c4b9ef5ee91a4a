"""Judges one instance from its evidence: a pure function of what is known and the moment.

"Not yet" is an answer with a time: `Finding.look_at`. Unknown is never sick. Silence alone never condemns: it needs a
second class of evidence (the load balancer, the cloud, the machine's own heartbeat), or a long silence while everything
else is plainly well.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core import wording
from supervisor.core.evidence import Evidence
from supervisor.core.flapping import Flapping
from supervisor.core.heartbeats import Heartbeat
from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.pace import Slow
from supervisor.core.requests import Words
from supervisor.core.settings import Judgement
from supervisor.core.terms import BootTime, Health, Role, Seconds, Status


@dataclass(frozen=True, slots=True)
class Finding:
    """What the evidence says now.

    `ready` is the startup criterion. `unready` asks to leave the load balancer: a readiness check fails, it is slow, or
    it flaps. `by_silence` marks a suspicion that rests on silence only. `unheard` means that no check it waits for says
    anything, neither good nor bad. `look_at` is when the answer may change by itself. `waits_for` says what a suspicion
    that is strong enough still lacks to be believed.
    """

    health: Health
    reason: str
    look_at: BootTime | None = None
    ready: bool = False
    unready: bool = False
    by_silence: bool = False
    unheard: bool = False
    waits_for: str = ""


NEW = Finding(Health.UNKNOWN, "no results yet")
WELL = Finding(Health.HEALTHY, "all checks pass")
"""Of nearly everybody, so it is kept once; when to look again is the chart's to know then."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the judge must know beyond the instance itself."""

    may_condemn: bool  # False while blind or in amnesty: nobody may turn sick
    cloud_fresh: bool  # what cloud and load balancer said is recent enough to speak
    peers_well: bool  # the others answer, and so does the cloud: it is not we who are cut off
    heartbeat_stale: bool = False  # its own signs of life stay away, while those of its peers come
    score: int = 0  # how slow the supervisor itself is: so many failures more are needed
    withdrawn: bool = False  # it is out of the load balancer, and comes back on parole only
    returns: int = 0  # how often it has recovered within a day


class Chart:
    """Everything observed of one instance, in memory only: a restart starts it afresh."""

    __slots__ = (
        "absent_since",
        "checks",
        "confirmed_stopped",
        "fast",
        "finding",
        "flapping",
        "fleet",
        "heartbeat",
        "id",
        "look",
        "machine",
        "matched",
        "mute_since",
        "observed",
        "registered_after",
        "registered_seen",
        "serving",
        "slow",
        "stopped_since",
        "well",
    )

    def __init__(self, instance: str, fleet: str, checks: dict[str, Evidence]) -> None:
        """Start knowing nothing."""
        self.id = instance
        self.fleet = fleet
        self.checks = checks
        self.finding = NEW
        self.machine: Machine | None = None
        self.matched: Machine | bool | None = False  # which description its peers were chosen by; False: none yet
        self.absent_since: BootTime | None = None
        self.stopped_since: BootTime | None = None
        self.confirmed_stopped = False
        self.registered_after: BootTime = float("-inf")  # only a later inventory may confirm a registration
        self.registered_seen = False  # by such an inventory
        self.serving = False
        self.well = False  # counted so by its fleet
        self.fast = False
        self.observed = False
        self.look: BootTime | None = None
        self.slow: Slow | None = None
        self.flapping: Flapping | None = None  # None: never suspect yet
        self.heartbeat: Heartbeat | None = None
        self.mute_since: BootTime | None = None  # its own signs of life stay away, while those of its peers come

    def heartbeat_fresh(self, now: BootTime) -> bool | None:
        """Return whether the machine's own signs of life still come; None when none ever did, or it is too early to say.

        The last beat before a death is fresh for a while: only one that came since the first failure speaks for life.
        """
        if self.heartbeat is None:
            return None
        if not self.heartbeat.is_fresh(now):
            return False if self.heartbeat.is_stale(now) else None
        first = suspect_since(self)
        return True if first is None or self.heartbeat.last > first else None

    def quiet_until(self, now: BootTime) -> BootTime | None:
        """Return when the results of a healthy machine go stale; None when more than their age must be judged."""
        if (
            self.finding.health is not Health.HEALTHY
            or self.confirmed_stopped
            or self.slow is not None
            or self.mute_since is not None
            or (self.flapping is not None and self.flapping.since is not None)
        ):
            return None
        later = None
        liveness, readiness = Role.LIVENESS, Role.READINESS
        for e in self.checks.values():
            role = e.role
            if role is liveness or role is readiness:
                last, weights = e.last, e.weights
                # As `is_quiet`, in place: a well machine's checks are asked this again and again.
                if last is None or e.fails or e.score or e.gray > weights.gray_suspects_at:
                    return None
                at = last + weights.stale_after
                if later is None or at < later:
                    later = at
        return later if later is not None and later > now else None

    @property
    def kind(self) -> str:
        """The machine's type, as its cloud says; '' when it says none."""
        return next((value for label, value in self.labels if label == "type"), "")

    @property
    def labels(self) -> Words:
        """What the machine shares with others, as its cloud says; nothing before the cloud has shown it."""
        return self.machine.labels if self.machine is not None else ()

    def pardon(self) -> bool:
        """Take back a suspicion that nothing speaks for any more; return whether there was one."""
        if self.finding.health not in (Health.SUSPECT, Health.SICK) or self.confirmed_stopped or self.slow is not None:
            return False
        if any(e.fails > 0 or e.is_gray for e in gating(self)):
            return False
        if self.flapping is not None:
            self.flapping.end()
        return True

    def reset(self) -> None:
        """Forget all suspicion."""
        for evidence in self.checks.values():
            evidence.reset()
        self.stopped_since = None
        self.confirmed_stopped = False
        self.absent_since = None
        self.slow = None
        self.mute_since = None
        if self.flapping is not None:
            self.flapping.end()
        self.finding = NEW


def suspect_since(chart: Chart) -> BootTime | None:
    """Return the first sign of the present trouble."""
    signs = [e.failing_since for e in chart.checks.values() if e.failing_since is not None]
    if chart.stopped_since is not None:
        signs.append(chart.stopped_since)
    signs += [e.gray_since for e in chart.checks.values() if e.gray_since is not None]
    return min(signs, default=None)


def first_sign(chart: Chart) -> BootTime | None:
    """Return when the present trouble first showed, in whatever way: also by slowness, silence of its own, or flapping."""
    flaps = chart.flapping.since if chart.flapping is not None else None
    slow = chart.slow.since if chart.slow is not None else None
    signs = (suspect_since(chart), slow, chart.mute_since, flaps)
    return min((at for at in signs if at is not None), default=None)


def gating(chart: Chart) -> list[Evidence]:
    """Return the evidence that may change an instance's health."""
    return [e for e in chart.checks.values() if e.role in (Role.LIVENESS, Role.READINESS)]


def judge(chart: Chart, judgement: Judgement, around: Surroundings, now: BootTime) -> Finding:
    """Judge one instance that serves or has served."""
    was = chart.finding.health
    if chart.confirmed_stopped and around.may_condemn:
        return Finding(Health.SICK, wording.stopped(chart.machine))
    if chart.machine is not None and chart.machine.stopped_by_user:
        return Finding(Health.UNKNOWN, "a user stopped it: ask before healing")

    asked = gating(chart)
    if silenced := wording.silenced(chart.checks.values(), asked):
        return Finding(Health.UNKNOWN, silenced, unheard=True)
    liveness = [e for e in asked if e.role is Role.LIVENESS]
    looks = _looks(chart, asked, judgement)

    condemned: str = ""
    waits_for = ""
    for e in liveness:
        verdict, lacks, later = _condemns(e, chart, judgement, around, now)
        if verdict and not condemned:
            condemned = verdict
        waits_for = waits_for or lacks
        if later is not None:
            looks.append(later)
    condemned = condemned or wording.too_long_slow(chart.slow, judgement, now)
    flaps = wording.flapping(chart.flapping, judgement)
    if flaps and _is_given_up(chart, liveness, judgement, now):
        condemned = condemned or f"{flaps}, for the {wording.nth(chart.flapping)} time within a day"
    not_ready = any(
        e.role is Role.READINESS and e.fails > 0 and _has_failed_long(e, judgement, around, now) and not e.is_stale(now)
        for e in asked
    )
    mute = wording.mute(chart.mute_since, judgement, now)
    unready = not_ready or bool(flaps) or chart.slow is not None or bool(mute)
    look_at = min((t for t in looks if t > now), default=None)

    if condemned and around.may_condemn:
        return Finding(Health.SICK, condemned, look_at, unready=unready)
    if condemned or (waits_for and not around.may_condemn):
        waits_for = "clear sight, and clean rounds of results after it"
    failing = [e for e in asked if e.fails > 0 and not e.is_stale(now)]
    stale = [e for e in asked if e.is_stale(now)]
    unsteady = flaps or wording.slow(chart.slow, now) or wording.grayest(asked, now) or mute
    if was is Health.SICK and not stale:
        recovers = not failing and not unsteady
        if recovers and _quiet_for(asked, judgement.parole_passes, _parole(judgement, around), now):
            if around.returns < judgement.paroles:
                return Finding(Health.HEALTHY, "recovered by itself", look_at)
            if around.may_condemn:
                return Finding(
                    Health.SICK, wording.no_parole(chart.finding.reason, around.returns), _soon(look_at, now, judgement)
                )
        if around.may_condemn:
            return Finding(Health.SICK, chart.finding.reason, _soon(look_at, now, judgement), unready=unready)
    if failing:
        worst = max(failing, key=lambda e: e.score)
        reason = f"{worst.check.name}: {worst.text}{wording.impaired(chart.machine)}"
        silent = all(not e.answered for e in failing)
        return Finding(
            Health.SUSPECT,
            f"{reason}; {flaps}" if flaps else reason,
            look_at,
            unready=unready,
            by_silence=silent,
            waits_for=waits_for,
        )
    if stale:
        names = ", ".join(sorted(e.check.name for e in stale))
        return Finding(Health.UNKNOWN, f"no fresh result of {names}", look_at, unready=not_ready)
    if unsteady:
        return Finding(Health.SUSPECT, unsteady, _soon(look_at, now, judgement), unready=unready, waits_for=waits_for)
    if around.withdrawn and was is not Health.HEALTHY:
        span = _parole(judgement, around)
        if not _has_passed_for(asked, judgement.parole_passes, span, now):
            reason = f"passes again; it may return after {span:.0f}s of passes"
            return Finding(Health.SUSPECT, reason, _soon(look_at, now, judgement), unready=unready)
    elif was in (Health.SUSPECT, Health.SICK) and not _quiet_for(
        asked, judgement.well_passes, judgement.well_after, now
    ):
        silent = chart.finding.by_silence
        return Finding(
            Health.SUSPECT,
            "passes again, not yet for long enough",
            _soon(look_at, now, judgement),
            unready=unready,
            by_silence=silent,
        )
    return Finding(Health.HEALTHY, f"{WELL.reason}{wording.impaired(chart.machine)}", look_at, unready=unready)


def judge_startup(chart: Chart, judgement: Judgement, now: BootTime) -> Finding:
    """Judge one that is still coming up: failures are ignored, only the startup criterion counts."""
    asked = [e for e in chart.checks.values() if e.role is not Role.ADVISORY]
    if chart.confirmed_stopped:
        return Finding(Health.UNKNOWN, wording.stopped(chart.machine))
    if silenced := wording.silenced(chart.checks.values(), asked):
        return Finding(Health.UNKNOWN, f"starting: {silenced}", unheard=True)
    waiting = [e for e in asked if e.passes < judgement.startup_passes or e.is_stale(now)]
    runs = [e.last_pass_run for e in asked if e.last_pass_run is not None and e.passes > 0]
    span_at = max(runs, default=now) + (judgement.startup_span if asked else 0.0)
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


def _looks(chart: Chart, asked: list[Evidence], judgement: Judgement) -> list[BootTime]:
    """Return when time alone may change the finding."""
    looks: list[BootTime] = [e.last + e.weights.stale_after for e in asked if e.last is not None]
    looks += [e.failing_since + judgement.sick_after for e in asked if e.failing_since is not None]
    if chart.slow is not None and chart.slow.role is Role.LIVENESS:
        looks.append(chart.slow.since + judgement.slow_after + judgement.slow_sick_after)
    if chart.mute_since is not None and judgement.mute_after:
        looks.append(chart.mute_since + judgement.mute_after)
    return looks


def _has_failed_long(e: Evidence, judgement: Judgement, around: Surroundings, now: BootTime) -> bool:
    return (
        e.score >= e.weights.condemns_at + around.score * e.weights.on_fail
        and e.failing_since is not None
        and now - e.failing_since >= judgement.sick_after
    )


def _condemns(
    e: Evidence, chart: Chart, judgement: Judgement, around: Surroundings, now: BootTime
) -> tuple[str, str, BootTime | None]:
    """Return why one liveness check condemns, or '', what it lacks for that, and when it may have that."""
    if e.is_stale(now):
        return "", "", None
    if e.fails > 0 and e.failing_since is not None and e.score >= e.weights.condemns_at:
        if not _has_failed_long(e, judgement, around, now):
            if around.score and now - e.failing_since >= judgement.sick_after:
                return "", f"more failures than usual: the supervisor itself is slow (score {around.score} of 8)", None
            return "", f"failures over {judgement.sick_after:.0f}s", None
        lacks, later = _silence(e.failing_since, chart, judgement, around, now, answered=e.answered)
        return "" if lacks else wording.condemned(e, chart.machine, now), lacks, later
    if e.gray_since is not None:
        due = e.gray_since + judgement.gray_after
        if now < due:
            return "", f"failures that go on for {judgement.gray_after:.0f}s", due
        lacks, later = _silence(e.gray_since, chart, judgement, around, now, answered=e.gray_answered)
        return (
            "" if lacks else f"{wording.gray(e)} for {now - e.gray_since:.0f}s{wording.impaired(chart.machine)}",
            lacks,
            later,
        )
    return "", "", None


def _silence(
    since: BootTime, chart: Chart, judgement: Judgement, around: Surroundings, now: BootTime, *, answered: bool
) -> tuple[str, BootTime | None]:
    """Return what else must speak against an instance that only was silent, or '', and when silence may do alone."""
    if answered or around.heartbeat_stale or (around.cloud_fresh and second_class(chart)):
        return "", None
    alone = since + judgement.silence_alone_after
    if now >= alone and around.peers_well:
        return "", None
    patience = f"{judgement.silence_alone_after:.0f}s of silence while the peers are well"
    return f"a second class of evidence, or {patience}", alone if now < alone else None


def _is_given_up(chart: Chart, liveness: list[Evidence], judgement: Judgement, now: BootTime) -> bool:
    """Return whether a flapping machine has flapped too often; only liveness checks may condemn."""
    if chart.flapping is None or chart.flapping.spells < judgement.flap_spells:
        return False
    return any(e.last_fail is not None and now - e.last_fail <= judgement.flap_window for e in liveness)


def _parole(judgement: Judgement, around: Surroundings) -> Seconds:
    return judgement.parole_after * 2.0 ** min(around.returns, 10)


def second_class(chart: Chart) -> bool:
    """Return whether evidence of another class than our probes speaks against the instance."""
    machine = chart.machine
    if machine is None:
        return False
    ended = machine.state in (MachineState.STOPPED, MachineState.TERMINATED)
    return ended or machine.target is TargetHealth.UNHEALTHY or bool(machine.impaired)


def _quiet_for(asked: list[Evidence], passes: int, span: Seconds, now: BootTime) -> bool:
    return all(e.passes >= passes and (e.last_fail is None or now - e.last_fail >= span) for e in asked)


def _has_passed_for(asked: list[Evidence], passes: int, span: Seconds, now: BootTime) -> bool:
    return all(e.passes >= passes and e.last_pass_run is not None and now - e.last_pass_run >= span for e in asked)


def is_stable(chart: Chart, passes: int, span: Seconds, now: BootTime) -> bool:
    """Return whether every check has passed so often in a row, and for so long without a failure."""
    return _quiet_for(gating(chart), passes, span, now)


def _soon(look_at: BootTime | None, now: BootTime, judgement: Judgement) -> BootTime:
    later = now + max(0.05, judgement.well_after / 4)
    return later if look_at is None else min(look_at, later)
