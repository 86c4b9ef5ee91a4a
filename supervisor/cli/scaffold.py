"""The files that `sickbay plugins new` writes: a check that works, and its test. Called by the command line only."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from supervisor.errors import SickbayError
from supervisor.plugins import Catalogue

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


class WrongName(SickbayError):
    """The name of a new plugin can't be used."""


def check_files(name: str, folder: Path) -> Mapping[Path, str]:
    """Return the check and its test, by path. Raises `WrongName` when the name can't name both a kind and a module."""
    if not NAME.fullmatch(name) or name.startswith("test_") or name == "conftest":
        raise WrongName(
            f"{name!r} can't name a check; expected small letters, digits and '_', a letter first, at most 40, "
            f"not beginning with 'test_', such as 'queue_length'"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise WrongName(f"'{name}' is a word of Python's, and can't name a module; choose another name")
    title = "".join(word.capitalize() for word in name.split("_"))
    return {
        folder / f"{name}.py": CHECK.format(name=name, title=title),
        folder / f"test_{name}.py": TEST.format(name=name, title=title),
    }


def refuse_name(name: str, files: Mapping[Path, str], catalogue: Catalogue) -> None:
    """Raise `WrongName` for a name that is taken: by a file, a kind, or a module that the test would get instead."""
    for path in files:
        if path.exists():
            raise WrongName(f"{path} exists already, and is left as it is; choose another name or folder")
    taken = catalogue.checks.get(name)
    if taken is not None:
        raise WrongName(f"a check of the kind '{name}' exists already ({taken.origin}); choose another name")
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


def config_snippet(name: str, folder: Path) -> str:
    """Return what config.toml needs for the check."""
    return SNIPPET.format(name=name, folder=folder.resolve())
