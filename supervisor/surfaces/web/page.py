"""The page: the same documents as the API, rendered on the server for people.

It needs no script to be read; a small script of ours keeps it live. Every value is escaped by the template engine, and
the Content-Security-Policy allows nothing but our own style and script.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from supervisor import __version__
from supervisor.core import views
from supervisor.core.documents import FleetDoc, InstanceDoc
from supervisor.core.duration import words
from supervisor.core.text import clean
from supervisor.surfaces.marks import TONES
from supervisor.surfaces.web.reading import Reading

STATIC = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RECENT = 20
SIGNS = {"healthy": "●", "suspect": "◐", "sick": "✕", "unknown": "○"}
WELL = frozenset({"in_service", "probation"})


class Page:
    """Serves `/`, `/incidents/N`, `/instances/ID` and their style and script."""

    def __init__(self, reading: Reading) -> None:
        """Take where the documents come from."""
        self._reading = reading
        self._files = {p.name: p.read_bytes() for p in sorted(STATIC.iterdir()) if p.suffix in TYPES}
        self._templates = Environment(
            loader=PackageLoader("supervisor.surfaces.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"ago": ago, "until": until, "clock": clock, "span": words, "clean": clean}
        self._templates.globals |= {
            "tones": {str(k): v for k, v in TONES.items()},
            "signs": SIGNS,
            "version": __version__,
        }

    def mount(self, app: web.Application) -> None:
        """Add the page's paths."""
        app.router.add_get("/", self._home)
        app.router.add_get("/incidents/{number}", self._incident)
        app.router.add_get("/instances/{name}", self._instance)
        app.router.add_get("/static/{file}", self._static)

    async def _home(self, request: web.Request) -> web.Response:
        context = self._reading.context
        async with self._reading.stable:
            status = self._reading.status(request)
            opened = views.incidents_view(context, closed=False, limit=100)
            recent = views.incidents_view(context, closed=True, limit=RECENT + len(opened))
            kept = views.quarantines_view(context)
        closed = [i for i in recent if i["state"] == "closed"][:RECENT]
        fleets = [(fleet, zones(fleet), unwell(fleet)) for fleet in status["fleets"]]
        return self._render("home.html", status=status, fleets=fleets, opened=opened, closed=closed, kept=kept)

    async def _incident(self, request: web.Request) -> web.Response:
        async with self._reading.stable:
            incident = self._reading.incident(request)
            status = self._reading.status(request)
        return self._render("incident.html", status=status, incident=incident)

    async def _instance(self, request: web.Request) -> web.Response:
        async with self._reading.stable:
            explained = self._reading.explain(request)
            status = self._reading.status(request)
        return self._render("instance.html", status=status, explained=explained)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=found, content_type=TYPES[Path(name).suffix], charset="utf-8", headers=headers)

    def _render(self, template: str, **values: Any) -> web.Response:  # Any: what templates show
        text = self._templates.get_template(template).render(now=datetime.now(UTC), **values)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": POLICY})


def zones(fleet: FleetDoc) -> list[tuple[str, Sequence[InstanceDoc]]]:
    """Return the fleet's instances by zone; those that are kept aside stand in the quarantine instead."""
    shown = [i for i in fleet["instances"] if i["lifecycle"] not in ("quarantined", "retiring", "retired")]
    shown.sort(key=lambda i: (i["zone"], i["slot"] or 0, i["id"]))
    return [(zone, list(found)) for zone, found in groupby(shown, key=lambda i: i["zone"])]


def unwell(fleet: FleetDoc) -> list[InstanceDoc]:
    """Return the instances that somebody may want to look at."""
    aside = ("quarantined", "retiring", "retired")
    found = [i for i in fleet["instances"] if i["lifecycle"] not in aside]
    return [i for i in found if i["health"] != "healthy" or i["lifecycle"] not in WELL or i["doing"] or i["held_until"]]


def ago(moment: str | None, now: datetime) -> str:
    """Say how long ago a moment was."""
    if moment is None:
        return "never"
    passed = (now - datetime.fromisoformat(moment)).total_seconds()
    return "now" if passed < 1 else f"{words(passed)} ago"


def until(moment: str | None, now: datetime) -> str:
    """Say how long it is until a moment."""
    if moment is None:
        return "until further notice"
    left = datetime.fromisoformat(moment) - now
    return "now" if left < timedelta(seconds=1) else f"in {words(left.total_seconds())}"


def clock(moment: str | None) -> str:
    """Return a moment as people write it, in UTC."""
    return "" if moment is None else f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
