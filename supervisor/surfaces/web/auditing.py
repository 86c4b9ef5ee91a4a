"""The API's audit log: what was done and asked, and whether the chain of its entries holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from aiohttp import web

from supervisor.core.chain import AuditDoc, Head, VerifiedDoc
from supervisor.core.terms import AccessRole
from supervisor.errors import StateError
from supervisor.ports import AuditLog
from supervisor.surfaces.web.reading import LIMIT, limit_of, wrong
from supervisor.surfaces.web.routes import Parameter, Route, refuse

TIME = {"type": "string", "format": "date-time"}
SINCE = Parameter("since", TIME, "only what was written at this time or later; ISO 8601, UTC where it names no zone")
HEAD = {"type": "string", "pattern": "^[0-9]{1,18}:[0-9a-f]{64}$"}
ANCHOR = Parameter("anchor", HEAD, "an earlier head, SEQ:HASH, that must still be in the log")


class Auditing:
    """Serves the audit log, one question at a time: each reads the file in a thread."""

    def __init__(self, audit: AuditLog) -> None:
        """Take where it lies."""
        self._audit = audit
        self._turn = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Return what it answers."""
        bad = ((400, "a parameter is not as described"), (503, "the state file can't be read"))
        return [
            Route(
                "GET",
                "/api/v1/audit",
                "audit",
                AccessRole.OPERATE,
                "Who did or asked what, and why, newest first",
                self._read,
                list[AuditDoc],
                query=(SINCE, LIMIT),
                errors=bad,
            ),
            Route(
                "GET",
                "/api/v1/audit/verify",
                "verify_audit",
                AccessRole.OPERATE,
                "Whether the chain of the audit log holds, and an earlier head is still in it",
                self._verify,
                VerifiedDoc,
                query=(ANCHOR,),
                errors=bad,
            ),
        ]

    async def _read(self, request: web.Request) -> web.Response:
        text = request.query.get("since")
        try:
            since = None if text is None else moment(text)
        except ValueError as error:
            raise wrong(f"since={text and text[:40]}: {error}") from error
        limit = limit_of(request)
        try:
            async with self._turn:
                return web.json_response(await asyncio.to_thread(self._audit.read, since, limit))
        except StateError as error:
            return refuse(503, str(error))

    async def _verify(self, request: web.Request) -> web.Response:
        text = request.query.get("anchor")
        try:
            anchors = [] if text is None else [Head.parse(text)]
        except ValueError as error:
            raise wrong(f"anchor={text and text[:90]}: {error}") from error
        try:
            async with self._turn:
                return web.json_response(await asyncio.to_thread(self._audit.verify, anchors))
        except StateError as error:
            return refuse(503, str(error))


def moment(text: str) -> datetime:
    """Read a time in ISO 8601; return it in UTC. Raises `ValueError` in a sentence."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-01-31T14:00:00Z") from None
