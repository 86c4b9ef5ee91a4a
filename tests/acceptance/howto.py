"""Reads a how-to as a newcomer does: commands to run and files to write, in the order of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INTO = re.compile(r"write into\s+`([^`]+)`:\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: a command when `file` is '', else what to write into that file."""

    text: str
    file: str = ""


def blocks(page: Path) -> list[Block]:
    """Return what the page tells to do. Raises `AssertionError` for a block that says neither command nor file."""
    source = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for fence in FENCE.finditer(source):
        language, text = fence.groups()
        before = INTO.search(source[: fence.start()])
        assert language in ("sh", "text") or before, f"{page.name}: no command and no file: {text[:60]!r}"
        if language != "text":  # what is shown, not done
            found.append(Block(text, before.group(1) if before and language != "sh" else ""))
    return found
