"""Tells the story on a terminal, one line per message, as it would look in chat.

Foreign text (a check's answer, a log line) is stripped of control characters, so it can neither move the cursor nor
hide a line.
"""

from __future__ import annotations

import sys
from typing import TextIO

from supervisor.core.model import OutboxMessage
from supervisor.core.text import clean
from supervisor.ports import Telling, Told
from supervisor.surfaces.marks import mark

COLOURS = {"✗": "31", "!": "31", "✓": "32", "■": "32", "▶": "36", "‖": "33", "◆": "1"}


class TerminalChat:
    """A chat surface on a text stream; colours only where somebody sees them."""

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None) -> None:
        """Write to standard output unless told otherwise."""
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty() if colour is None else colour

    async def tell(self, telling: Telling) -> Told:
        """Print a line for each message."""
        for message in telling.messages:
            self._stream.write(self.line(message) + "\n")
        self._stream.flush()
        return Told(len(telling.messages))

    async def close(self) -> None:
        """Nothing to let go of."""

    def line(self, message: OutboxMessage) -> str:
        """Return the line for one message: time, mark, incident, text."""
        sign = mark(message.kind)
        number = f"#{message.incident} " if message.incident else ""
        text = f"{sign} {number}{clean(message.text)}"
        if self._colour and sign in COLOURS:
            text = f"\x1b[{COLOURS[sign]}m{text}\x1b[0m"
        return f"{message.at.astimezone():%H:%M:%S} {text}"
