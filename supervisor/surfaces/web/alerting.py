"""The API's ear for Alertmanager: its webhook. What it tells is evidence, and changes nothing by itself.

Whoever has the role `operate` may tell, on the unix socket or with a token of theirs; on TCP whoever knows the token of
`[alertmanager]` may as well, and nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

from aiohttp import web

from supervisor.core.documents import AnswerDoc
from supervisor.core.terms import AccessRole
from supervisor.surfaces.access import digest
from supervisor.surfaces.web.gate import bearer_of, caller
from supervisor.surfaces.web.routes import Route, refuse

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
        self._token = digest(token) if token else b""

    def route(self) -> Route:
        """Return the one route."""
        return Route(
            "POST",
            "/api/v1/alerts",
            "alerts",
            None,
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
            return refuse(415, f"the body is {request.content_type[:80]}, expected application/json")
        try:
            body = json.loads(await request.clone(client_max_size=LARGEST).text())
        except (ValueError, RecursionError, LookupError):
            return refuse(400, "alerts: the body is no JSON")
        try:
            return web.json_response({"text": self._take(body)})
        except ValueError as error:
            return refuse(400, f"alerts: {str(error)[:300]}")

    def _refusal(self, request: web.Request) -> web.Response | None:
        role = caller().role
        if role is not None and role.covers(AccessRole.OPERATE):
            return None
        if not self._token:
            return refuse(403, "this listener takes no alerts: set a `token` in [alertmanager]")
        given = bearer_of(request)
        if given is None or not compare_digest(digest(given), self._token):
            sentence = "expected `Authorization: Bearer` with the token of [alertmanager]"
            return refuse(401, sentence, {"WWW-Authenticate": "Bearer"})
        return None
