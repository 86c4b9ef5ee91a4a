"""A card and its story as Block Kit. Pure: from values to JSON, within Slack's limits whatever comes in.

Foreign text (a check's answer, a log line) only ever stands in `plain_text` objects, where Slack obeys nothing of it;
the `mrkdwn` objects hold our own words, escaped. The notification's `text` is escaped as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.core.cards import Card
from supervisor.core.model import OutboxMessage
from supervisor.core.signals import Choice
from supervisor.core.text import clean
from supervisor.surfaces.marks import TONES, mark

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
FIELD_LIMIT = 2000
FIELDS = 10
BLOCKS = 50
TEXT_LIMIT = 3000
BUTTON_LIMIT = 75
CONFIRM_TITLE_LIMIT = 100
CONFIRM_LIMIT = 300
CONFIRM_WORD_LIMIT = 30

ACTION = "sickbay"
LABELS = {
    Choice.ACKNOWLEDGE: "I'm looking",
    Choice.APPROVE: "Approve",
    Choice.REJECT: "Reject",
    Choice.HOLD: "Hold machine 2 h",
    Choice.RELEASE: "End hold",
    Choice.PAUSE: "Pause all 30 min",
}
STYLES = {Choice.APPROVE: "primary", Choice.REJECT: "danger", Choice.PAUSE: "danger"}
CONFIRM = {
    Choice.APPROVE: "What is held goes ahead: a machine may be taken out of service.",
    Choice.RELEASE: "The machine is no longer kept as it is: it may be taken out of service.",
    Choice.PAUSE: "Nothing is healed in any fleet until the pause is over.",
}
"""What is asked before a choice that takes something away."""

Block = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Payload:
    """What a message shows: the notification's text, and its blocks. `count` messages of the story are in it."""

    text: str
    blocks: tuple[Block, ...]
    count: int = 0


def escape(text: str) -> str:
    """Escape the three characters that mean something to Slack, `&` first."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, limit: int) -> str:
    """Cut a text at a limit, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def root(card: Card, page: str = "", of: str = "") -> Payload:
    """Return an incident's own message: what, where, how bad, what is being done; then cause, guards, figures.

    With buttons for what may be chosen now if `of` says which supervisor's they are.
    """
    headline = f"{TONES[card.tone]} {card.headline}"
    blocks: list[Block] = [{"type": "header", "text": _plain(headline, HEADER_LIMIT)}]
    if len(headline) > HEADER_LIMIT:
        blocks.append(_section(headline))
    if card.cause and card.cause not in card.headline:
        blocks.append(_section(card.cause))
    if card.held:
        blocks.append(_section("Not done, because of\n" + "\n".join(f"• {why}" for why in card.held)))
    if card.facts:
        fields = [_plain(f"{label}\n{value}", FIELD_LIMIT) for label, value in card.facts[:FIELDS]]
        blocks.append({"type": "section", "fields": fields})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _footer(card, page)}]})
    if of and card.choices:
        blocks.append({"type": "actions", "elements": [_button(card, choice, of) for choice in card.choices]})
    return Payload(_notification(headline), tuple(blocks))


def story(messages: Sequence[OutboxMessage], room: int = BLOCKS) -> Payload:
    """Return as many messages as fit into `room` blocks, from the first on, a line each."""
    sections: list[str] = []
    count = 0
    for message in messages:
        line = cut(f"{message.at:%H:%M:%S} UTC  {mark(message.kind)}  {clean(message.text)}", SECTION_LIMIT)
        if sections and len(sections[-1]) + 1 + len(line) <= SECTION_LIMIT:
            sections[-1] += "\n" + line
        elif len(sections) < room:
            sections.append(line)
        else:
            break
        count += 1
    text = _notification(clean(messages[0].text))
    return Payload(text, tuple(_section(lines) for lines in sections), count)


def line(sentence: str) -> Payload:
    """Return one sentence as a message."""
    text = clean(sentence) or "·"
    return Payload(_notification(text), (_section(text),))


def _button(card: Card, choice: Choice, of: str) -> Block:
    """Return a button that says what its presser saw: a message may be older than the incident."""
    value = {"of": of, "incident": card.incident, "version": card.version, "instance": card.instance}
    button: Block = {
        "type": "button",
        "action_id": f"{ACTION}.{choice}",
        "text": _plain(LABELS[choice], BUTTON_LIMIT),
        "value": json.dumps(value),
    }
    if choice in STYLES:
        button["style"] = STYLES[choice]
    if choice in CONFIRM:
        button["confirm"] = {
            "title": _plain(LABELS[choice], CONFIRM_TITLE_LIMIT),
            "text": _plain(CONFIRM[choice], CONFIRM_LIMIT),
            "confirm": _plain("Yes", CONFIRM_WORD_LIMIT),
            "deny": _plain("No", CONFIRM_WORD_LIMIT),
        }
    return button


def _footer(card: Card, page: str) -> str:
    parts = [f"#{card.incident}", escape(card.fleet), _moment(card)]
    if page:
        parts.append(f"<{page.rstrip('/')}/incidents/{card.incident}|open>")
    if card.ask:
        parts.append(f"`{escape(card.ask)}`")
    return " · ".join(parts)


def _moment(card: Card) -> str:
    """Return the opening time, which Slack shows in each reader's own time zone."""
    plain = f"{card.opened_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"<!date^{int(card.opened_at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{plain}>"


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": cut(text, limit), "emoji": False}


def _section(text: str) -> Block:
    return {"type": "section", "text": _plain(text, SECTION_LIMIT)}


def _notification(text: str) -> str:
    """Return the text for notifications: cut before it is escaped, so that no escape is cut in two."""
    return escape(cut(text, TEXT_LIMIT)) or "·"  # Slack takes no empty text
