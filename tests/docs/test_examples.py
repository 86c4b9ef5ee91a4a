"""What the documentation shows works: every TOML and Python block is read, and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path

from supervisor.cli import app
from supervisor.config import load, peek_plugin_paths
from supervisor.plugins import discover

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_quickstart_configuration_loads(tmp_path: Path) -> None:
    """As it stands on the page, beside an image as the page makes it."""
    (tmp_path / "image").mkdir()
    start = tmp_path / "image" / "start"
    start.write_text("#!/bin/sh\n")
    start.chmod(0o755)
    for text in blocks("docs/quickstart.md", "toml"):
        (tmp_path / "config.toml").write_text(text)
        config = load(tmp_path / "config.toml", discover())
        assert tmp_path / "state" / "state.db" == config.state


def test_the_howto_checks_load(tmp_path: Path) -> None:
    """Each table of a how-to page, or of the reference of checks, can be put behind the shipped configuration as it is.

    The pages for authors of plugins are executed whole, by the newcomer's tests.
    """
    pages = sorted(p for p in (ROOT / "docs" / "howto").glob("*.md") if not p.stem.startswith("write-a-"))
    pages.append(ROOT / "docs" / "reference" / "checks.md")
    tables = [text for page in pages for text in blocks(str(page.relative_to(ROOT)), "toml")]
    for text in tables:
        (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text() + "\n" + text)
        load(tmp_path / "config.toml", discover())

    assert tables


def test_the_readme_check_is_found(tmp_path: Path) -> None:
    """The plugin that the README shows can be put into a folder as it is."""
    tmp_path.chmod(0o755)
    for number, text in enumerate(blocks("README.md", "python")):
        (tmp_path / f"example{number}.py").write_text(text)
        (tmp_path / f"example{number}.py").chmod(0o644)

    assert "queue" in discover([tmp_path]).checks


def test_the_howto_configuration_loads_with_its_check(tmp_path: Path) -> None:
    """As a newcomer writes them; an acceptance test executes the whole page."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    check, _ = blocks("docs/howto/write-a-check.md", "python")
    (folder / "release.py").write_text(check)
    (folder / "release.py").chmod(0o644)
    (tmp_path / "config.toml").write_text(blocks("docs/howto/write-a-check.md", "toml")[0])
    config = load(tmp_path / "config.toml", discover(peek_plugin_paths(tmp_path / "config.toml")))

    assert ["alive", "release"] == [c.name for c in config.fleets["shop"].checks]
    assert () == config.warnings or all("silence" in warning for warning in config.warnings)


def test_every_page_that_is_linked_is_there() -> None:
    """No reader is sent nowhere."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert [] == dead


def test_every_command_in_the_documentation_exists() -> None:
    """No page names a command that is not there, in a sentence or in a block."""
    known = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    known |= {g.name for g in app.registered_groups if g.name}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        word
        for page in pages
        for word in re.findall(r"(?:`|^|^until )(?:\.venv/bin/)?sickbay ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }

    assert named
    assert named <= known


def test_every_record_word_is_in_the_glossary() -> None:
    """The glossary is the law: what the journal stores has its word there."""
    words = (ROOT / "docs" / "glossary.md").read_text()
    for word in (
        "fleet",
        "instance",
        "slot",
        "image",
        "incident",
        "workflow",
        "step",
        "quarantine",
        "holder",
        "removal",
    ):
        assert f"| {word} |" in words
