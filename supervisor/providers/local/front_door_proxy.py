"""The proxy of the front door: one request from a client becomes one request to a target, or to the next one.

Whoever can't be connected to has seen nothing of the request, so the next target gets it, whatever the method. A
request without side effects is also repeated when its target dies before it answered in full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession, ClientTimeout, web
from multidict import CIMultiDict
from yarl import URL

from supervisor.providers.local.front_door_targets import Target, Targets

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
WHOLE = 1 << 20  # bytes: an answer up to this size is read in full before the client sees any of it
TOTAL = 30.0  # seconds for one request, all tries together
CONNECT = 1.0  # seconds
SILENCE = 10.0  # seconds between two reads


class Proxy:
    """Forward every request to a healthy target."""

    def __init__(self, targets: Targets, client: ClientSession) -> None:
        """Forward to these targets, with this client."""
        self.targets = targets
        self.client = client

    def app(self) -> web.Application:
        """Return the one route."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.forward)
        return app

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Answer with a target's answer; 503 without targets, 502 if none can answer, 504 if none does in time."""
        if not request.raw_path.startswith("/"):
            return _sorry(400, "expected a path that starts with /")
        candidates = self.targets.in_turn()
        if not candidates:
            return _sorry(503, "no machine is registered")
        repeatable = request.method in REPEATABLE and not request.can_read_body
        answer = _Answer(request)
        trouble = ""
        try:
            async with asyncio.timeout(TOTAL):
                for target in candidates:
                    try:
                        return await self._ask(answer, target)
                    except (ClientError, TimeoutError, OSError) as error:
                        if answer.has_begun:
                            raise  # the client has part of it: only breaking off tells it the truth
                        trouble = f"{target.id}: {type(error).__name__}"
                        if not repeatable and not isinstance(error, ClientConnectorError):
                            break
        except TimeoutError:
            if answer.has_begun:
                raise
            return _sorry(504, f"no machine answered within {TOTAL:.0f} s")
        return _sorry(502, f"no machine could answer; last tried {trouble}")

    async def _ask(self, answer: _Answer, target: Target) -> web.StreamResponse:
        request = answer.request
        async with self.client.request(
            request.method,
            URL(target.url + request.raw_path, encoded=True),
            headers=_forwarded(request),
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE),
        ) as found:
            return await answer.pass_on(found, target)


class _Answer:
    """One answer on its way to the client."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.has_begun = False

    async def pass_on(self, found: ClientResponse, target: Target) -> web.StreamResponse:
        response = web.StreamResponse(
            status=found.status, reason=found.reason, headers=_end_to_end(found.headers.items())
        )
        response.headers["X-Served-By"] = target.id
        size = found.headers.get("Content-Length")
        bodiless = self.request.method == "HEAD" or found.status in (204, 304)
        if bodiless or (size is not None and int(size) <= WHOLE):
            body = await found.read()
            self.has_begun = True
            await response.prepare(self.request)
            if body and not bodiless:
                await response.write(body)
        else:
            self.has_begun = True
            if size is None and self.request.version >= (1, 1):
                response.enable_chunked_encoding()
            await response.prepare(self.request)
            async for piece in found.content.iter_any():
                await response.write(piece)
        await response.write_eof()
        return response


def _forwarded(request: web.Request) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers.items())
    headers.popall("Expect", None)  # answered by ourselves
    headers.add("X-Forwarded-For", request.remote or "unknown")
    headers["X-Forwarded-Proto"] = "http"
    headers["X-Forwarded-Host"] = request.host
    return headers


def _end_to_end(items: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """Return the headers that are meant for the other end, not for the next hop."""
    headers = CIMultiDict(items)
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP | named)


def _sorry(status: int, text: str) -> web.Response:
    headers = {"Retry-After": "1"} if status == 503 else None
    return web.Response(status=status, text=f"front door: {text}\n", headers=headers)
