"""Runs in flight: a question and a coroutine end alike, and what bounds them holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from checks.tcp import TcpCheck
from supervisor.api import Answer, CheckResult, Instance, NoAnswer, Question, Refusal, Status, TcpAnswer
from supervisor.runtime.asking import Done, Outcome, Prepared, TimedOut
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Judge, boottime
from supervisor.runtime.runs import MOST_ASKED, Runs
from supervisor.runtime.schedule import Pair, Schedule, Spec


@dataclass
class Desk:
    """An asker whose answers are given by the test."""

    open: list[tuple[str, Done]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    def prepare(self, question: Question) -> Prepared:
        """As it is."""
        return Prepared(question, b"", b"")

    def ask(self, prepared: Prepared, host: str, limit: float, done: Done) -> Callable[[], None]:
        """Wait for the test."""
        self.open.append((host, done))
        self.limits.append(limit)
        return lambda: None

    @property
    def in_flight(self) -> int:
        """How many wait."""
        return len(self.open)

    async def close(self) -> None:
        """Nothing."""


class Strange(TcpCheck, kind="strange"):
    """Fails at an answer that says so."""

    def judge(self, answer: Answer) -> CheckResult:
        """Divide by what came."""
        return CheckResult.ok(str(1 // len(answer.received)) if isinstance(answer, TcpAnswer) else "")


class Story:
    """A schedule, its runs, and what they told."""

    def __init__(self, count: int = 1) -> None:
        """Watch so many."""
        self.desk = Desk()
        self.told: list[CheckResult] = []
        self.runs = Runs(NetworkProbe(), self.desk, None, self._tell)
        self.schedule = Schedule(boottime())
        check = Strange(port=80)
        spec = Spec("alive", "strange", "x.py", check, 10.0, 2.0, self.desk.prepare(check.question()), Judge(check))
        self.schedule.configure({"web": {"alive": spec}}, boottime())
        for number in range(count):
            self.schedule.observe(Instance(f"i-{number}", "web", f"127.0.1.{number % 250}"), boottime(), fast=False)
        self.runs.turn(boottime())  # whatever the wheel's making took, garbage collection included

    def _tell(self, _: Pair, result: CheckResult, sent: float, done: float) -> None:
        assert sent <= done
        self.told.append(result)

    def pair(self, number: int = 0) -> Pair:
        """Return what is asked of one."""
        return self.schedule.pairs(f"i-{number}")[0]

    def answer(self, outcome: Outcome) -> None:
        """Answer whoever asked first."""
        self.desk.open.pop(0)[1](outcome)


ANSWERS: dict[str, tuple[Outcome, Status, bool, str]] = {
    "an answer": (TcpAnswer(b"x", 0.1), Status.OK, False, "1"),
    "a time limit": (TimedOut(), Status.CRITICAL, True, "no answer within 2s"),
    "no route": (NoAnswer("no route to host"), Status.CRITICAL, True, "no answer: no route to host"),
    "a refusal": (Refusal("connection refused"), Status.CRITICAL, False, "connection refused"),
    "our own fault": (OSError(24, "Too many open files"), Status.UNKNOWN, False, "the check itself failed: OSError: [Errno 24] Too many open files"),
    "a forbidden address": (PermissionError("no"), Status.UNKNOWN, False, "the check itself failed: PermissionError: no"),
    "a judge that raises": (TcpAnswer(b"", 0.1), Status.UNKNOWN, False, "the check itself failed: ZeroDivisionError: integer division or modulo by zero"),
}  # fmt: skip


async def test_each_outcome_means_what_it_means_to_a_coroutine() -> None:
    """And the instance can be asked again."""
    for name, (outcome, status, silent, text) in ANSWERS.items():
        story = Story()
        assert story.runs.start(story.pair(), boottime())
        story.answer(outcome)
        (result,) = story.told

        assert (status, silent, text) == (result.status, result.silent, result.text), name
        assert 0 == len(story.runs)
        assert story.runs.start(story.pair(), boottime())


async def test_a_stretched_limit_ends_before_the_same_question_is_due_again() -> None:
    """Else each that is silent would miss every other turn."""
    story = Story(count=3)
    for number, stretch in enumerate((1.0, 3.0, 9.0)):
        story.runs.stretch = stretch
        assert story.runs.start(story.pair(number), boottime())

    assert [2.0, 6.0, 9.0] == story.desk.limits


async def test_nobody_is_asked_twice_at_a_time_and_of_the_forgotten_nothing_is_told() -> None:
    """Its answer comes, and is dropped."""
    story = Story()
    pair = story.pair()
    assert story.runs.start(pair, boottime())
    assert not story.runs.start(pair, boottime())
    story.runs.forget(story.schedule.forget("i-0"))
    story.answer(TcpAnswer(b"x", 0.1))

    assert [] == story.told
    assert 0 == len(story.runs)


async def test_who_is_asked_besides_the_schedule_waits_for_room_and_for_its_own_answer() -> None:
    """At most so many at a time; one in flight is asked again when that answer is there."""
    story = Story(MOST_ASKED + 50)
    story.runs.start(story.pair(), boottime())
    story.runs.ask(story.pair(number) for number in range(MOST_ASKED + 50))
    story.runs.turn(boottime())
    assert 1 + MOST_ASKED == len(story.desk.open)
    story.answer(TcpAnswer(b"x", 0.1))
    for _ in range(MOST_ASKED):
        story.answer(TcpAnswer(b"x", 0.1))
    story.runs.turn(boottime())

    assert 50 == len(story.desk.open)
    assert "127.0.1.0" in {host for host, _ in story.desk.open}


async def test_silence_while_we_stood_still_is_nobodys() -> None:
    """The answer may have come, and waited."""
    story = Story()
    now = boottime()
    story.runs.turn(now)
    story.runs.start(story.pair(), now)
    story.runs.turn(now + 1.5)
    story.answer(TimedOut())

    assert (Status.UNKNOWN, "the check host itself stood still meanwhile") == (story.told[0].status, story.told[0].text)
    await asyncio.sleep(0)


def test_the_same_answer_is_judged_once_and_another_one_anew() -> None:
    """Unless the check itself failed at it: that may pass."""
    asked = Judge(Strange(port=80))
    same, empty = TcpAnswer(b"x", 0.0), TcpAnswer(b"", 0.0)
    first = asked.judge(same, 2.0)

    assert first is asked.judge(same, 2.0)
    assert first == asked.judge(TcpAnswer(b"x", 0.0), 2.0)
    assert asked.judge(empty, 2.0) is not asked.judge(empty, 2.0)
    assert Status.UNKNOWN is asked.judge(empty, 2.0).status
