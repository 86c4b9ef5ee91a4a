"""One sign for each kind of message: a reader sees what a line is before reading it."""

from __future__ import annotations

from supervisor.core.cards import Tone

MARKS = {
    "incident.opened": "✗",
    "incident.joined": "✗",
    "incident.acting": "▶",
    "incident.held": "‖",
    "incident.escalated": "!",
    "incident.acknowledged": "✓",
    "incident.approved": "✓",
    "incident.rejected": "✗",
    "incident.resolved": "✓",
    "incident.closed": "■",
    "fleet.state": "◆",
    "instance.zombie": "!",
    "sight.lost": "!",
    "hardware.suspected": "!",
    "config.refused": "!",
    "plugin.benched": "!",
    "permit.begun": "✓",
    "digest.told": "◆",
}
TONES = {
    Tone.TROUBLE: "🔴",
    Tone.ACTING: "🟠",
    Tone.HELD: "🟡",
    Tone.HUMAN: "🆘",
    Tone.RESTORED: "🟢",
    Tone.CLOSED: "✅",
}


def mark(kind: str) -> str:
    """Return the sign of a message's kind; a dot for what merely goes on."""
    return MARKS.get(kind, "·")
