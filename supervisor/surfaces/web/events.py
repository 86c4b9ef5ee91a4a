"""The event stream: what happens, told to every open page and program as server-sent events.

Numbers rise from life to life; who reconnects with `Last-Event-ID` gets what it missed, or a `reset` when that is no longer
known. A reader that is too slow is cut off: it comes back and asks anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from aiohttp import web

from supervisor.core.documents import EventDoc
from supervisor.core.signals import Event, IncidentTold, InstanceMoved, Said, StepMoved
from supervisor.core.text import clean

KEPT = 1000
WAITING = 500
MOST_READERS = 200
PULSE = 15.0  # seconds: keeps proxies from closing a quiet stream


class Events:
    """Everyone who listens, and the last events for those who come back."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """`now` is the wall clock."""
        self._now = now
        self._number = int(now().timestamp() * 1000)  # above every number of an earlier life
        self._kept: deque[EventDoc] = deque(maxlen=KEPT)
        self._readers: set[asyncio.Queue[EventDoc | None]] = set()

    def publish(self, events: Sequence[Event]) -> None:
        """Tell everyone; never blocks."""
        for event in events:
            if isinstance(event, StepMoved):  # the incident's story tells it in words
                continue
            self._number += 1
            document = _document(self._number, self._now(), event)
            self._kept.append(document)
            for reader in list(self._readers):
                try:
                    reader.put_nowait(document)
                except asyncio.QueueFull:
                    self._cut(reader)

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._number

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._readers)

    def close(self) -> None:
        """End every stream."""
        for reader in list(self._readers):
            self._cut(reader)

    def _cut(self, reader: asyncio.Queue[EventDoc | None]) -> None:
        self._readers.discard(reader)
        while not reader.empty():
            reader.get_nowait()
        reader.put_nowait(None)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serve one reader until it goes away, is too slow, or we stop."""
        if len(self._readers) >= MOST_READERS:
            return web.json_response({"error": f"{MOST_READERS} readers are connected already; try later"}, status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        reader: asyncio.Queue[EventDoc | None] = asyncio.Queue(WAITING)
        missed = self._missed(request.headers.get("Last-Event-ID", ""))
        self._readers.add(reader)
        try:
            await response.prepare(request)
            await response.write(b"retry: 2000\n\n" + b"".join(missed))
            while True:
                try:
                    async with asyncio.timeout(PULSE):
                        event = await reader.get()
                except TimeoutError:
                    await response.write(b": pulse\n\n")
                    continue
                if event is None:
                    break
                await response.write(_frame(event))
        except (ConnectionError, asyncio.CancelledError):
            pass  # it went away
        finally:
            self._readers.discard(reader)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _missed(self, last: str) -> list[bytes]:
        if not (last.isascii() and last.isdecimal()):
            return []
        number = int(last) if len(last) < 19 else self._number + 1
        first = self._kept[0]["id"] if self._kept else self._number + 1
        if number > self._number or number < first - 1:
            return [f"id: {self._number}\nevent: reset\ndata: {{}}\n\n".encode()]
        return [_frame(event) for event in self._kept if event["id"] > number]


def _frame(event: EventDoc) -> bytes:
    return f"id: {event['id']}\nevent: happened\ndata: {json.dumps(event)}\n\n".encode()


def _document(number: int, at: datetime, event: Event) -> EventDoc:
    kind, fleet, instance, incident, text = "", "", "", 0, ""
    match event:
        case IncidentTold():
            kind, fleet, text = event.kind, event.incident.fleet, event.text
            instance, incident = event.incident.instance, event.incident.id
        case InstanceMoved():
            kind, fleet, instance = "instance.moved", event.fleet, event.instance
            text = f"{event.instance}: {event.old or 'new'} → {event.new}"
        case Said():
            kind, fleet, text = event.kind, event.fleet, event.text
    return {
        "id": number,
        "time": at.isoformat(timespec="milliseconds"),
        "type": kind,
        "fleet": fleet,
        "instance": instance,
        "incident": incident,
        "text": clean(text),
    }
