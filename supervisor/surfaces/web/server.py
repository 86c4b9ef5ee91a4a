"""The HTTP server: page, API and event stream, on the unix socket and on TCP. Every path stands behind the gate."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Any, Final

from aiohttp import web

from supervisor.core.context import Context
from supervisor.core.documents import FiguresDoc
from supervisor.core.measured import Measured
from supervisor.core.signals import OperatorAsked, Reply
from supervisor.core.terms import AccessRole
from supervisor.ports import AuditLog
from supervisor.surfaces.access import Rules
from supervisor.surfaces.listen import Taken
from supervisor.surfaces.web.acting import Acting
from supervisor.surfaces.web.alerting import Alerting
from supervisor.surfaces.web.auditing import Auditing
from supervisor.surfaces.web.connections import Connections
from supervisor.surfaces.web.events import Events
from supervisor.surfaces.web.gate import Gate, caller
from supervisor.surfaces.web.openapi import openapi
from supervisor.surfaces.web.page import Page
from supervisor.surfaces.web.reading import Reading
from supervisor.surfaces.web.routes import Handler, Route, refuse

LARGEST_BODY = 64 * 1024
HANDSHAKE = 5.0  # seconds for TLS
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Server:
    """Serves one engine. `gate.rules` may be replaced while it runs."""

    def __init__(
        self,
        context: Context,
        stable: asyncio.Lock,
        ask: Callable[[OperatorAsked], Coroutine[Any, Any, Reply]],
        figures: Callable[[], FiguresDoc],
        metrics: Callable[[str], tuple[bytes, str]],
        audit: AuditLog,
        rules: Rules,
        *,
        ready: Callable[[], str],
        measured: Measured | None = None,
        alerts: Callable[[object], str] = lambda _: "",
    ) -> None:
        """`stable` is held while the engine decides.

        `metrics` takes an Accept header and returns a scrape with its content type; `ready` says why it is not ready,
        '' when it is; `measured` are the numbers of checks; `alerts` takes what Alertmanager's webhook tells, and
        returns what became of it.
        """
        self.events = Events(lambda: datetime.now(UTC))
        self._ready = ready
        self._stable = stable
        self._render_metrics = metrics
        reading = Reading(context, stable, figures, measured or Measured())
        self.alerting = Alerting(alerts)
        self._page = Page(reading)
        self.gate = Gate(rules)
        self._acting = Acting(ask)
        self._routes = [
            *reading.routes(),
            *self._acting.routes(),
            *Auditing(audit).routes(),
            self.alerting.route(),
            Route(
                "GET",
                "/api/v1/events",
                "events",
                AccessRole.READ,
                "What happens, as server-sent events of EventDoc; Last-Event-ID brings what was missed",
                self.events.stream,
                media="text/event-stream",
                errors=((503, "too many readers"),),
            ),
            Route(
                "GET",
                "/api/v1/openapi.json",
                "openapi",
                AccessRole.READ,
                "This document",
                self._openapi,
                dict[str, Any],
            ),
            Route(
                "GET",
                "/metrics",
                "metrics",
                AccessRole.READ,
                "Metrics for Prometheus",
                self._metrics,
                media="text/plain",
            ),
            Route("GET", "/healthz", "healthz", None, "Whether the process answers", _healthz, media="text/plain"),
            Route(
                "GET",
                "/readyz",
                "readyz",
                None,
                "Whether it can watch and act",
                self._readyz,
                media="text/plain",
                errors=((503, "it can't, and for those who may read, why"),),
            ),
        ]
        self._document = openapi(self._routes)
        self._runners: list[web.AppRunner] = []
        self._listeners: list[asyncio.Server] = []

    async def listen(self, taken: Taken, tls: SSLContext | None = None) -> None:
        """Answer on sockets that were taken, on TCP with TLS where it is given."""
        await self._listen(taken.unix, None)
        if taken.tcp is not None:
            await self._listen(taken.tcp, tls)

    async def _listen(self, taken: socket.socket, tls: SSLContext | None) -> None:
        connections = Connections(lambda: _protocol(runner))
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[connections.timed, _tidy])
        for route in self._routes:
            app.router.add_route(route.method, route.path, self.gate.guarded(route.needs, route.handler))
        for path, (needs, handler) in self._page.paths().items():
            app.router.add_get(path, self.gate.guarded(needs, handler))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        listener = await asyncio.get_running_loop().create_server(
            connections, sock=taken, ssl=tls, ssl_handshake_timeout=HANDSHAKE if tls else None
        )
        self._listeners.append(listener)

    @property
    def ports(self) -> list[int]:
        """The TCP ports it listens on."""
        found = [taken.getsockname() for listener in self._listeners for taken in listener.sockets]
        return [address[1] for address in found if isinstance(address, tuple)]

    async def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            listener.close()
        self.events.close()
        await self._acting.close()
        for runner in self._runners:
            await runner.cleanup()

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.json_response(self._document)

    async def _metrics(self, request: web.Request) -> web.Response:
        async with self._stable:
            body, content_type = self._render_metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._ready()
        if not why:
            return web.Response(text="ready\n")
        return refuse(503, why if caller().role else "not ready; who may read is told why")


def _protocol(runner: web.AppRunner) -> web.RequestHandler:
    if runner.server is None:
        raise RuntimeError("the server is not set up")
    return runner.server()


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@web.middleware
async def _tidy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer its headers, and every refusal its sentence."""
    request_is_api = request.path.startswith("/api/")
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.content_type != "application/json" and request_is_api:
            error.text = json.dumps({"error": f"{request.method} {request.path[:200]}: {error.reason.lower()}"})
            error.content_type = "application/json"
        _dress(error)
        raise
    if not response.prepared:
        _dress(response)
    return response


def _dress(response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
