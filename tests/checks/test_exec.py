"""The check `exec`: what a program's end means, what its arguments may say, and what is refused in its configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.api import Check, Instance, ProgramAnswer, Status, Unrunnable
from supervisor.config import load
from supervisor.errors import ConfigError
from supervisor.plugins import discover
from supervisor.runtime.runner import Ran, run_check
from supervisor.testing import FakeProbe, ProgramRequest
from supervisor.testing.asking import FakeProgram

CATALOGUE = discover()
INSTANCE = Instance("i-1", "web", "10.0.0.7", "a", "img-9", "1.2.3")


def exec_check(*command: str) -> Check:
    """Return a check."""
    return CATALOGUE.checks["exec"].cls.model_validate({"command": command})


async def run(
    answer: ProgramAnswer | Unrunnable, *command: str, instance: Instance = INSTANCE
) -> tuple[Ran, FakeProgram]:
    """Run a check against a program that ends so."""
    probe = FakeProbe(program=[answer])
    return await run_check(exec_check(*command or ("/bin/check_it",)), instance, probe, 1.0), probe.program


def ended(code: int, stdout: bytes = b"", stderr: bytes = b"") -> ProgramAnswer:
    """Return a program's end."""
    return ProgramAnswer(code, stdout, stderr, 0.01)


ENDS: dict[str, tuple[ProgramAnswer | Unrunnable, Status, str]] = {
    "0 is well": (ended(0, b"fine | a=1"), Status.OK, "fine"),
    "1 is a warning": (ended(1, b"WARN: so so"), Status.WARNING, "WARN: so so"),
    "2 is critical": (ended(2, b"CRIT: down\nmore"), Status.CRITICAL, "CRIT: down"),
    "3 is unknown": (ended(3, b"UNKNOWN: usage"), Status.UNKNOWN, "UNKNOWN: usage"),
    "another code": (ended(127, b"", b"no such file\n"), Status.UNKNOWN, "check_it ended with exit code 127, expected 0 to 3: no such file"),
    "another code, without a word": (ended(4), Status.UNKNOWN, "check_it ended with exit code 4, expected 0 to 3"),
    "killed": (ended(-11, b"half"), Status.UNKNOWN, "check_it was killed by SIGSEGV: half"),
    "killed by a signal without a name": (ended(-40), Status.UNKNOWN, "check_it was killed by signal 40"),
    "not a word": (ended(0), Status.OK, "check_it said nothing"),
    "words for standard error only": (ended(2, b"", b"can't connect\nat line 4"), Status.CRITICAL, "can't connect"),
    "rubbish": (ended(0, b"\xff\x00\x1b[31mred\x1b[0m \xe2\x80\xaeback|\xfe='"), Status.OK, "� red  back"),
    "not to be run": (Unrunnable("/bin/check_it can't be run"), Status.UNKNOWN, "/bin/check_it can't be run"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
async def test_the_end_of_a_program_is_a_result(name: str) -> None:
    """By the Nagios conventions; what is outside them says nothing about the instance."""
    answer, status, text = ENDS[name]
    ran, _ = await run(answer)

    assert (status, text, False) == (ran.result.status, ran.result.text, ran.result.silent)


async def test_perfdata_becomes_metrics_and_the_time_that_it_names_the_latency() -> None:
    """In base units, under its own labels."""
    ran, _ = await run(ended(0, b"HTTP OK | time=12ms;;;0 size=2KB;;;0"))

    assert {"time": 0.012, "size": 2048.0} == ran.result.metrics
    assert 0.012 == ran.result.seconds


async def test_macros_stand_for_the_instance() -> None:
    """In any argument, more than once, and doubled braces are braces."""
    _, program = await run(
        ended(0), "/bin/check_it", "-H", "{address}", "{id}/{fleet}/{zone}", "{image}@{version}", '{{"id":"{id}"}}'
    )

    expected = ["/bin/check_it", "-H", "10.0.0.7", "i-1/web/a", "img-9@1.2.3", '{"id":"i-1"}']
    assert [ProgramRequest(tuple(expected), {})] == program.asked


async def test_a_value_can_not_pass_for_an_option() -> None:
    """A version named like an option is not given to the program."""
    ran, program = await run(
        ended(0),
        "/bin/check_it",
        "{version}",
        instance=Instance("i-1", "web", "10.0.0.7", version="--config=/etc/shadow"),
    )

    assert Status.UNKNOWN is ran.result.status
    assert "which the program would take for an option" in ran.result.text
    assert [] == program.asked


async def test_no_program_is_told_to_ask_a_link_local_address() -> None:
    """The metadata service is no machine of the fleet, whoever is to ask it."""
    ran, program = await run(ended(0), "/bin/check_it", "{address}", instance=Instance("i-1", "web", "169.254.169.254"))

    assert Status.UNKNOWN is ran.result.status
    assert [] == program.asked


CONFIG = """\
[supervisor]
state = "sqlite:///tmp/sickbay-test/state.db"

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"

[[fleet.web.check]]
kind = "exec"
"""

MISTAKES = {
    "no command": ("", "[fleet.web.check] command — this key is missing"),
    "an empty command": ("command = []", "at least 1 item"),
    "a shell line": ('command = "/bin/true | grep x"', "expected a list"),
    "a relative path": ('command = ["check_http"]', 'expected an absolute path first, found "check_http"; there is no shell and no search'),
    "a program by macro": ('command = ["/opt/{version}/check"]', "expected an absolute path first"),
    "an unknown macro": ('command = ["/bin/true", "{host}"]', '"{host}" is not known; expected one of {address}, {id}, {fleet}, {zone}, {image}, {version}, or {{ for a brace itself'),
    "a single brace": ('command = ["/bin/true", "{"]', '"{" has a single brace; expected {{ or }} for a brace itself'),
    "a NUL": ('command = ["/bin/true", "a\\u0000b"]', "holds a NUL character; take it out"),
    "a secret's name": ('command = ["/bin/true"]\nenv = { AWS_PROFILE = "x" }', "AWS_PROFILE is never given to a program"),
    "a bad variable": ('command = ["/bin/true"]\nenv = { "A=B" = "x" }', '"A=B" is no environment variable'),
    "a misspelt key": ('command = ["/bin/true"]\nenvironment = {}', "environment — this key is not known; known: command, env"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(name: str, tmp_path: Path) -> None:
    """Before anything is run."""
    keys, sentence = MISTAKES[name]
    (tmp_path / "config.toml").write_text(CONFIG + keys)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.toml", CATALOGUE)

    assert sentence in str(caught.value)


def test_a_program_runs_in_the_plugin_host(tmp_path: Path) -> None:
    """It is foreign code, even though the kind ships with Sickbay; http is not."""
    (tmp_path / "config.toml").write_text(
        CONFIG + 'command = ["/bin/true", "{id}"]\n[[fleet.web.check]]\nkind = "http"\n'
    )
    checks = load(tmp_path / "config.toml", CATALOGUE).fleets["web"].checks

    assert {"exec": False, "http": True} == {c.kind: c.builtin for c in checks}
    assert {"command": ["/bin/true", "{id}"], "env": {}} == json.loads(json.dumps(checks[0].options))
