"""What is found, where, and what is said of what can't be: installed packages and folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.api import Check
from supervisor.errors import PluginError
from supervisor.plugins import discover, doc_of

CHECK = """
from supervisor.api import Check, CheckResult, Instance, Probe, Remediation, Plan

class {title}(Check, kind="{kind}"):
    {doc}
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.ok("well")
"""


def folder(tmp_path: Path, **files: str) -> Path:
    """Write a plugin folder that only we may write to."""
    made = tmp_path / "plugins"
    made.mkdir(mode=0o755)
    for name, text in files.items():
        (made / f"{name}.py").write_text(text, encoding="utf-8")
        (made / f"{name}.py").chmod(0o644)
    return made


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on the import path, where a package may be installed by hand."""
    made = tmp_path / "site"
    made.mkdir()
    monkeypatch.syspath_prepend(str(made))
    before = set(sys.modules)
    yield made
    for name in set(sys.modules) - before:
        del sys.modules[name]


def install(site: Path, points: str, **modules: str) -> None:
    """Install a package by hand: its modules, and what its metadata says."""
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text, encoding="utf-8")
    info = site / "sickbay_sonar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sickbay-sonar\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(points, encoding="utf-8")


def test_tests_beside_a_plugin_are_no_plugins(tmp_path: Path) -> None:
    """They import pytest, which a production host has not, and would define the same kinds again."""
    broken = "raise RuntimeError('this must never be imported')"
    found = discover(
        [folder(tmp_path, sonar=CHECK.format(title="Sonar", kind="sonar", doc=""), test_sonar=broken, _private=broken,
                conftest=broken)]
    )  # fmt: skip

    assert "sonar" in found.checks


def test_an_installed_package_brings_its_module(site: Path) -> None:
    """The entry point names a module: every kind in it counts."""
    text = CHECK.format(title="One", kind="one", doc="") + CHECK.format(title="Two", kind="two", doc="")
    install(site, "[sickbay.checks]\nsonar = sonar\n", sonar=text)
    found = discover().checks

    assert ["package sickbay-sonar", "package sickbay-sonar"] == [found["one"].origin, found["two"].origin]
    assert not found["one"].builtin


def test_two_entry_points_may_name_two_classes_of_one_module(site: Path) -> None:
    """Each brings its own class, and none of the others."""
    text = "".join(CHECK.format(title=t, kind=t.lower(), doc="") for t in ("One", "Two", "Three"))
    install(site, "[sickbay.checks]\none = sonar:One\ntwo = sonar:Two\n", sonar=text)

    assert {"one", "two"} == discover().checks.keys() & {"one", "two", "three"}


def test_a_provider_may_be_a_class_of_a_package(site: Path) -> None:
    """Named by its entry point, or by PROVIDER in its module."""
    text = (
        "from supervisor.providers.local import LocalProvider\n"
        "class Mine(LocalProvider):\n    '''A cloud of mine.'''\n    kind = 'mine'\n"
    )
    install(site, "[sickbay.providers]\nmine = cloud_of_mine:Mine\n", cloud_of_mine=text)
    found = discover()

    assert "package sickbay-sonar" == found.provider_origins["mine"]
    assert "A cloud of mine." == doc_of(found.providers["mine"])


POINTS = {
    "nothing of ours": ("mine:number", "names mine:number, which is no check, remediation, provider or module"),
    "nothing that is there": ("mine:gone", "can't be loaded: AttributeError"),
    "a module that is not there": ("mine.gone", "can't be loaded: ModuleNotFoundError"),
}


@pytest.mark.parametrize("row", POINTS)
def test_an_entry_point_that_leads_nowhere_is_named(site: Path, row: str) -> None:
    """With its package, and with what to do."""
    target, sentence = POINTS[row]
    install(site, f"[sickbay.checks]\nsonar = {target}\n", mine="number = 7\n")
    with pytest.raises(PluginError) as caught:
        discover()

    assert str(caught.value).startswith("package sickbay-sonar")
    assert sentence in str(caught.value)
    assert str(caught.value).endswith("uninstall it")


BROKEN = {
    "a field that pydantic refuses": (
        "from supervisor.api import Check\nclass Mine(Check, kind='mine'):\n    size = 3\n",
        "can't be loaded: PydanticUserError: A non-annotated attribute was detected",
    ),
    "an error in a library that it calls": ("import json\n\njson.loads('{')\n", "(line 3)"),
    "a program that ends": ("raise SystemExit('bye')\n", "can't be loaded: SystemExit: bye (line 1)"),
    "a syntax error": ("x = = 1\n", "can't be loaded: SyntaxError: invalid syntax"),
}


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_plugin_is_one_sentence(tmp_path: Path, row: str) -> None:
    """One line, with the plugin's own line number, and what to do."""
    text, sentence = BROKEN[row]
    with pytest.raises(PluginError) as caught:
        discover([folder(tmp_path, mine=text)])

    assert 1 == len(str(caught.value).splitlines())
    assert sentence in str(caught.value)
    assert str(caught.value).endswith("mend it or take it out of [plugins] paths")


DOCS = {
    "the class's first paragraph, on one line": ('"""Say one\n    thing.\n\n    More.\n    """', "Say one thing."),
    "the module's, where the class is mute": ("", "What the module says."),
}


@pytest.mark.parametrize("row", DOCS)
def test_a_kind_says_what_it_is(tmp_path: Path, row: str) -> None:
    """For the list of plugins, the reference and the schema."""
    doc, expected = DOCS[row]
    text = '"""What the module says."""\n' + CHECK.format(title="Sonar", kind="sonar", doc=doc)
    found: type[Check] = discover([folder(tmp_path, sonar=text)]).checks["sonar"].cls

    assert expected == doc_of(found)
