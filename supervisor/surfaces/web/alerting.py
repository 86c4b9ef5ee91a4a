"""The API's ear for Alertmanager: its webhook. What it tells is evidence, and changes nothing by itself.

The unix socket takes it from whoever may open that. Loopback takes it from whoever knows the token of `[alertmanager]`,
and from nobody where none is configured.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from aiohttp import web

from supervisor.core.documents import AnswerDoc
from supervisor.surfaces.web.routes import Route

LARGEST = 1024 * 1024  # a group of a thousand alerts
ALERT = {
    "type": "object",
    "required": ["status", "labels", "startsAt", "fingerprint"],
    "properties": {
        "status": {"type": "string", "description": '"firing", or "resolved"'},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "startsAt": {"type": "string", "format": "date-time"},
        "fingerprint": {"type": "string", "minLength": 1, "maxLength": 64},
    },
}
BODY: dict[str, Any] = {  # Any: JSON
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {"version": {"const": "4"}, "alerts": {"type": "array", "items": ALERT}},
}


class Alerting:
    """Hands on what the webhook tells. `take` raises `ValueError` in a sentence for what it can't understand."""

    def __init__(self, take: Callable[[object], str]) -> None:
        """Take the way to whoever keeps alerts; nobody on loopback has a token yet."""
        self._take = take
        self._token = b""

    def use(self, token: str) -> None:
        """Let loopback in with this token; '' lets nobody in."""
        self._token = _digest(token) if token else b""

    def route(self) -> Route:
        """Return the one route."""
        return Route(
            "POST",
            "/api/v1/alerts",
            "alerts",
            "Alertmanager's webhook: alerts that fire and that are resolved",
            self._alerts,
            AnswerDoc,
            body=BODY,
            guarded=True,
            errors=(
                (400, "the body is no webhook of Alertmanager, version 4"),
                (401, "the token is wrong, or missing"),
                (403, "no token is configured, so this listener takes no alerts"),
                (413, "the body is larger than 1 MiB"),
                (415, "the body is not JSON"),
            ),
        )

    async def _alerts(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if request.content_type != "application/json":
            return _refuse(415, f"the body is {request.content_type[:80]}, expected application/json")
        try:
            body = json.loads(await request.clone(client_max_size=LARGEST).text())
        except (ValueError, RecursionError, LookupError):
            return _refuse(400, "alerts: the body is no JSON")
        try:
            return web.json_response({"text": self._take(body)})
        except ValueError as error:
            return _refuse(400, f"alerts: {str(error)[:300]}")

    def _refusal(self, request: web.Request) -> web.Response | None:
        connection = request.transport.get_extra_info("socket") if request.transport else None
        if connection is not None and connection.family == socket.AF_UNIX:
            return None
        if not self._token:
            return _refuse(403, "this listener takes no alerts: set a `token` in [alertmanager]")
        scheme, _, word = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not compare_digest(_digest(word.strip()), self._token):
            return _refuse(401, "expected `Authorization: Bearer` with the token of [alertmanager]")
        return None


def _digest(word: str) -> bytes:
    return sha256(word.encode(errors="surrogateescape")).digest()


def _refuse(status: int, sentence: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return web.json_response({"error": sentence}, status=status, headers=headers)
