"""The API's reading half: the engine's views, taken while nothing is being decided."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from supervisor.core import reasons, views
from supervisor.core.context import Context
from supervisor.core.documents import (
    ChangeDoc,
    ExplainDoc,
    FiguresDoc,
    FleetDoc,
    FleetExplainDoc,
    IncidentDoc,
    InstanceDoc,
    MetricDoc,
    QuarantineDoc,
    StatusDoc,
    StoryDoc,
)
from supervisor.core.fleet import Fleet
from supervisor.core.measured import Measured
from supervisor.core.model import Incident, Instance
from supervisor.surfaces.web.routes import Handler, Parameter, Route

MOST = 10_000
LEAST_DRAWN = 50  # instances of a fleet, however many fleets there are
FLAG = {"type": "string", "enum": ["0", "1"]}
CLOSED = Parameter("closed", FLAG, "0 leaves closed incidents out")
ENDED = Parameter("ended", FLAG, "1 adds machines that are no longer kept")
LIMIT = Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}, "how many, newest first")


class Reading:
    """Serves views of one engine. `stable` is held while the engine decides; `figures` are the shell's own."""

    def __init__(
        self, context: Context, stable: asyncio.Lock, figures: Callable[[], FiguresDoc], measured: Measured
    ) -> None:
        """Take what is to be shown; `measured` are the numbers of checks."""
        self.context = context
        self.stable = stable
        self._figures = figures
        self._measured = measured

    def routes(self) -> list[Route]:
        """Return what it answers."""
        one, many = self._read, "/api/v1/"
        return [
            Route("GET", many + "status", "status", "The whole state in short", one(self.status), StatusDoc),
            Route("GET", many + "fleets", "fleets", "Every fleet", one(self._fleets), list[FleetDoc]),
            Route("GET", many + "fleets/{name}", "fleet", "One fleet", one(self._fleet), FleetDoc),
            Route(
                "GET",
                many + "fleets/{name}/explain",
                "explain_fleet",
                "What is wrong with a fleet, how sure that is, and every guard with value and threshold",
                one(self.explain_fleet),
                FleetExplainDoc,
            ),
            Route("GET", many + "instances/{name}", "instance", "One instance", one(self._instance), InstanceDoc),
            Route(
                "GET",
                many + "instances/{name}/explain",
                "explain",
                "Why an instance is judged as it is, and every guard with value and threshold",
                one(self.explain),
                ExplainDoc,
            ),
            Route(
                "GET",
                many + "instances/{name}/metrics",
                "instance_metrics",
                "The newest numbers that an instance's checks measured",
                one(self.metrics),
                list[MetricDoc],
            ),
            Route(
                "GET",
                many + "incidents",
                "incidents",
                "Incidents, newest first",
                one(self._incidents),
                list[IncidentDoc],
                query=(CLOSED, LIMIT),
                errors=((400, "a parameter is not as described"),),
            ),
            Route("GET", many + "incidents/{number}", "incident", "One incident", one(self.incident), StoryDoc),
            Route(
                "GET",
                many + "changes",
                "recent_changes",
                "What was changed, newest first",
                one(self._changes),
                list[ChangeDoc],
                query=(LIMIT,),
                errors=((400, "a parameter is not as described"),),
            ),
            Route(
                "GET",
                many + "quarantine",
                "quarantine",
                "The machines that are kept, oldest first",
                one(self._quarantine),
                list[QuarantineDoc],
                query=(ENDED,),
                errors=((400, "a parameter is not as described"),),
            ),
        ]

    def _read(self, view: Callable[[web.Request], Any]) -> Handler:  # Any: JSON
        async def handler(request: web.Request) -> web.Response:
            async with self.stable:
                document = view(request)
            return web.json_response(document)

        return handler

    def status(self, _: web.Request) -> StatusDoc:
        """Return the whole state in short."""
        return {**views.overview(self.context), **self._figures()}

    def drawn(self, most: int) -> StatusDoc:
        """Return the state for a picture: of large fleets only what stands out, some `most` instances in all."""
        members = sum(len(self.context.world.members[name]) for name in self.context.fleets)
        each = None if members <= most else max(LEAST_DRAWN, most // len(self.context.fleets))
        return {**views.overview(self.context, each), **self._figures()}

    def headline(self) -> StatusDoc:
        """Return what concerns everything, without the fleets."""
        return {**views.headline(self.context), **self._figures()}

    def _fleets(self, _: web.Request) -> list[FleetDoc]:
        return views.overview(self.context)["fleets"]

    def _fleet(self, request: web.Request) -> FleetDoc:
        return views.fleet_view(self.context, self.known_fleet(request))

    def explain_fleet(self, request: web.Request) -> FleetExplainDoc:
        """Return what is wrong with a fleet."""
        return reasons.explain_fleet(self.context, self.known_fleet(request))

    def _changes(self, request: web.Request) -> list[ChangeDoc]:
        return views.changes_view(self.context, _limit(request))

    def known_fleet(self, request: web.Request) -> Fleet:
        """Return the fleet that a path names. Raises 404 in a sentence."""
        name = request.match_info["name"]
        fleet = self.context.fleets.get(name)
        if fleet is None:
            known = ", ".join(sorted(self.context.fleets)) or "none"
            raise missing(f"no fleet '{name}' is configured; known: {known}")
        return fleet

    def known_instance(self, request: web.Request) -> Instance:
        """Return the instance that a path names. Raises 404 in a sentence."""
        name = request.match_info["name"]
        instance = self.context.world.get(Instance, name)
        if instance is None:
            raise missing(f"no instance '{name}' is known; `sickbay status` lists them")
        return instance

    def _instance(self, request: web.Request) -> InstanceDoc:
        return self.explain(request)["instance"]

    def explain(self, request: web.Request) -> ExplainDoc:
        """Return why an instance is judged as it is."""
        return reasons.explain(self.context, self.known_instance(request))

    def metrics(self, request: web.Request) -> list[MetricDoc]:
        """Return the numbers of the instance that a path names."""
        return views.metrics_view(self.context, self._measured, self.known_instance(request).id)

    def _incidents(self, request: web.Request) -> list[IncidentDoc]:
        return views.incidents_view(self.context, closed=_flag(request, "closed", default=True), limit=_limit(request))

    def incident(self, request: web.Request) -> StoryDoc:
        """Return the incident that a path names. Raises 404 in a sentence."""
        text = request.match_info["number"]
        found = self.context.world.get(Incident, int(text)) if text.isdecimal() and len(text) < 19 else None
        if found is None:
            raise missing(f"no incident '{text}' is known; `sickbay incidents` lists them")
        return views.story_view(self.context, found)

    def _quarantine(self, request: web.Request) -> list[QuarantineDoc]:
        return views.quarantines_view(self.context, ended=_flag(request, "ended", default=False))


def _flag(request: web.Request, name: str, *, default: bool) -> bool:
    text = request.query.get(name)
    if text not in (None, "0", "1"):
        raise wrong(f"{name}={text[:40]}: expected 0 or 1")
    return default if text is None else text == "1"


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not (text.isascii() and text.isdecimal() and len(text) < 19) or not 1 <= int(text) <= MOST:
        raise wrong(f"limit={text[:40]}: expected a whole number from 1 to {MOST}")
    return int(text)


def missing(sentence: str) -> web.HTTPNotFound:
    """Return a 404 that says what is missing."""
    return web.HTTPNotFound(text=json.dumps({"error": sentence}), content_type="application/json")


def wrong(sentence: str) -> web.HTTPBadRequest:
    """Return a 400 that says what was expected."""
    return web.HTTPBadRequest(text=json.dumps({"error": sentence}), content_type="application/json")
