"""A check's version tells one check from the next: what it asks, how, and its code; and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config import load
from supervisor.core.settings import CheckPolicy
from supervisor.core.terms import Scope
from supervisor.plugins import discover
from tests.config.test_bad_input import CATALOGUE, GOOD, PLUGIN, plugin

MORE = {
    "another path": ("port = 8080", 'port = 8080\npath = "/ready"'),
    "another role": ("port = 8080", 'port = 8080\nrole = "readiness"'),
    "another time limit": ("port = 8080", 'port = 8080\ntimeout = "2s"'),
    "another cadence": ("port = 8080", 'port = 8080\ninterval = "20s"'),
    "a further reach": ("port = 8080", 'port = 8080\nrole = "readiness"\ndepends_on = ["db"]'),
}
SAME = {
    "a key that says its default": ("port = 8080", 'port = 8080\nscope = "network"\ninterval = "10s"'),
    "another name": ('name = "alive"', 'name = "well"'),
    "another size of the fleet": ("desired = 3", "desired = 4"),
    "another comment": ("port = 8080", "port = 8080  # of each machine"),
}


def first(text: str, tmp_path: Path) -> CheckPolicy:
    """Return the first check of a file."""
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return load(tmp_path / "config.toml", CATALOGUE).settings.fleets["web"].checks[0]


@pytest.mark.parametrize("name", MORE)
def test_another_question_is_another_version(name: str, tmp_path: Path) -> None:
    """It has to prove itself before it votes."""
    assert first(GOOD, tmp_path).version != first(GOOD.replace(*MORE[name]), tmp_path).version


@pytest.mark.parametrize("name", SAME)
def test_what_asks_the_same_is_the_same_version(name: str, tmp_path: Path) -> None:
    """Twelve digits, and the same ones after any restart."""
    version = first(GOOD, tmp_path).version

    assert version == first(GOOD.replace(*SAME[name]), tmp_path).version
    assert 12 == len(version)
    assert int(version, 16) >= 0


def test_an_edited_plugin_is_another_version(tmp_path: Path) -> None:
    """Even where its options stay as they are."""
    source = PLUGIN.format(kind="mine", field="size")
    text = GOOD.replace('kind = "http"\nport = 8080', 'kind = "mine"\nsize = 2')
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    folder = plugin(tmp_path, source)
    seen = []
    for code in (source, source, source + "\n# edited\n"):
        (folder / "mine.py").write_text(code)
        catalogue = discover([folder])
        seen.append(load(tmp_path / "config.toml", catalogue).settings.fleets["web"].checks[0].version)

    assert seen[0] == seen[1] != seen[2]


def test_what_depends_on_something_is_deep(tmp_path: Path) -> None:
    """Nobody has to say it twice."""
    found = first(GOOD.replace("port = 8080", 'port = 8080\nrole = "readiness"\ndepends_on = ["db"]'), tmp_path)

    assert (Scope.DEEP, ("db",)) == (found.scope, found.depends_on)
    assert Scope.NETWORK is first(GOOD, tmp_path).scope
