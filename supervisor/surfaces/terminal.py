"""Tells the story on a terminal, one line per message, as it would look in chat.

Foreign text (a check's answer, a log line) is stripped of control characters, so it can neither move the cursor nor
hide a line.
"""

from __future__ import annotations

import sys
from typing import TextIO

from supervisor.core.model import OutboxMessage
from supervisor.core.text import clean

MARKS = {
    "incident.opened": "✗",
    "incident.acting": "▶",
    "incident.step": "·",
    "incident.note": "·",
    "incident.held": "‖",
    "incident.escalated": "!",
    "incident.approved": "✓",
    "incident.rejected": "✗",
    "incident.resolved": "✓",
    "incident.closed": "■",
    "fleet.state": "◆",
    "plugin.benched": "!",
    "sight.lost": "!",
}
COLOURS = {"✗": "31", "!": "31", "✓": "32", "■": "32", "▶": "36", "‖": "33", "◆": "1"}


class TerminalChat:
    """A chat surface on a text stream; colours only where somebody sees them."""

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        """Write to standard output unless told otherwise."""
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty() if colour is None else colour

    async def tell(self, message: OutboxMessage) -> None:
        """Print one line."""
        self._stream.write(self.line(message) + "\n")
        self._stream.flush()

    def line(self, message: OutboxMessage) -> str:
        """Return the line for one message: time, mark, incident, text."""
        mark = MARKS.get(message.kind, "·")
        number = f"#{message.incident} " if message.incident else ""
        text = f"{mark} {number}{clean(message.text)}"
        if self._colour and mark in COLOURS:
            text = f"\x1b[{COLOURS[mark]}m{text}\x1b[0m"
        return f"{message.at.astimezone():%H:%M:%S} {text}"
