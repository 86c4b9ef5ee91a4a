"""The API's acting half: each verb is a request to the engine, answered once it is committed.

Only the unix socket serves it. Who speaks there is known from the kernel and goes into the audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from supervisor.core.documents import AnswerDoc
from supervisor.core.signals import (
    Approve,
    Hold,
    OperatorAsked,
    OperatorVerb,
    Pause,
    Promote,
    Purge,
    Reject,
    ReleaseFromQuarantine,
    Reply,
    Resume,
    Retry,
    Unhold,
)
from supervisor.surfaces.web.routes import Handler, Route

VERBS: dict[str, type[OperatorVerb]] = {
    "pause": Pause,
    "resume": Resume,
    "hold": Hold,
    "unhold": Unhold,
    "approve": Approve,
    "reject": Reject,
    "release": ReleaseFromQuarantine,
    "purge": Purge,
    "retry": Retry,
    "promote": Promote,
}
REMEMBERED = 1000
ANSWER_LIMIT = 15.0

Json = dict[str, Any]  # Any: JSON


class Acting:
    """Hands requests to the engine. `ask` returns its committed answer."""

    def __init__(self, ask: Callable[[OperatorAsked], Awaitable[Reply]]) -> None:
        """Take the way to the engine."""
        self._ask = ask
        self._answers: OrderedDict[str, tuple[int, Json]] = OrderedDict()
        self._count = 0

    def routes(self) -> list[Route]:
        """Return a route for each verb."""
        return [
            Route(
                "POST",
                f"/api/v1/{name}",
                name,
                (verb.__doc__ or name).strip(),
                self._handler(name, verb),
                AnswerDoc,
                body=_schema(verb),
            )
            for name, verb in VERBS.items()
        ]

    def _handler(self, name: str, verb: type[OperatorVerb]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            return await self._act(request, name, verb)

        return handler

    async def _act(self, request: web.Request, name: str, kind: type[OperatorVerb]) -> web.Response:
        if request.content_type != "application/json":
            return _refuse(415, f"the body is {request.content_type}, expected application/json")
        key = request.headers.get("Idempotency-Key", "")
        if key in self._answers:
            status, body = self._answers[key]
            return web.json_response(body, status=status)
        try:
            found = json.loads(await request.text())
        except (ValueError, RecursionError, LookupError):
            found = None
        if not isinstance(found, dict):
            return _refuse(400, f"{name}: the body is no JSON object")
        reason = found.pop("reason", "")
        if not isinstance(reason, str):
            return _refuse(400, f"{name}: reason: expected text")
        known = [f.name for f in fields(kind)]
        for key_found in found.keys() - set(known):
            return _refuse(400, f"{name}: {key_found[:80]}: is not known; known: {', '.join([*known, 'reason'])}")
        try:
            verb = TypeAdapter(kind).validate_python(found)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return _refuse(400, f"{name}: {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
        status, body = await self._answer(request, verb, reason)
        if key and status != 503:
            self._answers[key] = status, body
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return web.json_response(body, status=status)

    async def _answer(self, request: web.Request, verb: OperatorVerb, reason: str) -> tuple[int, Json]:
        self._count += 1
        asked = OperatorAsked(f"{os.getpid()}-{self._count}", verb, _peer(request), "unix socket", reason)
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                reply = await self._ask(asked)
        except TimeoutError:
            # It is in the loop's hands, and stays there: asking again would be asking twice.
            return 503, {
                "error": "no answer yet: the state file takes no commits; this is carried out as soon as it does"
            }
        return (200, {"text": reply.text}) if reply.ok else (409, {"error": reply.text})


def _schema(verb: type[OperatorVerb]) -> Json:
    """Return the shape of a verb's body: its fields, and the reason for the audit log."""
    schema = TypeAdapter(verb).json_schema()
    schema["properties"]["reason"] = {"type": "string", "default": "", "description": "Why: it is audited."}
    schema["additionalProperties"] = False
    schema.pop("description", None)
    return schema


def _refuse(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _peer(request: web.Request) -> str:
    """Return who is at the other end of the unix socket, as the kernel says."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport else None
    if connection is None:
        return "unknown"
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
