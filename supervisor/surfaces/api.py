"""The HTTP API: reading for everyone on this host, acting for whoever may open the unix socket.

Who speaks on the unix socket is known from the kernel (SO_PEERCRED) and written into the audit log. The loopback
listener only reads, and answers only to its own names, so that no web page can talk to it through a rebound name.
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
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from supervisor.core import views
from supervisor.core.context import Context
from supervisor.core.model import Incident, Instance
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
from supervisor.surfaces.listen import Taken

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
LARGEST_BODY = 64 * 1024
REMEMBERED = 1000
ANSWER_LIMIT = 15.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Serves the engine's views. `ask` hands an operator's request to the engine and returns its committed answer."""

    def __init__(
        self,
        context: Context,
        stable: asyncio.Lock,
        ask: Callable[[OperatorAsked], Awaitable[Reply]],
        extra: Callable[[], dict[str, Any]],  # Any: JSON
    ) -> None:
        """`stable` is held while the engine decides; `extra` adds the shell's own figures to the status."""
        self._context = context
        self._stable = stable
        self._ask = ask
        self._extra = extra
        self._answers: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()  # Any: JSON
        self._runners: list[web.AppRunner] = []
        self._count = 0

    # -- listening

    async def listen(self, taken: Taken) -> None:
        """Answer on sockets that were taken: everything on the unix socket, reading on loopback."""
        await web.SockSite(await self._runner(acting=True), taken.unix).start()
        if taken.tcp is not None:
            await web.SockSite(await self._runner(acting=False), taken.tcp).start()

    async def _runner(self, *, acting: bool) -> web.AppRunner:
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_tidy if acting else _only_own_names])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/api/v1/status", self._read(lambda _: self._status())),
                web.get("/api/v1/fleets", self._read(lambda _: views.overview(self._context)["fleets"])),
                web.get("/api/v1/fleets/{name}", self._read(self._fleet)),
                web.get("/api/v1/instances/{name}", self._read(self._instance)),
                web.get("/api/v1/instances/{name}/explain", self._read(self._explain)),
                web.get("/api/v1/incidents", self._read(self._incidents)),
                web.get("/api/v1/incidents/{number}", self._read(self._incident)),
                web.get("/api/v1/quarantine", self._read(self._quarantine)),
                web.post("/api/v1/{verb}", self._act if acting else _read_only),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def close(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()

    # -- reading

    def _read(self, view: Callable[[web.Request], Any]) -> Handler:  # Any: JSON
        async def handler(request: web.Request) -> web.Response:
            async with self._stable:
                return _json(view(request))

        return handler

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    def _status(self) -> dict[str, Any]:  # Any: JSON
        return {**views.overview(self._context), **self._extra()}

    def _fleet(self, request: web.Request) -> Any:  # Any: JSON
        name = request.match_info["name"]
        fleet = self._context.fleets.get(name)
        if fleet is None:
            raise _missing(
                f"no fleet '{name}' is configured; known: {', '.join(sorted(self._context.fleets)) or 'none'}"
            )
        return views.fleet_view(self._context, fleet)

    def _known(self, request: web.Request) -> Instance:
        name = request.match_info["name"]
        instance = self._context.world.get(Instance, name)
        if instance is None:
            raise _missing(f"no instance '{name}' is known; `sickbay status` lists them")
        return instance

    def _instance(self, request: web.Request) -> Any:  # Any: JSON
        instance = self._known(request)
        return views.instance_view(self._context, self._context.fleets.get(instance.fleet), instance)

    def _explain(self, request: web.Request) -> Any:  # Any: JSON
        return views.explain(self._context, self._known(request))

    def _incidents(self, request: web.Request) -> Any:  # Any: JSON
        limit = request.query.get("limit", "100")
        number = min(int(limit), 10_000) if limit.isdecimal() else 100
        return views.incidents_view(self._context, closed=request.query.get("closed", "1") != "0", limit=number)

    def _incident(self, request: web.Request) -> Any:  # Any: JSON
        text = request.match_info["number"]
        incident = self._context.world.get(Incident, int(text)) if text.isdecimal() else None
        if incident is None:
            raise _missing(f"no incident '{text}' is known; `sickbay incidents` lists them")
        return views.incident_view(self._context, incident)

    def _quarantine(self, request: web.Request) -> Any:  # Any: JSON
        return views.quarantines_view(self._context, ended=request.query.get("ended", "0") == "1")

    # -- acting

    async def _act(self, request: web.Request) -> web.Response:
        kind = VERBS.get(request.match_info["verb"])
        if kind is None:
            raise _missing(f"'{request.match_info['verb']}' is no verb; known: {', '.join(VERBS)}")
        if request.content_type != "application/json":
            return _json({"error": f"the body is {request.content_type}, expected application/json"}, 415)
        key = request.headers.get("Idempotency-Key", "")
        if key in self._answers:
            status, body = self._answers[key]
            return _json(body, status)
        try:
            fields = json.loads(await request.text())
            reason = fields.pop("reason", "")
            verb = TypeAdapter(kind).validate_python(fields)
        except (ValueError, ValidationError, AttributeError) as error:
            return _json({"error": f"{request.match_info['verb']}: {_first(error)}"}, 400)
        actor = _peer(request)
        self._count += 1
        asked = OperatorAsked(f"{os.getpid()}-{self._count}", verb, actor, "unix socket", str(reason))
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                reply = await self._ask(asked)
        except TimeoutError:
            return _json({"error": "no answer: the state file takes no commits now; nothing was changed yet"}, 503)
        status, body = (200, {"text": reply.text}) if reply.ok else (409, {"error": reply.text})
        if key:
            self._answers[key] = status, body
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return _json(body, status)


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
    return "the body is no JSON object"


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


def _json(value: Any, status: int = 200) -> web.Response:  # Any: JSON
    return web.json_response(value, status=status, headers={"Cache-Control": "no-store"})


def _missing(text: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=json.dumps({"error": text}), content_type="application/json")


async def _read_only(_: web.Request) -> web.Response:
    return _json({"error": "this listener only reads; operators use the unix socket (`sickbay` does)"}, 403)


@web.middleware
async def _tidy(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


@web.middleware
async def _only_own_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a Host that is not ours: a rebound DNS name must not read the API."""
    host = (request.host or "").rsplit(":", 1)[0].strip("[]")
    if host not in ("localhost", "127.0.0.1", "::1") and not host.startswith("127."):
        return _json({"error": f"this listener answers to localhost only, not to '{host[:100]}'"}, 421)
    return await handler(request)
