"""Judgement that nobody can talk into harm: whatever happens, in whatever order, the engine keeps its promises.

The machine plays directly on the engine. Long runs: SICKBAY_EXAMPLES=2000 python -m pytest tests/properties/test_judgement.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from supervisor.core import guards, shared
from supervisor.core.evidence import Evidence, weights
from supervisor.core.guards import Act
from supervisor.core.machine import MachineState, TargetHealth
from supervisor.core.model import Instance
from supervisor.core.settings import Judgement
from supervisor.core.sight import Sight
from supervisor.core.signals import (
    Allow,
    Hold,
    Pause,
    Purge,
    ReleaseFromQuarantine,
    Result,
    ResultsReported,
    Resume,
    SelfReported,
    TellChange,
    Unhold,
)
from supervisor.core.terms import SERVING, ChangeKind, Mode, Status
from tests import stages
from tests.properties.ward import ANSWERS, Ward

SHIPPED = 25
EXAMPLES = int(os.environ.get("SICKBAY_EXAMPLES", SHIPPED))
BOUNDED = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize=EXAMPLES == SHIPPED,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    database=None,
)
PLACE = st.integers(0, 3)  # few, so that what happens meets in one machine


class Judged(RuleBasedStateMachine):
    """Everything that can happen to a fleet of three to twelve; `Ward` checks each turn."""

    ward: Ward

    @initialize(
        desired=st.sampled_from((3, 6, 12)),
        ladder=st.sampled_from((("replace",), ("restart", "replace"), ("quarantine",))),
        checks=st.integers(1, 2),
    )
    def a_fleet_serves(self, desired: int, ladder: tuple[str, ...], checks: int) -> None:
        """Begin. Where there is one check only, it is soon accused itself, and has no vote any more."""
        self.ward = Ward(stages.settings(stages.fleet(desired, ladder=ladder, checks=stages.TWO_CHECKS[:checks])))
        self.given = self.ward.settings

    def _machine(self, place: int) -> str:
        names = sorted(self.ward.machines)
        return names[place % len(names)]

    @rule(seconds=st.sampled_from((2.0, 12.0, 40.0, 90.0, 240.0)))
    def time_passes(self, seconds: float) -> None:
        """Results, lists and answers come as they are now."""
        self.ward.run(seconds)

    @rule(place=PLACE, says=st.sampled_from(sorted(ANSWERS)))
    def a_machine_answers(self, place: int, says: str) -> None:
        """From now on."""
        self.ward.behaviour[self._machine(place)] = says

    @rule(place=PLACE, says=st.sampled_from(("critical", "silent")), seconds=st.sampled_from((40.0, 90.0)))
    def a_machine_falls_ill(self, place: int, says: str, seconds: float) -> None:
        """For as long as it takes to be found."""
        self.ward.behaviour[self._machine(place)] = says
        self.ward.run(seconds)

    @rule(says=st.sampled_from(("ok", "critical", "silent", "unknown")), zone=st.sampled_from(("a", "b", "")))
    def many_answer_alike(self, says: str, zone: str) -> None:
        """A zone, or the whole fleet."""
        for name, machine in self.ward.machines.items():
            if zone in ("", machine.zone):
                self.ward.behaviour[name] = says

    @rule(place=PLACE, by_user=st.booleans())
    def a_machine_stops(self, place: int, by_user: bool) -> None:
        """By itself, or somebody stops it."""
        name = self._machine(place)
        self.ward.ill.add(name)
        self.ward.machines[name] = replace(
            self.ward.machines[name], state=MachineState.STOPPED, stopped_by_user=by_user, reason="exited"
        )

    @rule(place=PLACE)
    def the_balancer_finds_a_machine_unhealthy(self, place: int) -> None:
        """That alone is no reason to take it away."""
        name = self._machine(place)
        if self.ward.machines[name].registered:
            self.ward.machines[name] = replace(self.ward.machines[name], target=TargetHealth.UNHEALTHY)

    @precondition(lambda self: len(self.ward.machines) > 1)
    @rule(place=PLACE)
    def a_machine_vanishes(self, place: int) -> None:
        """The cloud no longer shows it."""
        name = self._machine(place)
        self.ward.ill.add(name)
        del self.ward.machines[name]

    @rule(says=st.sampled_from(("whole", "whole", "failed", "empty")))
    def the_cloud_lists(self, says: str) -> None:
        """All of them, nothing, or it does not answer."""
        self.ward.cloud = says

    @rule(says=st.sampled_from(("done", "done", "refused", "unclear", "throttled")))
    def the_cloud_answers_acts(self, says: str) -> None:
        """In one of four ways."""
        self.ward.answer = says

    @rule(name=st.sampled_from(("prober", "dns")), ok=st.booleans())
    def a_sentinel_speaks(self, name: str, ok: bool) -> None:
        """Whether we see."""
        self.ward.sense(name, ok=ok)

    @rule(lag=st.sampled_from((0.0, 1.0)), names=st.booleans())
    def the_supervisor_feels(self, lag: float, names: bool) -> None:
        """Its own state."""
        self.ward.step([SelfReported(lag, 0.0, names)])

    @rule(places=st.lists(PLACE, max_size=6))
    def hearts_beat(self, places: list[int]) -> None:
        """Of some."""
        self.ward.beats(sorted({self._machine(place) for place in places}))

    @rule(seconds=st.sampled_from((-3600.0, -40.0, 40.0, 3600.0)))
    def the_wall_clock_jumps(self, seconds: float) -> None:
        """Nobody's time passes."""
        self.ward.wall_jumped += seconds

    @rule(seconds=st.sampled_from((5.0, 45.0, 600.0)))
    def the_supervisor_sleeps(self, seconds: float) -> None:
        """Time passes without a turn."""
        self.ward.boot += seconds

    @rule(name=st.sampled_from(("ada", "bob")), seconds=st.sampled_from((None, 60.0)))
    def somebody_pauses(self, name: str, seconds: float | None) -> None:
        """For ever, or for a while."""
        self.ward.paused[name] = None if seconds is None else self.ward.now.wall + timedelta(seconds=seconds)
        self.ward.ask(Pause(name, seconds))

    @rule(name=st.sampled_from(("ada", "bob")))
    def somebody_resumes(self, name: str) -> None:
        """Their own pause, or one that is not there."""
        self.ward.paused.pop(name, None)
        self.ward.ask(Resume(name))

    @rule(place=PLACE, seconds=st.sampled_from((60.0, 600.0)))
    def somebody_holds(self, place: int, seconds: float) -> None:
        """One machine."""
        name = self._machine(place)
        until = self.ward.now.wall + timedelta(seconds=seconds)
        self.ward.held[name] = until
        self.ward.ask(Hold(name, seconds))
        if self.ward.engine.ctx.world.get(Instance, name) is None:
            del self.ward.held[name]  # refused: it is not known

    @rule(place=PLACE)
    def somebody_lets_go(self, place: int) -> None:
        """Of one machine."""
        name = self._machine(place)
        self.ward.held.pop(name, None)
        self.ward.ask(Unhold(name))

    @rule(place=PLACE, purge=st.booleans())
    def somebody_ends_a_quarantine(self, place: int, purge: bool) -> None:
        """One way or the other; refused where there is none."""
        name = self._machine(place)
        self.ward.ask(Purge(name) if purge else ReleaseFromQuarantine(name))

    @rule(kind=st.sampled_from(ChangeKind), removals=st.integers(1, 3))
    def somebody_tells_and_allows(self, kind: ChangeKind, removals: int) -> None:
        """A change, and some removals although a storm blows."""
        self.ward.ask(TellChange(kind, "db", "a push", "web"))
        self.ward.ask(Allow("web", removals, 600.0))

    @rule()
    def all_is_well_again(self) -> None:
        """Long enough for what was begun to come to its end: a story may have several chapters."""
        ward = self.ward
        for name in ("ada", "bob"):
            self.somebody_resumes(name)
        for name in sorted(ward.blind):
            ward.sense(name, ok=True)
        ward.load(self.given)
        ward.cloud, ward.answer = "whole", "done"
        ward.behaviour = dict.fromkeys(ward.behaviour, "ok")
        ward.run(160.0)

    @rule(mode=st.sampled_from(Mode), sick_after=st.sampled_from((10.0, 30.0, 90.0)))
    def settings_are_loaded(self, mode: Mode, sick_after: float) -> None:
        """Another mode, other numbers."""
        judgement = replace(self.given.judgement, sick_after=sick_after)
        self.ward.load(replace(self.given, mode=mode, judgement=judgement))


@pytest.mark.timeout(1800)
def test_the_promises_hold_whatever_happens() -> None:
    """Floors, holds, pauses, blindness, credits; and nobody who never gave a reason is touched."""
    run_state_machine_as_test(Judged, settings=BOUNDED)


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_wall_clock_that_is_set_fails_no_launch(jump: float) -> None:
    """The new machine had seconds of its minutes: found by the machine above."""
    ward = Ward(stages.settings(stages.fleet(6)))
    ward.behaviour["i-00"] = "critical"
    while "i-101" not in ward.served:
        ward.run(2.0)
    ward.wall_jumped += jump
    ward.step()
    ward.run(400.0)
    world = ward.engine.ctx.world
    assert world.need(Instance, "i-101").lifecycle in SERVING
    assert "i-102" not in ward.machines


def test_a_machine_that_falls_mute_after_a_reload_is_not_counted_on() -> None:
    """Else the floors stand on machines of which nobody has heard: found by the machine above."""
    ward = Ward(stages.settings(stages.fleet(6)))
    ward.load(ward.settings)
    ward.cloud = "failed"
    del ward.machines["i-00"]
    ward.run(40.0)
    assert 5 == ward.engine.ctx.fleets["web"].serving


# -- a promise that nothing could break would be no promise


REMOVING = (Act.REMEDIATE, Act.WITHDRAW, Act.RESTART, Act.ISOLATE)


def without(*names: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Return a bug: these guards are forgotten wherever something is taken away."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        known = {guard.__name__ for act in REMOVING for guard in guards.GUARDS[act]}
        assert known.issuperset(names), "a guard has another name now"
        for act in REMOVING:
            patch.setitem(guards.GUARDS, act, tuple(g for g in guards.GUARDS[act] if g.__name__ not in names))

    return plant


def everything_is_their_own_fault(patch: pytest.MonkeyPatch) -> None:
    """A bug: what stands before the floors is forgotten too, and that a shared trouble tells of its machines."""
    before = ("_burst", "_breaker", "_explanation", "_challenge", "_zone_trouble", "_surprise")
    without("_lb_floor", "_serving_floor", "_credits", "_concurrent", "_zone", "_waves", *before)(patch)
    patch.setattr(shared, "told_by", lambda *_: None)


def a_failing_sentinel_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    """A bug at the root: guards, verdict and suspicion each stand before harm, and all of them rest on this."""
    patch.setattr(Sight, "hear", lambda *_: None)


def unknown_counts(patch: pytest.MonkeyPatch) -> None:
    """A bug: a check that broke counts as a failure of the machine."""
    take = Evidence.take

    def wrong(self: Evidence, result: Result) -> None:
        take(self, result._replace(status=Status.CRITICAL) if result.status is Status.UNKNOWN else result)

    patch.setattr(Evidence, "take", wrong)


def one_fails_while_paused(ward: Ward) -> None:
    """It would be replaced, but for the pause."""
    ward.paused["ada"] = None
    ward.ask(Pause("ada"))
    ward.behaviour["i-00"] = "critical"
    ward.run(120.0)


def one_fails_that_is_held(ward: Ward) -> None:
    """It would be replaced, but for the hold."""
    ward.held["i-00"] = ward.now.wall + timedelta(hours=1)
    ward.ask(Hold("i-00", 3600.0))
    ward.behaviour["i-00"] = "critical"
    ward.run(120.0)


def sight_is_lost_before_the_pause_ends(ward: Ward) -> None:
    """It was found sick in time; but nothing is begun while nothing can be seen."""
    one_fails_while_paused(ward)
    ward.sense("dns", ok=False)
    del ward.paused["ada"]
    ward.ask(Resume("ada"))
    ward.run(60.0)


def two_fail(ward: Ward) -> None:
    """One after the other is healed, not both at once."""
    ward.behaviour |= {"i-00": "critical", "i-01": "critical"}
    ward.run(60.0)


def most_fail(ward: Ward) -> None:
    """Nobody is taken away, sick or not: too few would be left."""
    ward.behaviour |= {"i-00": "critical", "i-01": "critical", "i-02": "critical", "i-03": "critical"}
    ward.run(60.0)


def a_check_is_broken(ward: Ward) -> None:
    """It says nothing about the machine."""
    ward.behaviour["i-00"] = "unknown"
    ward.run(300.0)


BUGS = [
    pytest.param(one_fails_while_paused, without("_pause"), id="a pause is overlooked"),
    pytest.param(one_fails_that_is_held, without("_hold"), id="a hold is overlooked"),
    pytest.param(sight_is_lost_before_the_pause_ends, a_failing_sentinel_is_not_heard, id="blindness is overlooked"),
    pytest.param(
        two_fail, without("_credits", "_concurrent", "_zone", "_waves"), id="credits and concurrency are overlooked"
    ),
    pytest.param(most_fail, everything_is_their_own_fault, id="floors are overlooked, and what stands before them"),
    pytest.param(a_check_is_broken, unknown_counts, id="unknown counts as sick"),
]


@pytest.mark.parametrize(("story", "plant"), BUGS)
def test_a_planted_bug_breaks_a_promise(
    story: Callable[[Ward], None], plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story is harmless without the bug."""
    given = stages.settings(stages.fleet(checks=stages.TWO_CHECKS))
    story(Ward(given))
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story(Ward(given))


if EXAMPLES > SHIPPED:  # minutes each

    @pytest.mark.parametrize("plant", [pytest.param(bug.values[1], id=bug.id) for bug in BUGS])
    @pytest.mark.timeout(1800)
    def test_a_planted_bug_is_found_at_random(
        plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without its story, by the machine above."""
        plant(monkeypatch)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(Judged, settings=BOUNDED)


# -- who is asked, and how often, must not matter


@dataclass(frozen=True)
class Spell:
    """One machine answers in a way for a while, or (`whom` None) all of them do; then it is well for a while."""

    whom: int | None
    says: str
    seconds: float
    well: float


SPELLS = st.lists(
    st.builds(
        Spell,
        st.none() | st.integers(0, 5),
        st.sampled_from(("critical", "silent", "unknown", "warning")),
        st.sampled_from((6.0, 20.0, 50.0, 120.0)),
        st.sampled_from((20.0, 200.0, 700.0)),
    ),
    min_size=1,
    max_size=3,
)


def tell(spells: Sequence[Spell], name: Callable[[int], str], extra: Sequence[int] = ()) -> Ward:
    """Play spells; `extra` are beats at which each machine under a spell gives one more good answer."""
    ward = Ward(stages.settings(), name)
    beat = 0
    for spell in spells:
        whom = [name(n) for n in (range(6) if spell.whom is None else [spell.whom])]
        ward.behaviour |= {one: spell.says for one in whom if one in ward.behaviour}
        for _ in range(int(spell.seconds / 2.0)):
            beat += 1
            ward.run(2.0)
            if beat in extra:
                ward.step(
                    [ResultsReported([Result(one, "alive", Status.OK, False, ward.boot, ward.boot) for one in whom])]
                )
        ward.behaviour |= {one: "ok" for one in whom if one in ward.behaviour}
        ward.run(spell.well)
    return ward


@given(SPELLS, st.permutations(range(6)))
@settings(max_examples=max(8, EXAMPLES // 5), deadline=None, database=None)
def test_names_do_not_matter(spells: list[Spell], order: list[int]) -> None:
    """The same story, told of machines with other names, leads to the same decisions at the same moments."""

    def renamed(number: int) -> str:
        return f"i-{order[number]:02d}x" if number < 6 else f"i-{number}"

    plain = tell(spells, lambda number: f"i-{number:02d}")
    assert Counter(plain.history) == Counter(tell(spells, renamed).history)


@given(SPELLS, st.lists(st.integers(0, 60), max_size=6))
@settings(max_examples=max(8, EXAMPLES // 5), deadline=None, database=None)
def test_more_good_answers_never_lead_to_a_harder_act(spells: list[Spell], extra: list[int]) -> None:
    """A sick machine that answers well now and then besides is touched no more than without."""
    plain = tell(spells, lambda number: f"i-{number:02d}")
    better = tell(spells, lambda number: f"i-{number:02d}", extra)
    assert len(better.acts) <= len(plain.acts)


@given(st.lists(st.sampled_from(sorted(ANSWERS)), max_size=40))
def test_unknown_never_raises_suspicion(answers: list[str]) -> None:
    """Nor does it lower it: it says nothing."""
    evidence = Evidence(stages.ALIVE, weights(stages.ALIVE, 6, Judgement()))
    for beat, answer in enumerate(answers):
        status, silent = ANSWERS[answer]
        before = (evidence.score, evidence.fails, evidence.passes)
        evidence.take(Result("i-00", "alive", status, silent, beat * 10.0, beat * 10.0 + 1.0))
        if status is Status.UNKNOWN:
            assert before == (evidence.score, evidence.fails, evidence.passes)
