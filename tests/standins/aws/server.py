"""The door: understands a request, lets it meet its fault, its limit and its policy, and sends or loses the answer."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable

from aiohttp import web

from tests.standins.aws.call import SIGNED_AS, AwsError, Call
from tests.standins.aws.emulator import Emulator, understood
from tests.standins.aws.faults import PAGES, Fault, Faults, as_error
from tests.standins.aws.log import Entry, Log, Stop

SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
Answer = web.Response
CarryOut = Callable[[Call], bytes]


class Server:
    """One endpoint for all services. Whatever changes anything passes through `_do`."""

    def __init__(self, emulator: Emulator, faults: Faults, log: Log, carry_out: CarryOut) -> None:
        """Carry calls out by the given function."""
        self._emulator = emulator
        self._faults = faults
        self._log = log
        self._carry_out = carry_out
        self._runner: web.AppRunner | None = None
        self.calls: list[str] = []
        """The daemon's calls of any kind, by action."""
        self.failures: list[Exception] = []
        """What broke in the stand-in itself, and was answered with a bare 500."""
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.add_routes([web.post("/{rest:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        scope = SCOPE.search(request.headers.get("Authorization", ""))
        if scope is None:
            return web.Response(
                status=403, text=AwsError("AuthFailure", "unsigned").xml("ec2"), content_type="text/xml"
            )
        key, region, signed_as = scope.groups()
        if signed_as not in SIGNED_AS:
            return self._foreign(signed_as, body, request)
        try:
            action, params = understood(SIGNED_AS[signed_as], body)
        except AwsError as error:
            return _error(error, SIGNED_AS[signed_as])
        call = Call(SIGNED_AS[signed_as], action, region, key, params)
        return await self._met(call, request)

    def _foreign(self, signed_as: str, body: bytes, request: web.Request) -> Answer:
        """Hand another service's call through as it is: STS, IAM, SSM."""
        try:
            status, headers, answer = self._emulator.raw(signed_as, body, dict(request.headers))
        except AwsError as error:
            return _error(error, signed_as)
        kind = headers.get("Content-Type", "text/xml")
        return web.Response(status=status, body=answer, headers={"Content-Type": kind})

    async def _met(self, call: Call, request: web.Request) -> web.StreamResponse:
        fault, stop = None, None
        entry = self._log.begin(call) if call.is_mutating else None
        if call.is_daemons:
            self.calls.append(call.action)
            fault = self._faults.take(call)
            stop = self._log.armed(entry) if entry else None
        if stop:
            return await self._stopped(stop, call, entry, request)
        if fault and not fault.late:
            return await self._broken(fault, call, request, None)
        answer = self._do(call, entry)
        if fault:
            return await self._broken(fault, call, request, answer)
        if entry:
            entry.answer = getattr(answer, "code", "")
        return _error(answer, call.service) if isinstance(answer, AwsError) else _good(answer)

    def _do(self, call: Call, entry: Entry | None) -> bytes | AwsError:
        try:
            answer: bytes | AwsError = self._carry_out(call)
            if entry:
                self._log.done(entry, call)
        except AwsError as error:
            answer = error
            call.has_effect = error.partial
            if entry and error.partial:
                self._log.done(entry, call)
        except Exception as error:
            self.failures.append(error)
            raise
        return answer

    async def _stopped(self, stop: Stop, call: Call, entry: Entry | None, request: web.Request) -> web.StreamResponse:
        """Whoever asked dies here; the effect comes never, first, or later."""
        if stop.moment == "after":
            self._do(call, entry)
        await self._log.fire(stop)
        if stop.moment == "late":
            await asyncio.sleep(stop.late_by)
            self._do(call, entry)
        return _reset(request)

    async def _broken(
        self, fault: Fault, call: Call, request: web.Request, answer: bytes | AwsError | None
    ) -> web.StreamResponse:
        """Answer as the fault says; `answer` is what would have been said, where there was an effect."""
        error = as_error(fault.kind)
        if error:
            return _error(error, call.service)
        whole = answer if isinstance(answer, bytes) else f"<{call.action}Response><requestId>00000000".encode()
        match fault.kind:
            case "hang":
                await asyncio.sleep(3600)
            case "html" | "xhtml":
                return web.Response(body=PAGES[fault.kind], content_type="text/html")
            case "truncated":
                return web.Response(body=whole[: len(whole) // 2], content_type="text/xml")
            case "cut":
                cut = web.StreamResponse(headers={"Content-Type": "text/xml", "Content-Length": str(len(whole) + 1)})
                await cut.prepare(request)
                await cut.write(whole[: len(whole) // 2])
                _close(request)
                return cut
            case "close":
                _close(request)
                return web.Response()
        return _reset(request)


def _good(body: bytes) -> Answer:
    return web.Response(body=body, content_type="text/xml")


def _error(error: AwsError, service: str) -> Answer:
    return web.Response(status=error.status, text=error.xml(service), content_type="text/xml")


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> Answer:
    """Close with RST, as a dying host or a middlebox does."""
    if request.transport is not None:
        listening = request.transport.get_extra_info("socket")
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
