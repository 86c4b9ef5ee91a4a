"""A newcomer: the wheel in a clean environment, the how-to executed as it stands, and plugins from everywhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.providers.local import WEB, LocalCloud, LocalOptions
from tests.acceptance.howto import blocks

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto" / "write-a-check.md"
REMEDIATION = HOWTO.with_name("write-a-remediation.md")
LIMIT = 300.0
"""Seconds from nothing to a vote."""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python environment with Sickbay in it, and nothing of this checkout."""

    folder: Path
    seconds: float
    """How long it took to make."""

    def call(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run its Python, from a folder that is not the checkout."""
        return subprocess.run(
            [str(self.folder / "bin" / "python"), *arguments],
            cwd=cwd or self.folder, env=self.variables(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def sickbay(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run its command line."""
        return self.call(str(self.folder / "bin" / "sickbay"), *arguments, cwd=cwd)

    def install(self, wheel: Path) -> None:
        """Install a wheel, without any network."""
        done = self.call("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel))
        assert 0 == done.returncode, done.stderr

    def variables(self) -> dict[str, str]:
        """Return the environment variables of somebody who has its `bin` on the PATH, and nothing of ours."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SICKBAY", "VIRTUAL"))}
        return {**kept, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(self.folder)}

    def clone(self, folder: Path) -> Environment:
        """Return a copy, for what would spoil this one."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Environment(folder, self.seconds)


def wheel_of(project: Path, folder: Path) -> Path:
    """Build a wheel with the build backend of the checkout's environment: no network, no isolation."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=project, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build Sickbay's wheel."""
    return wheel_of(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Make a clean environment with the wheel, pytest, and the versions of the lock; pip as this machine has it."""
    begun = time.monotonic()
    folder = tmp_path_factory.mktemp("clean") / "env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9][^\s\\]*==[^\s\\]+(?: ;[^\\\n]*)?)", lock, re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    made = Environment(folder, 0.0)
    done = made.call("-m", "pip", "install", "--quiet", "--constraint", str(constraints), str(wheel), "pytest")
    assert 0 == done.returncode, done.stderr
    return Environment(folder, time.monotonic() - begun)


@contextmanager
def fleet(folder: Path, name: str) -> Iterator[None]:
    """End the machines of a local fleet afterwards, whatever happened."""
    try:
        yield
    finally:
        options = LocalOptions(image=WEB, front_door="")
        asyncio.run(LocalCloud.open(name, options, "", folder / "state", "").destroy())


def votes(environment: Environment, folder: Path, instance: str) -> dict[str, Any]:
    """Return what each check says in the judgement of an instance."""
    done = environment.sickbay("explain", instance, "--config", "config.toml", "--json", cwd=folder)
    assert done.stdout, done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def follow(page: Path, environment: Environment, folder: Path, at_the_end: Callable[[], object]) -> str:
    """Do what a page tells, block by block; look around before its last command. Return what was printed."""
    shown = ""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
            continue
        if block.text.startswith('kill "$(cat sickbay.pid)"'):  # the page's own end: what was to be seen has been seen
            at_the_end()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=folder, env=environment.variables(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, f"{block.text}\n{done.stdout}{done.stderr}{log_of(folder)}"
        shown += done.stdout
    return shown


def running_in(folder: Path) -> list[str]:
    """Return the machines of a page's fleet that did not end with it, each with its process, once the kills have come through."""
    deadline = time.monotonic() + 10
    while True:
        files = list(folder.glob("state/local/shop/instances/*/process.json"))
        assert files
        pids = {path.parent.name: json.loads(path.read_text())["pid"] for path in files}
        left = [f"{name}: {pid}" for name, pid in pids.items() if is_running(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def test_the_howto_leads_to_a_check_that_votes(
    clean: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block as it stands, in order, from a clean environment: within five minutes."""
    begun = time.monotonic()
    voted: dict[str, Any] = {}
    took: list[float] = []

    def look() -> None:
        voted.update(votes(clean, tmp_path, (tmp_path / "instance.txt").read_text(encoding="utf-8").strip()))
        took.append(clean.seconds + time.monotonic() - begun)

    with fleet(tmp_path, "shop"):
        shown = follow(HOWTO, clean, tmp_path, look)
        assert [] == running_in(tmp_path), log_of(tmp_path)

    assert ("liveness", "ok") == (voted["release"]["role"], voted["release"]["status"])
    assert voted["release"]["passes_in_a_row"] > 0
    assert "it runs 1.0.0" in shown
    with capsys.disabled():
        print(f"\nfrom nothing to a vote: {took[0]:.0f} s, of which {clean.seconds:.0f} s made the environment")
    assert took[0] < LIMIT


def test_the_howto_leads_to_a_remediation_that_heals(clean: Environment, tmp_path: Path) -> None:
    """Each block as it stands: begun, tested on the simulated fleet, loaded, and a real machine is replaced by it."""
    told: dict[str, Any] = {}

    def look() -> None:
        number = (tmp_path / "incident.txt").read_text(encoding="utf-8").strip()
        done = clean.sickbay("incidents", number, "--config", "config.toml", "--json", cwd=tmp_path)
        told.update(json.loads(done.stdout))

    with fleet(tmp_path, "shop"):
        shown = follow(REMEDIATION, clean, tmp_path, look)
        assert [] == running_in(tmp_path), log_of(tmp_path)

    assert ("closed", "replaced") == (told["state"], told["resolution"])
    assert "surge: launch, warm, register, confirm, capture, withdraw, isolate" in [
        note["text"] for note in told["story"]
    ]
    assert re.search(r"remediation +surge +/", shown)  # as `sickbay plugins` lists it, however its columns are folded
    assert "surge: launch, warm, register, confirm, capture, withdraw, isolate" in shown


def log_of(folder: Path) -> str:
    """Return what the daemon has told, for a failing test."""
    log = folder / "sickbay.log"
    return log.read_text(encoding="utf-8")[-3000:] if log.exists() else ""


def is_running(pid: int) -> bool:
    """Return whether a process is alive; one that only waits to be reaped is not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False


def test_the_wheel_brings_one_name(wheel: Path) -> None:
    """Whatever else the environment holds, Sickbay adds `supervisor` and its own metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}

    assert {"supervisor"} == {name for name in names if not name.endswith(".dist-info")}
    assert 2 == len(names)


def test_the_wheel_has_the_plugins_of_the_checkout(clean: Environment) -> None:
    """Kinds and what they say; only the place they come from may be called otherwise."""
    here = subprocess.run(
        [sys.executable, "-m", "supervisor", "plugins", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = clean.sickbay("plugins", "--json")

    assert told(here.stdout) == told(there.stdout)
    assert told(there.stdout)["checks"]


def told(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return kinds and docs of `sickbay plugins --json`."""
    return {what: [(row["kind"], row["doc"]) for row in rows] for what, rows in json.loads(text).items()}


CONFIG = """\
[supervisor]
mode = "auto"
state = "sqlite:///./state/state.db"
listen = ""
inventory = "300ms"

[fleet.both]
provider = "local"
desired = 1
version = "1.0.0"

[fleet.both.local]
image = "builtin:web"
front_door = ""

[[fleet.both.check]]
kind = "release"
port = 8080
interval = "300ms"
timeout = "250ms"

[[fleet.both.check]]
kind = "sonar"
port = 8080
interval = "300ms"
timeout = "250ms"

[judgement]
speed = 30

[plugins]
paths = ["plugins"]
"""


def test_a_package_and_a_folder_are_listed_and_vote(clean: Environment, tmp_path: Path) -> None:
    """The how-to's package, installed, and a file in a plugin folder: both in one fleet."""
    environment = clean.clone(tmp_path / "env")
    project = tmp_path / "package"
    project.mkdir()
    page = {block.file: block.text for block in blocks(HOWTO)}
    (project / "pyproject.toml").write_text(page["package/pyproject.toml"], encoding="utf-8")
    (project / "sickbay_release.py").write_text(page["plugins/release.py"], encoding="utf-8")
    environment.install(wheel_of(project, tmp_path / "dist"))
    environment.sickbay("plugins", "new", "check", "sonar", cwd=tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    listed = json.loads(environment.sickbay("plugins", "--config", "config.toml", "--json", cwd=tmp_path).stdout)
    origins = {row["kind"]: row["origin"] for row in listed["checks"]}

    assert ("package sickbay-release", f"{tmp_path}/plugins/sonar.py") == (origins["release"], origins["sonar"])
    with fleet(tmp_path, "both"), (tmp_path / "sickbay.log").open("w") as log:
        daemon = subprocess.Popen(
            [str(environment.folder / "bin" / "python"), "-m", "supervisor", "run", "--config", "config.toml"],
            cwd=tmp_path, env=environment.variables(), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            found = until_both_vote(environment, tmp_path)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)

    assert {"release": "it runs 1.0.0", "sonar": "HTTP 200"} == {name: check["text"] for name, check in found.items()}


def until_both_vote(environment: Environment, folder: Path) -> dict[str, Any]:
    """Wait for real processes; return what each check says."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done = environment.sickbay("status", "--config", "config.toml", "--json", cwd=folder)
        instances = json.loads(done.stdout)["fleets"][0]["instances"] if done.stdout else []
        found = votes(environment, folder, instances[0]["id"]) if instances else {}
        if found and all(check["passes_in_a_row"] > 0 for check in found.values()):
            return found
        time.sleep(0.2)
    raise AssertionError(log_of(folder))


FOREIGN = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "supervisor"
version = "4.2.5"

[tool.hatch.build.targets.wheel]
packages = ["supervisor"]
"""


def test_another_owner_of_the_import_name_is_refused(clean: Environment, wheel: Path, tmp_path: Path) -> None:
    """The process manager of that name, before or after us: one sentence and 78, whichever files have won."""
    environment = clean.clone(tmp_path / "env")
    project = tmp_path / "foreign"
    (project / "supervisor").mkdir(parents=True)
    (project / "pyproject.toml").write_text(FOREIGN, encoding="utf-8")
    (project / "supervisor" / "__init__.py").write_text("#\n", encoding="utf-8")
    (project / "supervisor" / "supervisord.py").write_text("# somebody else's\n", encoding="utf-8")
    environment.install(wheel_of(project, tmp_path / "dist"))
    sentence = (
        "sickbay: the import name 'supervisor' belongs to supervisor and sickbay in this environment; "
        "install Sickbay into an environment of its own\n"
    )
    after = environment.sickbay("plugins")
    done = environment.call(
        "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel)
    )
    before = environment.sickbay("run", "--config", "nowhere.toml")

    assert (78, sentence) == (after.returncode, after.stderr)
    assert 0 == done.returncode
    assert (78, sentence) == (before.returncode, before.stderr)
