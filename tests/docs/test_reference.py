"""The reference is made from the code: what is committed is what the code says now."""

from __future__ import annotations

import re

import pytest

from tools.reference import FOLDER, MADE, pages

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


def test_every_kind_shows_a_table_to_begin_with() -> None:
    """Its own, or the shortest one; another test loads each of them."""
    for name in ("checks.md", "remediations.md"):
        kinds = PAGES[name].split("\n## ")[1:]

        assert [] == [text.partition("\n")[0] for text in kinds if "```toml" not in text]
