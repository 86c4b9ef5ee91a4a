"""Makes foreign text safe to show: one line, no control or direction characters, of bounded length."""

from __future__ import annotations

import re

LIMIT = 2048
"""Characters of one line of foreign text that are kept."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


def clean(text: str, limit: int = LIMIT) -> str:
    """Return the text as one printable line, cut with an ellipsis at `limit` characters."""
    flat = _UNSEEN.sub(" ", _ANSI.sub("", text[: 4 * limit])).strip()
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
