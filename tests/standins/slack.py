"""Slack's Web API, Socket Mode and an incoming webhook, as strict as the real ones, with faults on demand.

What it enforces is Slack's published contract: 50 blocks, 150 characters of a header, 3,000 of a section, ten fields of
2,000, ten context elements, 40,000 characters of text, one message a second in a channel, 50 edits a minute.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

TOKEN = "xoxb-CANARY-token"
APP_TOKEN = "xapp-CANARY-token"
ACK_LIMIT = 3.0
HOOK = "/services/T000/B000/CANARY-hook"
CHANNELS = {"#ops": "C0OPS", "#other": "C0OTHER"}
ACTIVE = re.compile(r"<(?:[!@#][^>]*|https?://[^>]*|mailto:[^>]*)>")

Json = dict[str, Any]


@dataclass(slots=True)
class Message:
    """One message of a channel, with what it showed before."""

    channel: str
    ts: str
    body: Json
    thread: str = ""
    edits: list[Json] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Everything that a reader sees of it, as one text."""
        return "\n".join(_texts(self.body.get("blocks", []))) or self.body["text"]


class Wrong(Exception):
    """An error that Slack answers with HTTP 200 and ok = false."""


class Slack:
    """One workspace. `rate` is the seconds between two messages of a channel; a second in the real one."""

    def __init__(self, rate: float = 1.0) -> None:
        """Begin empty."""
        self.rate = rate
        self.messages: list[Message] = []
        self.calls: list[str] = []
        self.limited = 0
        self.faults: list[str] = []
        """What happens to the next calls, one each: `500`, `html`, `hang`, `429:SECONDS`, `error:CODE`, `lost`
        (done, but the answer never comes), or '' for nothing."""
        self.always = ""
        self.may_read = True
        self.closed: set[str] = set()  # channels that are archived
        self.groups: dict[str, list[str]] = {}  # user groups and who is in them
        self.whispers: list[tuple[str, str]] = []  # what only one user was told: who, and the text
        self.sockets: list[web.WebSocketResponse] = []
        self.sockets_opened = 0
        self._tickets: set[str] = set()
        self._acks: dict[str, asyncio.Event] = {}
        self._presses = 0
        self._last: dict[str, float] = {}
        self._edits: list[float] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    # -- what tests look at

    @property
    def roots(self) -> list[Message]:
        """The messages that stand in a channel itself."""
        return [m for m in self.messages if not m.thread]

    def replies(self, root: Message) -> list[Message]:
        """The messages in a thread, oldest first."""
        return [m for m in self.messages if m.thread == root.ts and m.channel == root.channel]

    @property
    def lines(self) -> list[str]:
        """Every line of every thread, in order."""
        return [line for m in self.messages if m.thread for line in m.shown.splitlines()]

    # -- serving

    @property
    def api_url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def hook_url(self) -> str:
        """Where its webhook is."""
        return f"http://127.0.0.1:{self.port}{HOOK}"

    async def start(self, port: int = 0) -> None:
        """Listen."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.add_routes([web.post("/api/{method}", self._api), web.post(HOOK, self._hook), web.get("/link", self._link)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _fault(self) -> tuple[web.StreamResponse | None, bool]:
        """Return the answer that a fault gives instead of ours, and whether ours gets lost on its way."""
        fault = self.faults.pop(0) if self.faults else self.always
        kind, _, detail = fault.partition(":")
        match kind:
            case "500":
                return web.Response(status=500, text="internal error"), False
            case "html":
                return web.Response(text="<html><body>We'll be back</body></html>", content_type="text/html"), False
            case "hang":
                await asyncio.sleep(3600)
            case "429":
                return web.json_response(
                    {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": detail}
                ), False
            case "error":
                return web.json_response({"ok": False, "error": detail}), False
            case "lost":
                return None, True
        return None, False

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.calls.append(method)
        instead, lost = await self._fault()
        if instead is not None:
            return instead
        wanted = APP_TOKEN if method == "apps.connections.open" else TOKEN
        if request.headers.get("Authorization") != f"Bearer {wanted}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if method == "apps.connections.open":
            ticket = secrets.token_hex(8)
            self._tickets.add(ticket)
            return web.json_response({"ok": True, "url": f"ws://127.0.0.1:{self.port}/link?ticket=CANARY{ticket}"})
        text = await request.text()
        body: Json = json.loads(text) if request.content_type == "application/json" else dict(request.query)
        try:
            answer = self._do(method, body)
        except Wrong as error:
            return web.json_response({"ok": False, "error": str(error)})
        if answer is None:
            self.limited += 1
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "1"})
        if lost:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"ok": True} | answer)

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        self.calls.append("webhook")
        instead, lost = await self._fault()
        if instead is not None:
            return instead
        try:
            answer = self._do("chat.postMessage", {"channel": "C0OPS"} | json.loads(await request.text()))
        except Wrong as error:
            return web.Response(status=400, text=str(error))
        if answer is None:
            self.limited += 1
            return web.Response(status=429, text="rate_limited", headers={"Retry-After": "1"})
        if lost:
            assert request.transport is not None
            request.transport.close()
        return web.Response(text="ok")

    # -- Socket Mode

    async def _link(self, request: web.Request) -> web.StreamResponse:
        """Open a socket for a ticket, which is good once."""
        ticket = request.query.get("ticket", "").removeprefix("CANARY")
        if ticket not in self._tickets:
            return web.Response(status=401)
        self._tickets.remove(ticket)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0"}})
        self.sockets.append(socket)
        self.sockets_opened += 1
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acks[json.loads(message.data)["envelope_id"]].set()
        finally:
            self.sockets.remove(socket)
        return socket

    def buttons(self, message: Message, *, edit: int | None = None) -> dict[str, Json]:
        """Return the buttons that a message shows, or showed before its `edit`-th edit, by their text."""
        body = message.body if edit is None else message.edits[edit]
        found = [e for block in body.get("blocks", []) if block["type"] == "actions" for e in block["elements"]]
        return {button["text"]["text"]: button for button in found}

    def press(self, message: Message, button: Json, user: str, name: str = "ada") -> Json:
        """Return what Slack sends when a user presses a button once."""
        self._presses += 1
        kept = {key: button[key] for key in ("action_id", "value", "type", "text")}
        return {
            "type": "block_actions",
            "user": {"id": user, "username": name, "name": name, "team_id": "T0"},
            "channel": {"id": message.channel, "name": "ops"},
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "actions": [kept | {"block_id": "x", "action_ts": f"{time.time():.6f}{self._presses}"}],
            "trigger_id": f"1.{self._presses}",
            "response_url": f"http://127.0.0.1:{self.port}/actions/CANARY",
        }

    async def send(self, payload: Json) -> bool:
        """Send what somebody pressed; return whether it was acknowledged in time, without which Slack shows a warning."""
        envelope = secrets.token_hex(8)
        arrived = self._acks[envelope] = asyncio.Event()
        await self.sockets[-1].send_json(
            {"type": "interactive", "envelope_id": envelope, "payload": payload, "accepts_response_payload": False}
        )
        try:
            await asyncio.wait_for(arrived.wait(), ACK_LIMIT)
        except TimeoutError:
            return False
        return True

    def _do(self, method: str, body: Json) -> Json | None:
        """Carry a call out; None where it comes too soon after the last."""
        if method == "usergroups.users.list":
            if body.get("usergroup") not in self.groups:
                raise Wrong("no_such_subteam")
            return {"users": self.groups[body["usergroup"]]}
        named = str(body.get("channel", ""))
        channel = CHANNELS.get(named, named)
        if channel not in CHANNELS.values():
            raise Wrong("channel_not_found")
        if channel in self.closed and not method.startswith("conversations."):
            raise Wrong("is_archived")
        match method:
            case "chat.postMessage":
                return self._post(channel, body)
            case "chat.update":
                return self._update(channel, body)
            case "chat.postEphemeral":
                _check(body)
                self.whispers.append((body["user"], "\n".join(_texts(body.get("blocks", [])))))
                return {"message_ts": f"{time.time():.6f}"}
            case "conversations.history" | "conversations.replies":
                return self._read(body, channel, thread=body.get("ts", ""))
        raise Wrong("unknown_method")

    def _post(self, channel: str, body: Json) -> Json | None:
        _check(body)
        thread = body.get("thread_ts", "")
        if thread and not any(m.ts == thread and m.channel == channel for m in self.messages):
            raise Wrong("thread_not_found")
        now = time.monotonic()
        if now - self._last.get(channel, float("-inf")) < self.rate:
            return None
        self._last[channel] = now
        ts = f"{time.time():.6f}"
        self.messages.append(Message(channel, ts, body, thread))
        return {"channel": channel, "ts": ts}

    def _update(self, channel: str, body: Json) -> Json | None:
        _check(body)
        if body["channel"] != channel:
            raise Wrong("channel_not_found")  # an edit needs the channel's id, not its name
        found = next((m for m in self.messages if m.ts == body.get("ts") and m.channel == channel), None)
        if found is None:
            raise Wrong("message_not_found")
        now = time.monotonic()
        self._edits = [at for at in self._edits if now - at < 60 * self.rate]
        if len(self._edits) >= 50:
            return None
        self._edits.append(now)
        found.edits.append(found.body)
        found.body = body
        return {"channel": channel, "ts": found.ts}

    def _read(self, body: Json, channel: str, thread: str) -> Json:
        if not self.may_read:
            raise Wrong("missing_scope")
        if body["channel"] != channel:
            raise Wrong("channel_not_found")
        since = float(body.get("oldest", 0))
        found = [m for m in self.messages if m.channel == channel and thread in (m.thread, m.ts)]
        found = [m for m in found if float(m.ts) > since][-int(body.get("limit", 100)) :]
        shown = [{"ts": m.ts, "text": m.body["text"], "metadata": m.body.get("metadata", {})} for m in found]
        return {"messages": shown if thread else shown[::-1]}


def _check(body: Json) -> None:
    """Refuse what Slack refuses, and what would let foreign text do something."""
    text = body.get("text", "")
    if not text:
        raise Wrong("no_text")
    if len(text) > 40_000:
        raise Wrong("msg_too_long")
    blocks = body.get("blocks", [])
    if len(blocks) > 50:
        raise Wrong("invalid_blocks")
    for block in blocks:
        _block(block)
    metadata = body.get("metadata")
    if metadata is not None:
        if set(metadata) != {"event_type", "event_payload"} or not re.fullmatch(r"[a-z_]+", metadata["event_type"]):
            raise Wrong("invalid_metadata_format")
        if len(json.dumps(metadata)) > 4096:
            raise Wrong("metadata_too_large")
    if ACTIVE.search(text):
        raise AssertionError(f"a notification's text does something: {ACTIVE.findall(text)}")


SHAPES: dict[str, set[str]] = {
    "header": {"type", "text", "block_id"},
    "section": {"type", "text", "fields", "block_id", "accessory"},
    "context": {"type", "elements", "block_id"},
    "divider": {"type", "block_id"},
    "actions": {"type", "elements", "block_id"},
}


def _block(block: Json) -> None:
    known = SHAPES.get(block.get("type", ""))
    if known is None or not set(block) <= known:
        raise Wrong("invalid_blocks")
    match block["type"]:
        case "header":
            _object(block["text"], 150, {"plain_text"})
        case "section":
            if "text" not in block and not block.get("fields"):
                raise Wrong("invalid_blocks")
            if "text" in block:
                _object(block["text"], 3000, {"plain_text", "mrkdwn"})
            if len(block.get("fields", [])) > 10:
                raise Wrong("invalid_blocks")
            for one in block.get("fields", []):
                _object(one, 2000, {"plain_text", "mrkdwn"})
        case "context":
            if not 1 <= len(block["elements"]) <= 10:
                raise Wrong("invalid_blocks")
            for one in block["elements"]:
                _object(one, 3000, {"plain_text", "mrkdwn"})
        case "actions":
            buttons = block["elements"]
            if not 1 <= len(buttons) <= 25 or len({b.get("action_id") for b in buttons}) < len(buttons):
                raise Wrong("invalid_blocks")
            for button in buttons:
                _button(button)


def _button(button: Json) -> None:
    if not {"type", "text", "action_id"} <= set(button) <= {"type", "text", "action_id", "value", "style", "confirm"}:
        raise Wrong("invalid_blocks")
    _object(button["text"], 75, {"plain_text"})
    if not 1 <= len(button["action_id"]) <= 255 or len(button.get("value", "")) > 2000:
        raise Wrong("invalid_blocks")
    if button.get("style", "primary") not in ("primary", "danger"):
        raise Wrong("invalid_blocks")
    if "confirm" in button:
        asked = button["confirm"]
        if set(asked) != {"title", "text", "confirm", "deny"}:
            raise Wrong("invalid_blocks")
        for part, limit in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
            _object(asked[part], limit, {"plain_text"})


def _object(value: Json, limit: int, kinds: set[str]) -> None:
    allowed = {"type", "text", "emoji"} if value.get("type") == "plain_text" else {"type", "text", "verbatim"}
    if value.get("type") not in kinds or not set(value) <= allowed or not 1 <= len(value.get("text", "")) <= limit:
        raise Wrong("invalid_blocks")


def _texts(blocks: list[Json]) -> list[str]:
    found: list[str] = []
    for block in blocks:
        if block["type"] == "actions":
            continue
        for one in (block.get("text"), *block.get("fields", []), *block.get("elements", [])):
            found += [one["text"]] if one else []
    return found


def active(message: Message) -> list[str]:
    """Return what Slack would obey in a message's mrkdwn: mentions and links."""
    found: list[str] = []
    for block in message.body.get("blocks", []):
        for one in (block.get("text"), *block.get("fields", []), *block.get("elements", [])):
            if one and one["type"] == "mrkdwn":
                found += ACTIVE.findall(one["text"])
    return found
