"""The API's acting half: each verb is a request to the engine, answered once it is committed.

Who asks is known from the gate, and goes into the audit log with the way they came and their reason.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from supervisor.core.documents import AnswerDoc
from supervisor.core.signals import (
    Acknowledge,
    Allow,
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
    TellChange,
    Unhold,
)
from supervisor.core.terms import AccessRole
from supervisor.core.text import clean
from supervisor.surfaces.web.gate import Caller, caller
from supervisor.surfaces.web.routes import Handler, Route, refuse

VERBS: dict[str, type[OperatorVerb]] = {
    "pause": Pause,
    "resume": Resume,
    "hold": Hold,
    "unhold": Unhold,
    "approve": Approve,
    "reject": Reject,
    "acknowledge": Acknowledge,
    "release": ReleaseFromQuarantine,
    "purge": Purge,
    "retry": Retry,
    "promote": Promote,
    "changes": TellChange,
    "allow": Allow,
}
ADMIN = frozenset({"purge", "promote", "allow"})
"""Verbs that destroy, choose what every healing launches, or set a guard aside; the others are an operator's."""
REMEMBERED = 1000
BODY_LIMIT = 10.0  # seconds
ANSWER_LIMIT = 15.0

Json = dict[str, Any]  # Any: JSON
Key = tuple[str, str, str]  # who, which way, Idempotency-Key: nobody is answered with what another one asked


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, and where its answer will be."""

    verb: OperatorVerb
    reason: str
    task: asyncio.Task[Reply]


class Acting:
    """Hands requests to the engine. `ask` returns its committed answer."""

    def __init__(self, ask: Callable[[OperatorAsked], Coroutine[Any, Any, Reply]]) -> None:
        """Take the way to the engine."""
        self._ask = ask
        self._asked: OrderedDict[Key, _Asked] = OrderedDict()  # the oldest first
        self._tasks: set[asyncio.Task[Reply]] = set()
        self._count = 0

    def routes(self) -> list[Route]:
        """Return a route for each verb."""
        return [
            Route(
                "POST",
                f"/api/v1/{name}",
                name,
                AccessRole.ADMIN if name in ADMIN else AccessRole.OPERATE,
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
            return refuse(415, f"the body is {request.content_type}, expected application/json")
        asks = caller()
        key = (asks.name, asks.way, request.headers.get("Idempotency-Key", ""))
        try:
            async with asyncio.timeout(BODY_LIMIT):
                found = json.loads(await request.text())
        except TimeoutError:
            return refuse(408, f"{name}: the body has not come within {BODY_LIMIT:.0f} s", {"Connection": "close"})
        except (ValueError, RecursionError, LookupError):
            found = None
        if not isinstance(found, dict):
            return refuse(400, f"{name}: the body is no JSON object")
        for field, value in found.items():
            if not _is_storable(value):
                return refuse(400, f"{name}: {clean(field, 80)}: no journal can hold this value")
        reason = found.pop("reason", "")
        if not isinstance(reason, str):
            return refuse(400, f"{name}: reason: expected text")
        known = [f.name for f in fields(kind)]
        for key_found in found.keys() - set(known):
            return refuse(400, f"{name}: {key_found[:80]}: is not known; known: {', '.join([*known, 'reason'])}")
        try:
            verb = TypeAdapter(kind).validate_python(found)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return refuse(400, f"{name}: {'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
        earlier = self._asked.get(key)
        if earlier is not None and (earlier.verb, earlier.reason) != (verb, reason):
            return refuse(409, "this Idempotency-Key was sent with another request; give this one a key of its own")
        task = earlier.task if earlier is not None else self._hand_in(asks, verb, reason)
        if key[-1]:
            self._asked[key] = _Asked(verb, reason, task)
            while len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)
        return await _answered(task)

    def _hand_in(self, asks: Caller, verb: OperatorVerb, reason: str) -> asyncio.Task[Reply]:
        """Give a request to the engine, in a task of its own: who asked may stop waiting for it."""
        self._count += 1
        asked = OperatorAsked(f"{os.getpid()}-{self._count}", verb, asks.name, asks.via, reason)
        task = asyncio.ensure_future(self._ask(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _answered(task: asyncio.Task[Reply]) -> web.Response:
    """Answer with the engine's word, if it comes in time. It comes to whoever asks again with the same key."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            reply = await asyncio.shield(task)
    except TimeoutError:
        return refuse(503, "no answer yet: the state file takes no commits; this is carried out as soon as it does")
    return web.json_response({"text": reply.text}) if reply.ok else refuse(409, reply.text)


def _is_storable(value: object) -> bool:
    """Return whether the journal can hold a value: no half of a character, no number beyond 64 bits."""
    match value:
        case str():
            return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
        case int():
            return -(2**63) <= value < 2**63
        case _:
            return True


def _schema(verb: type[OperatorVerb]) -> Json:
    """Return the shape of a verb's body: its fields, and the reason for the audit log."""
    schema = TypeAdapter(verb).json_schema()
    schema["properties"]["reason"] = {"type": "string", "default": "", "description": "Why: it is audited."}
    schema["additionalProperties"] = False
    schema.pop("description", None)
    return schema
