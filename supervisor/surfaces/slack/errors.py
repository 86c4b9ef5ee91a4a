"""What Slack's refusals mean: wait, mend the configuration, or give this one message up. A sentence for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_sdk.errors import SlackApiError, SlackClientError

WRONG_PLACE = "invite the app into the channel, or mend [chat.slack] channel"
WRONG_TOKEN = "give [chat.slack] token a valid bot token (xoxb-…)"  # noqa: S105  # advice, no secret
REMEDIES = {
    "channel_not_found": WRONG_PLACE,
    "not_in_channel": WRONG_PLACE,
    "is_archived": "unarchive the channel, or mend [chat.slack] channel",
    "restricted_action": "let the app post in this channel",
    "invalid_auth": WRONG_TOKEN,
    "not_authed": WRONG_TOKEN,
    "account_inactive": WRONG_TOKEN,
    "token_revoked": WRONG_TOKEN,
    "token_expired": WRONG_TOKEN,
    "missing_scope": "give the app the scope chat:write",
}
APP_TOKEN = "give [chat.slack] app_token a valid app-level token (xapp-…) with the scope connections:write"  # noqa: S105
APP_REMEDIES = dict.fromkeys([*REMEDIES, "not_allowed_token_type"], APP_TOKEN)
ABOUT_MESSAGE = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_too_long",
        "msg_blocks_too_long",
        "no_text",
        "metadata_too_large",
        "invalid_metadata_format",
        "invalid_metadata_schema",
    }
)
LATER = frozenset(
    {"ratelimited", "rate_limited", "message_limit_exceeded", "internal_error", "fatal_error", "service_unavailable"}
)
CONFIGURATION_PAUSE = 60.0


class SlackRefused(Exception):
    """Slack answered, and the answer is no. `after` is how long it asked us to wait, None where it did not."""

    def __init__(self, code: str, sentence: str, after: float | None) -> None:
        """Keep Slack's own word for it."""
        super().__init__(sentence)
        self.code = code
        self.after = after

    @property
    def is_about_message(self) -> bool:
        """Whether trying again can't help: Slack will never take this message."""
        return self.code in ABOUT_MESSAGE


def refusal(error: SlackClientError, remedies: Mapping[str, str] = REMEDIES) -> SlackRefused:
    """Read what the client library raised; never quote more of it than Slack's error code."""
    answer: Any = getattr(error, "response", None) if isinstance(error, SlackApiError) else None  # Any: the library's
    status = getattr(answer, "status_code", None) or getattr(answer, "status", 0) or 0
    data = getattr(answer, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or code in ("ratelimited", "rate_limited"):
        return SlackRefused(code or "ratelimited", "Slack asks us to slow down", _retry_after(answer))
    if status >= 500 or code in LATER or not code:
        return SlackRefused(code, f"Slack is in trouble (HTTP {status or 'unknown'})", None)
    if code in ABOUT_MESSAGE:
        return SlackRefused(code, f"Slack refuses this message: {code}", None)
    remedy = remedies.get(code, "look the code up in Slack's API reference")
    return SlackRefused(code, f"Slack refuses: {code}; {remedy}", CONFIGURATION_PAUSE)


def _retry_after(answer: Any) -> float:  # Any: the library's response
    headers = getattr(answer, "headers", None) or {}
    text = str(next((v for k, v in headers.items() if k.lower() == "retry-after"), "30"))
    try:
        return max(1.0, float(text))
    except ValueError:
        return 30.0
