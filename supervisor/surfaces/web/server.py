"""The HTTP server: page, API and event stream. Everything on the unix socket, reading only on loopback.

The loopback listener answers only to its own names, so that no web page can talk to it through a rebound name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from supervisor.core.context import Context
from supervisor.core.documents import FiguresDoc
from supervisor.core.measured import Measured
from supervisor.core.signals import OperatorAsked, Reply
from supervisor.surfaces.listen import Taken
from supervisor.surfaces.web.acting import Acting
from supervisor.surfaces.web.alerting import Alerting
from supervisor.surfaces.web.events import Events
from supervisor.surfaces.web.openapi import openapi
from supervisor.surfaces.web.page import Page
from supervisor.surfaces.web.reading import Reading
from supervisor.surfaces.web.routes import Handler, Route

LARGEST_BODY = 64 * 1024
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Server:
    """Serves one engine. `url` is where people reach the page through a proxy, '' where they don't."""

    def __init__(
        self,
        context: Context,
        stable: asyncio.Lock,
        ask: Callable[[OperatorAsked], Coroutine[Any, Any, Reply]],
        figures: Callable[[], FiguresDoc],
        metrics: Callable[[str], tuple[bytes, str]],
        *,
        ready: Callable[[], str],
        url: str = "",
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
        self._names = {"localhost", "127.0.0.1", "::1", urlsplit(url).hostname or "localhost"}
        self._acting = Acting(ask)
        self._routes = [
            *reading.routes(),
            *self._acting.routes(),
            self.alerting.route(),
            Route(
                "GET",
                "/api/v1/events",
                "events",
                "What happens, as server-sent events of EventDoc; Last-Event-ID brings what was missed",
                self.events.stream,
                media="text/event-stream",
                errors=((503, "too many readers"),),
            ),
            Route("GET", "/api/v1/openapi.json", "openapi", "This document", self._openapi, dict[str, Any]),
            Route("GET", "/metrics", "metrics", "Metrics for Prometheus", self._metrics, media="text/plain"),
            Route("GET", "/healthz", "healthz", "Whether the process answers", _healthz, media="text/plain"),
            Route(
                "GET",
                "/readyz",
                "readyz",
                "Whether it can watch and act",
                self._readyz,
                media="text/plain",
                errors=((503, "it can't, and why"),),
            ),
        ]
        self._document = openapi(self._routes)
        self._runners: list[web.AppRunner] = []

    async def listen(self, taken: Taken) -> None:
        """Answer on sockets that were taken: everything on the unix socket, reading on loopback."""
        await web.SockSite(await self._runner(acting=True), taken.unix).start()
        if taken.tcp is not None:
            await web.SockSite(await self._runner(acting=False), taken.tcp).start()

    async def _runner(self, *, acting: bool) -> web.AppRunner:
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_tidy] if acting else [_tidy, self._own_names])
        for route in self._routes:
            handler = _read_only if route.acts and not acting else route.handler
            app.router.add_route(route.method, route.path, handler)
        self._page.mount(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    @property
    def ports(self) -> list[int]:
        """The TCP ports it listens on."""
        found = [address for runner in self._runners for address in runner.addresses]
        return [address[1] for address in found if isinstance(address, tuple)]

    async def close(self) -> None:
        """Stop listening."""
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
        return web.json_response({"error": why}, status=503) if why else web.Response(text="ready\n")

    @web.middleware
    async def _own_names(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a Host that is not ours: a rebound DNS name must not read the API."""
        host = (request.host or "").rsplit(":", 1)[0].strip("[]")
        if host not in self._names and not host.startswith("127."):
            sentence = f"this listener answers to localhost only, not to '{host[:100]}'; name it in [supervisor] url"
            return web.json_response({"error": sentence}, status=421)
        return await handler(request)


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _read_only(_: web.Request) -> web.Response:
    sentence = "this listener only reads; operators use the unix socket (`sickbay` does)"
    return web.json_response({"error": sentence}, status=403)


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
