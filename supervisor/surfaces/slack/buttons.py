"""Buttons: what people press in Slack reaches the engine over a WebSocket that we open (Socket Mode); nothing listens.

Who is not named in `operators` moves nothing. What is pressed goes to the engine together with what its presser saw, and
the engine refuses what is no longer offered. The address of the socket is a secret: it is never in a log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from supervisor.core.choices import verb_of
from supervisor.core.signals import Choice, OperatorAsked, Reply, Seen
from supervisor.core.text import clean
from supervisor.ports import Ask
from supervisor.surfaces.slack import blocks
from supervisor.surfaces.slack.errors import APP_REMEDIES, refusal

log = structlog.get_logger()

PATIENCE = 10.0  # seconds for one call, and for a connection
LOOK = 1.0  # seconds between two looks whether the connection stands
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
ACK_WITHIN = 2.0  # Slack shows a warning sign after three
ANSWER_LIMIT = 15.0
GROUP_KEPT = 60.0
REMEMBERED = 1000
MOST_AT_ONCE = 100
NAME_LIMIT = 80
VIA = "slack"
NOT_YET = "no answer yet: the state file takes no commits; this is carried out as soon as it does"

Json = dict[str, Any]  # Any: JSON

_SILENT = logging.Logger("slack_sdk.quiet")  # noqa: LOG001  # the client logs addresses with their tickets
_SILENT.addHandler(logging.NullHandler())


class Buttons:
    """Takes what people press, for ever. `trouble` says why nobody is heard, '' while people are."""

    def __init__(
        self,
        token: str,
        app_token: str,
        operators: tuple[str, ...],
        *,
        api_url: str,
        look: float = LOOK,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """`operators` are ids of users (U…, W…) and of user groups (S…); `look` and `first_pause` are seconds."""
        self.trouble = "not yet connected"
        self._client = AsyncWebClient(token, api_url, retry_handlers=[])
        self._api_url = api_url
        self._app_token = app_token
        self._users = frozenset(o for o in operators if not o.startswith("S"))
        self._groups = tuple(o for o in operators if o.startswith("S"))
        self._members: dict[str, tuple[float, frozenset[str]]] = {}  # of a group, and when that was read
        self._look = look
        self._first_pause = first_pause
        self._pressed: OrderedDict[str, None] = OrderedDict()  # what Slack may send again, the oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def hear(self, ask: Ask) -> None:
        """Stay connected and hand in what is pressed. Ends only by cancellation."""
        pause = self._first_pause
        try:
            while True:
                begun = time.monotonic()
                trouble = await self._connection(ask)
                if trouble != self.trouble:
                    log.warning("slack.deaf", why=trouble)
                self.trouble = trouble
                pause = self._first_pause if time.monotonic() - begun > LONGEST_PAUSE else pause
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, ask: Ask) -> str:
        """Open one connection and stay until it is gone; return why, in a sentence."""
        # We reconnect ourselves: the client would try an address whose ticket is used up for ever.
        client = SocketModeClient(
            self._app_token,
            logger=_SILENT,
            web_client=AsyncWebClient(base_url=self._api_url, retry_handlers=[], logger=_SILENT),
            auto_reconnect_enabled=False,
        )

        async def take(socket: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
            self._take(socket, request, ask)

        client.socket_mode_request_listeners.append(take)
        try:
            async with asyncio.timeout(PATIENCE):
                await client.connect_to_new_endpoint()
            if self.trouble:
                log.info("slack.hears")
            self.trouble = ""
            while await client.is_connected():  # noqa: ASYNC110  # the client offers nothing to wait for
                await asyncio.sleep(self._look)
            return "the connection for buttons was closed"
        except SlackClientError as error:
            return f"buttons: {refusal(error, APP_REMEDIES)}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"buttons: Slack does not answer ({type(error).__name__})"
        finally:
            await _close(client)

    # -- one press

    def _take(self, socket: AsyncBaseSocketModeClient, request: SocketModeRequest, ask: Ask) -> None:
        if len(self._tasks) >= MOST_AT_ONCE:
            return  # not acknowledged: Slack shows whoever pressed a warning sign
        task = asyncio.create_task(self._handle(socket, request, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, socket: AsyncBaseSocketModeClient, request: SocketModeRequest, ask: Ask) -> None:
        """Carry a press out, acknowledge it to Slack once it is committed, and say why where nothing was done."""
        work = asyncio.create_task(self._press(request.payload, ask))
        try:
            await asyncio.wait((work,), timeout=ACK_WITHIN)
            with contextlib.suppress(aiohttp.ClientError, OSError, AttributeError):  # it is sent again, and known
                await socket.send_socket_mode_response(SocketModeResponse(request.envelope_id))
            said = await work
            if said:
                await self._answer(request.payload, said)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("slack.unanswered", why=type(error).__name__)
        except Exception as error:  # noqa: BLE001  # one strange payload is no reason to hear nobody
            log.error("slack.unread", why=type(error).__name__)
        finally:
            work.cancel()

    async def _press(self, payload: Json, ask: Ask) -> str:
        """Return what the presser must be told: '' for nothing, the incident's thread tells it."""
        action: Json = next(iter(payload.get("actions", ())), {})
        name, _, word = str(action.get("action_id", "")).partition(".")
        if payload.get("type") != "block_actions" or name != blocks.ACTION or word not in set(Choice):
            return ""  # a link, or somebody else's button
        person = payload["user"]
        user = str(person["id"])
        key = f"{user}/{action['action_ts']}/{action['action_id']}/{action['value']}"
        if key in self._pressed:
            return ""
        self._pressed[key] = None
        while len(self._pressed) > REMEMBERED:
            self._pressed.popitem(last=False)
        why = await self._barred(user)
        if why:
            log.warning("slack.barred", user=clean(user, NAME_LIMIT), choice=word)
            return why
        value = json.loads(action["value"])
        choice = Choice(word)
        seen = Seen(str(value["of"]), int(value["incident"]), int(value["version"]), choice)
        shown = clean(str(person.get("name") or person.get("username") or "somebody"), NAME_LIMIT)
        self._count += 1
        asked = OperatorAsked(
            f"{VIA}-{os.getpid()}-{id(self)}-{self._count}",
            verb_of(choice, seen, str(value["instance"]), VIA),
            f"{shown} ({clean(user, NAME_LIMIT)})",
            VIA,
            seen=seen,
        )
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                reply: Reply = await ask(asked)
        except TimeoutError:
            return NOT_YET
        return "" if reply.ok else reply.text

    async def _barred(self, user: str) -> str:
        """Return why somebody may not press, '' where they may."""
        if user in self._users:
            return ""
        for group in self._groups:
            try:
                if user in await self._group(group):
                    return ""
            except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError):
                return (
                    f"nothing was done: Slack does not say who is in {group}; the app needs the scope usergroups:read"
                )
        return "nothing was done: only people whom Sickbay's configuration names as operators may press this"

    async def _group(self, group: str) -> frozenset[str]:
        """Return the members of a user group, as of the last minute."""
        at, members = self._members.get(group, (0.0, frozenset()))
        if at and time.monotonic() - at < GROUP_KEPT:
            return members
        async with asyncio.timeout(PATIENCE):
            answer = await self._client.api_call("usergroups.users.list", params={"usergroup": group})
        users: list[str] = answer.get("users", [])
        found = frozenset(users)
        self._members[group] = (time.monotonic(), found)
        return found

    async def _answer(self, payload: Mapping[str, Any], sentence: str) -> None:  # Any: JSON
        """Tell only whoever pressed."""
        said = blocks.line(sentence)
        body = {"channel": payload["channel"]["id"], "user": payload["user"]["id"]}
        async with asyncio.timeout(PATIENCE):
            await self._client.api_call(
                "chat.postEphemeral", json=body | {"text": said.text, "blocks": list(said.blocks)}
            )


async def _close(client: SocketModeClient) -> None:
    """Let go of everything the client began, even where the other side says nothing any more."""
    client.closed = True
    for task in (client.message_processor, client.current_session_monitor, client.message_receiver):
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(1.0):
            if client.current_session is not None:
                await client.current_session.close()
    await client.aiohttp_client_session.close()
