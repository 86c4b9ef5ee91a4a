"""Text for people: foreign text made safe to show, numbers as they are said."""

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


def percent(probability: float) -> str:
    """Return a probability as people say it: never certain."""
    if probability >= 0.995:
        return "over 99 %"
    return "under 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"
