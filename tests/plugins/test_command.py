"""`sickbay plugins`: what it lists, what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from supervisor.cli import app

ROOT = Path(__file__).parents[2]
HEAD = "from supervisor.api import Check, CheckResult, Instance, Probe\n"


def sickbay(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"SICKBAY_CONFIG": "", "COLUMNS": "200"})


def test_without_a_config_the_built_in_kinds_are_listed() -> None:
    """For people, one line each."""
    told = sickbay("plugins")
    words = " ".join(told.output.split())  # columns are as wide as the longest kind

    assert 0 == told.exit_code
    assert "check http built-in http.py" in words
    assert "Launch a fresh machine from the golden image" in words
    assert "provider local" in words


def test_as_json_each_kind_has_origin_and_doc() -> None:
    """For programs."""
    found = json.loads(sickbay("plugins", "--json").output)

    assert {"checks", "remediations", "providers"} == found.keys()
    assert {"kind", "origin", "doc"} == {key for rows in found.values() for row in rows for key in row}
    assert all(row["doc"] for rows in found.values() for row in rows)


def test_with_a_config_its_folders_are_searched(tmp_path: Path) -> None:
    """What the daemon of that file would know; the schema knows it, too."""
    sickbay("plugins", "new", "check", "sonar", "--folder", tmp_path / "mine")
    config = tmp_path / "config.toml"
    config.write_text('[plugins]\npaths = ["mine"]\n', encoding="utf-8")
    rows = json.loads(sickbay("plugins", "--json", "--config", config).output)["checks"]

    assert "sonar" not in sickbay("plugins").output
    assert str(tmp_path / "mine" / "sonar.py") == next(r["origin"] for r in rows if r["kind"] == "sonar")
    assert "check.sonar" in json.loads(sickbay("schema", "--config", config).output)["$defs"]
    assert "check.sonar" not in json.loads(sickbay("schema").output)["$defs"]


def test_a_broken_plugin_is_one_sentence_and_78(tmp_path: Path) -> None:
    """No traceback, whoever wrote it."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    (folder / "bad.py").write_text(HEAD + "1 / 0\n", encoding="utf-8")
    (folder / "bad.py").chmod(0o644)
    (tmp_path / "config.toml").write_text('[plugins]\npaths = ["mine"]\n', encoding="utf-8")
    for command in ("plugins", "schema"):
        told = sickbay(command, "--config", tmp_path / "config.toml")

        assert 78 == told.exit_code
        assert f"sickbay: {folder}/bad.py can't be loaded: ZeroDivisionError: division by zero (line 2)" in told.stderr
        assert 1 == len(told.stderr.splitlines())


def test_new_says_what_to_paste_and_what_comes_next(tmp_path: Path) -> None:
    """The snippet is good TOML with the folder's whole path."""
    told = sickbay("plugins", "new", "check", "sonar", "--folder", tmp_path / "mine")

    assert 0 == told.exit_code
    assert f'paths = ["{tmp_path}/mine"]' in told.output
    assert "[[fleet.NAME.check]]" in told.output
    assert f"next: python -m pytest {tmp_path}/mine/test_sonar.py" in told.output


WRONG = {
    "a name with capitals": ("Sonar", "can't name a check; expected small letters"),
    "a name with a hyphen": (
        "So-nar",
        "can't name a check; expected small letters, digits and '_', a letter first, at most 40, not beginning with 'test_', such as 'so_nar'",
    ),
    "a name of a test": ("test_sonar", "not beginning with 'test_'"),
    "a path": ("../sonar", "can't name a check"),
    "nothing": ("", "can't name a check"),
    "a built-in kind": ("http", "a check of the kind 'http' exists already (built-in http.py)"),
    "a module of Python": ("json", "'json' is the name of an installed Python module"),
    "a Python keyword": ("class", "is a word of Python's"),
    "a module of somebody": ("pydantic", "'pydantic' is the name of an installed Python module"),
}


@pytest.mark.parametrize("row", WRONG)
def test_a_name_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, row: str) -> None:
    """Wrong use is 2, and nothing is written."""
    name, sentence = WRONG[row]
    told = sickbay("plugins", "new", "check", "--folder", tmp_path / "mine", "--", name)

    assert 2 == told.exit_code
    assert sentence in told.stderr
    assert 1 == len(told.stderr.splitlines())
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["sonar.py", "test_sonar.py"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    """Neither the check nor its test."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    (folder / name).write_text("# mine\n", encoding="utf-8")
    (folder / name).chmod(0o644)
    told = sickbay("plugins", "new", "check", "sonar", "--folder", folder)

    assert (2, [name]) == (told.exit_code, [p.name for p in folder.glob("*.py")])
    assert f"{folder}/{name} exists already, and is left as it is" in told.stderr
    assert "# mine\n" == (folder / name).read_text(encoding="utf-8")


def test_a_kind_that_another_file_of_the_folder_defines_is_taken(tmp_path: Path) -> None:
    """The daemon would refuse both."""
    folder = tmp_path / "mine"
    sickbay("plugins", "new", "check", "sonar", "--folder", folder)
    (folder / "sonar.py").rename(folder / "echo.py")
    (folder / "test_sonar.py").unlink()
    told = sickbay("plugins", "new", "check", "sonar", "--folder", folder)

    assert 2 == told.exit_code
    assert f"a check of the kind 'sonar' exists already ({folder}/echo.py)" in told.stderr


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "mine").write_text("", encoding="utf-8")
    told = sickbay("plugins", "new", "check", "sonar", "--folder", tmp_path / "mine" / "deep")

    assert (2, 1) == (told.exit_code, len(told.stderr.splitlines()))
    assert "choose another --folder" in told.stderr


def test_a_remediation_is_begun_likewise(tmp_path: Path) -> None:
    """A name of a check is free for it, and one of a remediation is not."""
    begun = sickbay("plugins", "new", "remediation", "gentle", "--folder", tmp_path / "mine")
    taken = sickbay("plugins", "new", "remediation", "replace", "--folder", tmp_path / "mine")

    assert (0, 2) == (begun.exit_code, taken.exit_code)
    assert 'remediation = [{ kind = "gentle", evidence = true }, "replace"]' in begun.output
    assert "a remediation of the kind 'replace' exists already (built-in replace.py)" in taken.stderr


@pytest.mark.acceptance
def test_what_is_written_passes_its_tests_the_formatter_the_linter_and_the_types(tmp_path: Path) -> None:
    """What a newcomer starts from is as good as ours: plain pytest, `ruff` with all rules, `mypy --strict`."""
    sickbay("plugins", "new", "check", "queue_length", "--folder", tmp_path / "mine")
    sickbay("plugins", "new", "remediation", "gentle_restart", "--folder", tmp_path / "mine")
    files = sorted(path.name for path in (tmp_path / "mine").glob("*.py"))
    config = str(ROOT / "pyproject.toml")
    runs = {
        "pytest": ["pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        "format": ["ruff", "format", "--config", config, "--check", *files],
        # INP001: a plugin folder is no package; S101: a test asserts
        "lint": ["ruff", "check", "--config", config, "--ignore", "INP001", "--extend-per-file-ignores", "test_*.py:S101", *files],
        "types": ["mypy", "--config-file", config, "--cache-dir", str(ROOT / ".mypy_cache"), *files],
    }  # fmt: skip
    for what, arguments in runs.items():
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=tmp_path / "mine", capture_output=True, text=True, check=False
        )

        assert (what, 0) == (what, done.returncode), done.stdout + done.stderr
