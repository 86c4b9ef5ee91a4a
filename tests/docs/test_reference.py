"""The reference is made from the code: what is committed is what the code says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.config import load
from supervisor.config.schema import schema
from supervisor.plugins import discover
from tools.reference import FOLDER, MADE, example, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_current(name: str) -> None:
    """Whoever changes a key, a plugin or a command makes the pages anew."""
    committed = (FOLDER / name).read_text(encoding="utf-8") if (FOLDER / name).exists() else ""

    assert PAGES[name] == committed, f"docs/reference/{name} is not current; run `make reference`"


def test_no_page_that_is_no_longer_made_lies_there() -> None:
    """It would lie for ever; pages written by hand do not call themselves made."""
    assert PAGES.keys() == {path.name for path in FOLDER.iterdir() if path.read_text(encoding="utf-8").startswith(MADE)}


def test_every_row_explains_its_key() -> None:
    """No key, option or step stands there without a word."""
    rows = [line for text in PAGES.values() for line in text.splitlines() if re.match(r"\| (`|\*)", line)]
    mute = [row for row in rows if row.endswith("|  |") and " the " not in row]

    assert len(rows) > 100
    assert [] == mute


FLEET = """
[supervisor]
state = "sqlite:///./state.db"

[fleet.web]
provider = "local"
desired = 1
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"

"""


@pytest.mark.parametrize("kind", sorted(k for k, plugin in discover().checks.items() if plugin.builtin))
def test_the_example_of_a_check_can_be_used_as_it_stands(kind: str, tmp_path: Path) -> None:
    """A key that must be there and takes not just any value needs an example: `Field(examples=[…])`."""
    catalogue = discover()
    shown = example(schema(catalogue), kind)
    (tmp_path / "config.toml").write_text(FLEET + shown, encoding="utf-8")

    assert [kind] == [check.kind for check in load(tmp_path / "config.toml", catalogue).fleets["web"].checks]
    assert shown in PAGES["checks.md"] or "```toml" in doc_of_kind(kind)


def doc_of_kind(kind: str) -> str:
    """Return what the reference says of a kind."""
    return PAGES["checks.md"].partition(f"\n## `{kind}`\n")[2].partition("\n## ")[0]
