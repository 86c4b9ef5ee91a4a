"""Tells the story on a terminal, one line per message, as it would look in chat.

Foreign text (a check's answer, a log line) is stripped of control characters, so it can neither move the cursor nor
hide a line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from supervisor.core.cards import Tone
from supervisor.core.documents import StoryDoc
from supervisor.core.model import OutboxMessage
from supervisor.core.text import clean
from supervisor.ports import Telling, Told
from supervisor.surfaces.marks import TONES, mark

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


def framed(incident: StoryDoc, more: Sequence[tuple[str, str]] = ()) -> Panel:
    """Return an incident as it looks in chat: its message in a frame, its thread below. `more` are further figures."""
    card = incident["card"]
    facts = Table.grid(padding=(0, 3))
    figures = [(fact["label"], fact["value"]) for fact in card["facts"]] + list(more)
    for label, value in figures:
        facts.add_row(Text(label, "dim"), Text(clean(value)))
    thread = Table.grid(padding=(0, 2))
    for note in incident["story"]:
        at = datetime.fromisoformat(note["at"]).astimezone() if note["at"] else None  # as the lines above it
        thread.add_row(Text(f"{at:%H:%M:%S}" if at else "", "dim"), Text(clean(note["text"])))
    held = [Text(f"  • {clean(why)}") for why in card["held"]]
    return Panel(
        Group(
            Text(clean(incident["cause"])),
            *([Text("not done, because of"), *held] if held else []),
            Text(),
            facts,
            Rule(style="dim"),
            thread,
        ),
        title=Text(f"{TONES[Tone(card['tone'])]} #{incident['id']} {card['headline']}", "bold"),
        title_align="left",
        padding=(1, 2),
    )
