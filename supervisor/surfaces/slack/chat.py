"""An incident in a Slack channel: one message, edited in place as the state moves, with the story in its thread.

Slack has no idempotency keys. So each message carries the numbers of what it tells as metadata, and where an earlier
attempt's answer never came (a crash, a time-out), the thread is read before anything is said twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from supervisor.core.model import OutboxMessage
from supervisor.ports import Ask, NotNow, NotThis, Telling, Told
from supervisor.surfaces.slack import blocks
from supervisor.surfaces.slack.blocks import Payload
from supervisor.surfaces.slack.buttons import Buttons
from supervisor.surfaces.slack.errors import SlackRefused, refusal

log = structlog.get_logger()

API = "https://slack.com/api/"
PACE = 1.2  # seconds between two calls: a message a second in a channel, fifty edits a minute
PATIENCE = 10.0  # seconds for one call
EVENT = "sickbay_told"
PAGE_SIZE = 200
REMEMBERED = 200
GONE = frozenset({"message_not_found", "thread_not_found"})  # somebody deleted it
ELSEWHERE = frozenset({"channel_not_found", "not_in_channel", "is_archived"})  # it stands where we may no longer write
HIDDEN = frozenset({"missing_scope", "not_allowed_token_type"})  # we may write here, not read

Json = dict[str, Any]  # Any: JSON


class SlackChat:
    """Tells one channel, with a bot token. `page` is where people reach Sickbay's own page, '' for no links."""

    def __init__(
        self,
        token: str,
        channel: str,
        *,
        api_url: str = API,
        page: str = "",
        pace: float = PACE,
        patience: float = PATIENCE,
        buttons: Buttons | None = None,
    ) -> None:
        """Connect at the first message. `pace` and `patience` are seconds: between two calls, and for one."""
        self._buttons = buttons
        self._client = AsyncWebClient(token, api_url, retry_handlers=[])
        self._patience = patience
        self._channel = channel
        self._home = channel  # its id, once it is known
        self._page = page
        self._pace = pace
        self._free_at = 0.0
        self._shown: OrderedDict[str, Payload] = OrderedDict()  # what each thread's first message shows

    async def close(self) -> None:
        """Nothing to let go of: each call has a connection of its own."""

    @property
    def deaf(self) -> str:
        """Why nobody is heard who presses a button, '' where people are, or where there are none."""
        return self._buttons.trouble if self._buttons is not None else ""

    async def hear(self, ask: Ask) -> None:
        """Take what people press, where there are buttons."""
        if self._buttons is not None:
            await self._buttons.hear(ask)

    async def tell(self, telling: Telling) -> Told:
        """Tell some of it. Raises `NotNow`, `NotThis`."""
        try:
            if telling.card is None:
                return Told(await self._post(telling, self._channel, ""))
            if not telling.thread:
                return await self._begin(telling)
            return await self._go_on(telling)
        except SlackRefused as error:
            if error.is_about_message:
                raise NotThis(str(error)) from error
            raise NotNow(str(error), error.after) from error

    async def _begin(self, telling: Telling) -> Told:
        """Post the incident's own message, which tells its opening, unless an earlier attempt did."""
        if telling.doubtful:
            found = await self._find_root(telling)
            if found is not None:
                return found
        shown = self._root(telling)
        told = [m for m in telling.messages[:1] if m.kind in ("incident.opened", "incident.joined")]
        body = self._body(self._channel, shown) | {"metadata": _metadata(telling.messages[0], told, root=True)}
        answer = await self._call("chat.postMessage", body)
        self._home = answer["channel"]
        thread = f"{answer['channel']}:{answer['ts']}"
        self._remember(thread, shown)
        return Told(len(told), thread)

    async def _go_on(self, telling: Telling) -> Told:
        """Go on where the story was begun; where that is gone or closed, begin anew in the channel that counts now."""
        try:
            return await self._add(telling)
        except SlackRefused as error:
            moved = error.code in ELSEWHERE and telling.thread.partition(":")[0] != self._home
            if error.code not in GONE and not moved:
                raise
            log.info("slack.begun_anew", incident=telling.messages[0].incident, why=error.code)
            return await self._begin(replace(telling, thread=""))

    async def _add(self, telling: Telling) -> Told:
        """Bring the incident's message up to date, then add to its story."""
        channel, _, ts = telling.thread.partition(":")
        shown = self._root(telling)
        if self._shown.get(telling.thread) != shown:
            body = self._body(channel, shown) | {"ts": ts, "metadata": _metadata(telling.messages[0], [], root=True)}
            try:
                await self._call("chat.update", body)
            except SlackRefused as error:
                if error.code not in ("cant_update_message", "edit_window_closed"):
                    raise
            self._remember(telling.thread, shown)
        return Told(await self._post(telling, channel, ts), telling.thread)

    async def _post(self, telling: Telling, channel: str, ts: str) -> int:
        """Post what waits as lines, into a thread or into the channel; return how many messages are told by it."""
        messages = telling.messages
        if telling.doubtful:
            already = await self._already(channel, ts, messages)
            told = next((i for i, m in enumerate(messages) if m.id not in already), len(messages))
            if told:
                return told
        said = blocks.story(messages)
        body = self._body(channel, said) | {"metadata": _metadata(messages[0], messages[: said.count])}
        if ts:
            body["thread_ts"] = ts
            body["reply_broadcast"] = any(m.kind == "incident.escalated" for m in messages[: said.count])
        await self._call("chat.postMessage", body)
        return said.count

    # -- what was told before

    async def _find_root(self, telling: Telling) -> Told | None:
        first = telling.messages[0]
        for message in await self._read(self._channel, "", first):
            payload = _ours(message, first)
            if payload.get("root") and payload.get("incident") == first.incident:
                return Told(int(first.id in payload["messages"]), f"{self._channel}:{message['ts']}")
        return None

    async def _already(self, channel: str, ts: str, messages: tuple[OutboxMessage, ...]) -> set[int]:
        found: set[int] = set()
        for message in await self._read(channel, ts, messages[0]):
            found.update(_ours(message, messages[0]).get("messages", ()))
        return found

    async def _read(self, channel: str, ts: str, since: OutboxMessage) -> list[Json]:
        """Return what stands in the channel or thread since a message was queued; [] where we may not read."""
        body: Json = {"channel": channel, "limit": PAGE_SIZE, "include_all_metadata": True}
        body["oldest"] = f"{since.at.timestamp() - 60:.6f}"
        method = "conversations.replies" if ts else "conversations.history"
        if ts:
            body["ts"] = ts
        try:
            answer = await self._call(method, body)
        except SlackRefused as error:
            # Without the scope to read, and where only the channel's name is known, a line may come twice.
            if error.code in HIDDEN or (error.code == "channel_not_found" and not ts):
                log.info("slack.unread", why=error.code)
                return []
            raise
        found: list[Json] = answer.get("messages", [])
        return found

    # -- calls

    def _root(self, telling: Telling) -> Payload:
        if telling.card is None:
            raise ValueError("only an incident has a message of its own")
        of = _supervisor(telling.messages[0]) if self._buttons is not None else ""
        return blocks.root(telling.card, self._page, of)

    def _body(self, channel: str, payload: Payload) -> Json:
        return {
            "channel": channel,
            "text": payload.text,
            "blocks": list(payload.blocks),
            "link_names": False,
            "parse": "none",
            "unfurl_links": False,
            "unfurl_media": False,
        }

    def _remember(self, thread: str, shown: Payload) -> None:
        self._shown[thread] = shown
        self._shown.move_to_end(thread)
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    async def _call(self, method: str, body: Json) -> AsyncSlackResponse:
        """Call once, at our pace. Raises `SlackRefused`, and `NotNow` where there was no answer."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._free_at - loop.time()))
        try:
            async with asyncio.timeout(self._patience):
                # Reading takes parameters, writing JSON: Slack's own rule.
                if method.startswith("conversations."):
                    return await self._client.api_call(method, params=body)
                return await self._client.api_call(method, json=body)
        except SlackClientError as error:
            raise refusal(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # Never the exception's own text: it may hold the address, and with it a secret.
            raise NotNow(f"Slack does not answer ({type(error).__name__})") from error
        finally:
            self._free_at = loop.time() + self._pace


def _metadata(like: OutboxMessage, told: Iterable[OutboxMessage], *, root: bool = False) -> Json:
    """Return what a message tells, for ourselves after a crash."""
    payload: Json = {"supervisor": _supervisor(like), "incident": like.incident, "root": root}
    return {"event_type": EVENT, "event_payload": payload | {"messages": [m.id for m in told]}}


def _ours(message: Json, like: OutboxMessage) -> Json:
    """Return the metadata of a message if this supervisor wrote it, else {}."""
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    mine = metadata.get("event_type") == EVENT and payload.get("supervisor") == _supervisor(like)
    return dict(payload) if mine else {}


def _supervisor(message: OutboxMessage) -> str:
    """Return whose message it is."""
    return message.dedup.partition("/")[0]
