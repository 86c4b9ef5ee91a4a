"""Writes the table of docs/reference/metrics.md from the catalogue: `.venv/bin/python -m tools.metrics_reference`."""

from __future__ import annotations

from pathlib import Path

from supervisor.surfaces.metrics.catalogue import CATALOGUE, Family

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
BEGIN, END = "<!-- catalogue -->\n", "<!-- end of catalogue -->\n"


def row(family: Family) -> str:
    """Return one metric as a row of the table."""
    labels = " ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help} |\n"


def with_table(page: str) -> str:
    """Return the page with the table as the catalogue has it now. Raises `ValueError` when its marks are gone."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: the marks {BEGIN.strip()} and {END.strip()} are gone; put them back")
    head = "| metric | type | labels | what it says |\n|---|---|---|---|\n"
    return f"{before}{BEGIN}\n{head}{''.join(map(row, CATALOGUE))}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
