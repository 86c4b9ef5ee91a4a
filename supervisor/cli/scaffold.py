"""The files that `sickbay plugins new` writes: a plugin that works, and its test. Called by the command line only."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.api import Check, Remediation
from supervisor.errors import SickbayError
from supervisor.plugins import Catalogue, Plugin

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

CHECK = '''\
"""GET a page of the instance; too slow is a warning, and anything but HTTP 200 is critical."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field
from supervisor.api import Check, CheckResult, Duration, Instance, Probe


class {title}Check(Check, kind="{name}"):
    """GET a page, and look at the status code and at the time it took."""

    # Each field is a key of [[fleet.NAME.check]], checked when the daemon starts; the text below it is its description.
    # The keys name, kind, role, interval and timeout are Sickbay's.
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """The port at the instance's address."""
    slow: Duration = timedelta(seconds=1)
    """An answer that takes longer than this is a warning."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once. A refused connection and silence are raised by the probe, and judged by Sickbay."""
        answer = await probe.http.get(f"http://{{instance.url_host}}:{{self.port}}/")
        if answer.status != 200:
            return CheckResult.critical(f"HTTP {{answer.status}}, expected 200", seconds=answer.seconds)
        if answer.seconds > self.slow.total_seconds():
            return CheckResult.warning(f"HTTP 200, but only after {{answer.seconds:.1f}} s", seconds=answer.seconds)
        return CheckResult.ok("HTTP 200", seconds=answer.seconds)
'''

TEST = '''\
"""The check `{name}` against answers from a script: no network, no daemon. Run it with `python -m pytest`."""

import pytest
from supervisor.api import HttpAnswer, NoAnswer, Refusal, Status
from supervisor.testing import FakeProbe, http_answer, instance, run

from {name} import {title}Check

ROWS: dict[str, tuple[HttpAnswer | Refusal | NoAnswer, Status]] = {{
    "a page is well": (http_answer(200), Status.OK),
    "a slow page is a warning": (http_answer(200, seconds=1.5), Status.WARNING),
    "an error is critical": (http_answer(500), Status.CRITICAL),
    "a refused connection is critical": (Refusal("connection refused"), Status.CRITICAL),
    "silence is critical": (NoAnswer("timed out"), Status.CRITICAL),
}}


@pytest.mark.parametrize("row", ROWS)
def test_each_answer_is_judged(row: str) -> None:
    """One row, one answer of the instance."""
    answer, expected = ROWS[row]

    assert expected is run({title}Check(), instance(), FakeProbe(http=[answer])).status


def test_it_asks_the_configured_port() -> None:
    """The options reach the question."""
    probe = FakeProbe(http=[http_answer(200)])
    run({title}Check(port=9000), instance("192.0.2.7"), probe)

    assert ["http://192.0.2.7:9000/"] == [request.url for request in probe.http.asked]
'''

SNIPPET = """\
[plugins]
paths = ["{folder}"]

[[fleet.NAME.check]]
name = "{name}"
kind = "{name}"
role = "advisory"        # only reports; "liveness" may condemn
port = 8080
slow = "1s"
interval = "10s"
timeout = "3s"
"""


REMEDIATION = '''\
"""Restart a sick machine in place, having kept what it could tell."""

from typing import ClassVar

from supervisor.api import Plan, Remediation, StepPlan, Verb


class {title}(Remediation, kind="{name}"):
    """Take the machine out of the load balancer, keep its log, restart it, and bring it back."""

    # Each field is a key of the rung's table, checked when the daemon starts; the text below it is its description.
    evidence: bool = True
    """Whether the log and the last results are kept first: a restart destroys what memory could tell."""

    removes: ClassVar[bool] = False  # the machine stays in the fleet, so it costs no credit

    def plan(self) -> Plan:
        """Return the steps in order. Sickbay carries them out, and reads every guard before each of them."""
        keep = (StepPlan(Verb.CAPTURE, optional=True),) if self.evidence else ()
        return (
            StepPlan(Verb.WITHDRAW, optional=True),  # left out where too few would serve
            *keep,
            StepPlan(Verb.RESTART),
            StepPlan(Verb.WARM),  # wait until it passes its startup checks
            StepPlan(Verb.REGISTER),
            StepPlan(Verb.CONFIRM),  # wait until it is well in the load balancer
        )
'''

REMEDIATION_TEST = '''\
"""The remediation `{name}` on a simulated fleet: no network, no daemon, no wait. Run it with `python -m pytest`."""

import pytest
from supervisor.testing import Fault, heal

from {name} import {title}


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_is_healed_in_place(fault: Fault) -> None:
    """The steps in their order, as the journal has them; nobody else stops serving."""
    healing = heal({title}(), fault=fault)

    assert "restarted" == healing.resolution
    assert ["withdraw", "capture", "restart", "warm", "register", "confirm"] == healing.names
    assert 5 == healing.served


def test_without_evidence_nothing_is_kept() -> None:
    """The options reach the plan."""
    assert "capture" not in heal({title}(evidence=False)).names


def test_the_next_rung_takes_over_what_a_restart_does_not_cure() -> None:
    """In a ladder, as in config.toml."""
    healing = heal({title}(), "replace", stubborn=True)

    assert "replaced" == healing.resolution
    assert ["warm"] == [step.name for step in healing.steps if step.result == "failed"]
'''

REMEDIATION_SNIPPET = """\
[plugins]
paths = ["{folder}"]

[fleet.NAME]             # beside its other keys
remediation = [{{ kind = "{name}", evidence = true }}, "replace"]
"""


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What a new plugin of one sort is begun with: three templates, and a good name."""

    plugin: str
    test: str
    snippet: str
    example: str


SCAFFOLDS: Mapping[str, Scaffold] = {
    "check": Scaffold(CHECK, TEST, SNIPPET, "queue_length"),
    "remediation": Scaffold(REMEDIATION, REMEDIATION_TEST, REMEDIATION_SNIPPET, "gentle_restart"),
}


class WrongName(SickbayError):
    """The name of a new plugin can't be used."""


def plugin_files(what: str, name: str, folder: Path) -> Mapping[Path, str]:
    """Return the plugin and its test, by path. Raises `WrongName` when the name can't name both a kind and a module."""
    scaffold = SCAFFOLDS[what]
    if not NAME.fullmatch(name) or name.startswith("test_") or name == "conftest":
        raise WrongName(
            f"{name!r} can't name a {what}; expected small letters, digits and '_', a letter first, at most 40, "
            f"not beginning with 'test_', such as '{near(name) or scaffold.example}'"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise WrongName(f"'{name}' is a word of Python's, and can't name a module; choose another name")
    title = "".join(word.capitalize() for word in name.split("_"))
    return {
        folder / f"{name}.py": scaffold.plugin.format(name=name, title=title),
        folder / f"test_{name}.py": scaffold.test.format(name=name, title=title),
    }


def near(name: str) -> str:
    """Return the good name that is nearest to one that is not, "" where there is none: "Queue-Length" is queue_length."""
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").removeprefix("test_")
    return found if NAME.fullmatch(found) and found != "conftest" and not keyword.iskeyword(found) else ""


def refuse_name(what: str, name: str, files: Mapping[Path, str], catalogue: Catalogue) -> None:
    """Raise `WrongName` for a name that is taken: by a file, a kind, or a module that the test would get instead."""
    for path in files:
        if path.exists():
            raise WrongName(f"{path} exists already, and is left as it is; choose another name or folder")
    known: Mapping[str, Plugin[Check] | Plugin[Remediation]] = (
        catalogue.checks if what == "check" else catalogue.remediations
    )
    if name in known:
        raise WrongName(f"a {what} of the kind '{name}' exists already ({known[name].origin}); choose another name")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise WrongName(f"'{name}' is the name of an installed Python module; choose another name")


def write(files: Mapping[Path, str], folder: Path) -> None:
    """Write the files, never over others, so that nobody else may write to them: discovery refuses what others may."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, text in files.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise WrongName(f"{error.filename} can't be written ({error.strerror}); choose another --folder") from error


def config_snippet(what: str, name: str, folder: Path) -> str:
    """Return what config.toml needs for the plugin."""
    return SCAFFOLDS[what].snippet.format(name=name, folder=folder.resolve())
