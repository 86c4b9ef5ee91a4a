"""`supervisor.api` is typed for those who write against it: `mypy --strict` over an author's module, good and bad."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = """\
from datetime import timedelta
from typing import ClassVar

from supervisor.api import (
    Answer, AskingCheck, Check, CheckResult, Duration, HttpAnswer, HttpQuestion, Instance, NoAnswer, Plan, Probe, Question,
    Refusal, Remediation, StepPlan, Subject, TcpQuestion, Verb,
)
from supervisor.testing import FakeProbe, Fault, heal, http_answer, instance, run


class Mine(Check, kind="mine"):
    slow: Duration = timedelta(seconds=1)

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        try:
            answer = await probe.http.get(f"http://{instance.url_host}/", headers={"X": "1"})
        except (NoAnswer, Refusal) as error:
            return CheckResult.critical(str(error))
        seconds: float = answer.seconds
        return CheckResult.ok("well", seconds=seconds, metrics={"bytes": len(answer.body)})


class Asks(AskingCheck, kind="asks"):
    def question(self) -> Question:
        return HttpQuestion(80)

    def judge(self, answer: Answer) -> CheckResult:
        return CheckResult.ok() if isinstance(answer, HttpAnswer) else CheckResult.unknown("no HTTP")


class Bounce(Remediation, kind="bounce"):
    removes: ClassVar[bool] = False

    def plan(self) -> Plan:
        return (StepPlan(Verb.RESTART), StepPlan(Verb.WARM, Subject.PATIENT), StepPlan(Verb.REGISTER), StepPlan(Verb.CONFIRM))


text: str = run(Mine(), instance("192.0.2.1"), FakeProbe(http=[http_answer(200), Refusal("no")])).text
names: list[str] = heal(Bounce(), "replace", fault=Fault.HANG).names
"""
BAD = {
    "a check that returns text": ('return CheckResult.ok("well", seconds', 'return str("well", seconds', "[call-overload]", "[return-value]"),
    "a run that is no coroutine": ("    async def run(", "    def run(", "[override]"),
    "an answer that has no such field": ("answer.seconds", "answer.duration", '"HttpAnswer" has no attribute "duration"'),
    "a forgotten await": ("await probe.http.get", "probe.http.get", "Maybe you forgot to use"),
    "a question that is none": ("return HttpQuestion(80)", 'return "http://"', "[return-value]"),
    "a port that is text": ("HttpQuestion(80)", 'HttpQuestion("80")', "[arg-type]"),
    "a plan that is a list": ("return (StepPlan(Verb.RESTART), StepPlan(Verb.WARM, Subject.PATIENT), StepPlan(Verb.REGISTER), StepPlan(Verb.CONFIRM))", "return [StepPlan(Verb.RESTART)]", "[return-value]"),
    "a verb that is text": ("StepPlan(Verb.RESTART)", 'StepPlan("restart")', "[arg-type]"),
    "a metric that is text": ("len(answer.body)}", '"many"}', "[dict-item]"),
    "an answer of another kind": ("http_answer(200), Refusal", "200, Refusal", "[list-item]"),
}  # fmt: skip


@pytest.mark.acceptance
def test_a_type_checker_finds_what_an_author_got_wrong_and_nothing_else(tmp_path: Path) -> None:
    """One run for all: each row is a module of its own, with one mistake."""
    (tmp_path / "good.py").write_text(MODULE, encoding="utf-8")
    for number, (old, new, *_) in enumerate(BAD.values()):
        assert old in MODULE
        (tmp_path / f"bad{number}.py").write_text(MODULE.replace(old, new), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"),
            *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"), "."),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = {n: [e for e in done.stdout.splitlines() if e.startswith(f"bad{n}.py:")] for n in range(len(BAD))}

    assert "" == done.stderr
    assert "good.py" not in done.stdout
    for number, (what, (_, _, *expected)) in enumerate(BAD.items()):
        errors = "\n".join(told[number])
        assert any(each in errors for each in expected), f"{what}: {errors or 'nothing was found'}"


def test_the_contract_imports_little() -> None:
    """Neither the network nor the daemon comes with it: an editor or a test that imports it should not wait."""
    code = "import sys; import supervisor.api; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert set() == loaded & {"asyncio", "aiohttp", "structlog", "sqlalchemy", "typer", "rich", "uvloop", "yarl"}
    assert {"errors", "core", "api"} >= {name.split(".")[1] for name in loaded if name.startswith("supervisor.")}
