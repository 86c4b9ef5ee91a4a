"""Slack without a bot: an incoming webhook. Each telling is a message of its own; nothing can be edited.

The webhook's URL is a secret: it is never in an error's text or in the log.
"""

from __future__ import annotations

import asyncio

import aiohttp
from slack_sdk.webhook.async_client import AsyncWebhookClient

from supervisor.ports import NotNow, NotThis, Telling, Told
from supervisor.surfaces.slack import blocks

PACE = 1.2
PATIENCE = 10
CONFIGURATION_PAUSE = 60.0
ABOUT_MESSAGE = frozenset({"invalid_payload", "invalid_blocks", "no_text", "too_many_attachments", "msg_too_long"})


class WebhookChat:
    """Tells the channel that a webhook belongs to. `page` is where people reach Sickbay's own page, '' for no links."""

    def __init__(self, url: str, *, page: str = "", pace: float = PACE) -> None:
        """Connect at the first message."""
        self._client = AsyncWebhookClient(url, timeout=PATIENCE, retry_handlers=[])
        self._page = page
        self._pace = pace
        self._free_at = 0.0

    async def close(self) -> None:
        """Nothing to let go of: each call has a connection of its own."""

    async def tell(self, telling: Telling) -> Told:
        """Post what waits: the incident as it stands, then its lines."""
        head = blocks.root(telling.card, self._page) if telling.card is not None else None
        above = head.blocks if head is not None else ()
        said = blocks.story(telling.messages, blocks.BLOCKS - len(above))
        text = head.text if head is not None else said.text
        shown = [*above, *said.blocks]
        await self._send({"text": text, "blocks": shown, "unfurl_links": False, "unfurl_media": False})
        return Told(said.count)

    async def _send(self, body: dict[str, object]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._free_at - loop.time()))
        try:
            answer = await self._client.send_dict(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NotNow(f"Slack's webhook does not answer ({type(error).__name__})") from None
        finally:
            self._free_at = loop.time() + self._pace
        word = answer.body.strip()[:80] if answer.status_code < 500 else ""
        if answer.status_code == 200 and word == "ok":
            return
        if answer.status_code == 429:
            after = answer.headers.get("Retry-After", "30")
            raise NotNow("Slack asks us to slow down", float(after) if after.isdecimal() else 30.0)
        if word in ABOUT_MESSAGE:
            raise NotThis(f"Slack's webhook refuses this message: {word}")
        if answer.status_code in (400, 403, 404, 410):
            code = word if word.replace("_", "").isalnum() else f"HTTP {answer.status_code}"
            raise NotNow(f"Slack's webhook refuses: {code}; mend [chat.slack] webhook", CONFIGURATION_PAUSE)
        raise NotNow(f"Slack's webhook is in trouble (HTTP {answer.status_code})")
