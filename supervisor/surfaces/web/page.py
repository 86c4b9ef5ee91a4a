"""The page: the same documents as the API, rendered on the server for people.

It needs no script to be read; a small script of ours keeps it live. Every value is escaped by the template engine, and
the Content-Security-Policy allows nothing but our own style and script.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from supervisor import __version__
from supervisor.core import views
from supervisor.core.cards import Tone
from supervisor.core.documents import FleetDoc, InstanceDoc, PointDoc, StatusDoc
from supervisor.core.duration import words
from supervisor.core.text import clean, percent
from supervisor.core.verdict import how_sure
from supervisor.surfaces.marks import TONES
from supervisor.surfaces.web.reading import Reading

STATIC = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RECENT = 20
OPENED = 100  # open incidents
IN_FULL = 3  # of them; a headline each is enough of the others, so that the fleets are not a long way down
DRAWN = 1000  # machines; of more, only those that stand out
URGENCY = [str(t) for t in (Tone.HUMAN, Tone.TROUBLE, Tone.HELD, Tone.ACTING, Tone.RESTORED, Tone.CLOSED)]
TOLD: tuple[Literal["doing", "held", "impaired", "notices"], ...] = ("doing", "held", "impaired", "notices")
ASIDE = ("quarantined", "boot_failed", "retiring", "retired")  # they stand in the quarantine instead
WIDE, HIGH = 200, 36  # of a plot, in its own units
SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
BYTES = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))
SIGNS = {"healthy": "●", "suspect": "◐", "sick": "✕", "unknown": "○"}
WELL = frozenset({"in_service", "probation"})


class Page:
    """Serves `/`, `/incidents/N`, `/instances/ID`, `/fleets/NAME` and their style and script."""

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
        self._templates.filters |= {
            "ago": ago,
            "until": until,
            "clock": clock,
            "span": words,
            "clean": clean,
            "percent": percent,
            "spark": spark,
            "measure": measure,
        }
        self._templates.globals |= {
            "tones": {str(k): v for k, v in TONES.items()},
            "signs": SIGNS,
            "how_sure": how_sure,
            "version": __version__,
        }

    def mount(self, app: web.Application) -> None:
        """Add the page's paths."""
        app.router.add_get("/", self._home)
        app.router.add_get("/incidents/{number}", self._incident)
        app.router.add_get("/instances/{name}", self._instance)
        app.router.add_get("/fleets/{name}", self._fleet)
        app.router.add_get("/static/{file}", self._static)

    async def _home(self, _: web.Request) -> web.Response:
        context = self._reading.context
        async with self._reading.stable:
            status = self._reading.drawn(DRAWN)
            opened = views.incidents_view(context, closed=False, limit=OPENED)
            open_count = sum(len(found) for found in context.world.open_of.values())
            recent = views.incidents_view(context, closed=True, limit=RECENT + open_count)
            kept = views.quarantines_view(context)
        opened.sort(key=lambda i: URGENCY.index(i["card"]["tone"]))
        return await asyncio.to_thread(  # of a large fleet it takes a while, and nobody shall wait for it
            self._render,
            "home.html",
            status=status,
            fleets=[(fleet, zones(fleet), unwell(fleet), left_out(fleet)) for fleet in status["fleets"]],
            opened=opened,
            open_count=open_count,
            in_full=IN_FULL,
            calm=is_calm(status),
            closed=[i for i in recent if i["state"] == "closed"][:RECENT],
            kept=kept,
        )

    async def _incident(self, request: web.Request) -> web.Response:
        async with self._reading.stable:
            status = self._reading.headline()
            try:
                incident = self._reading.incident(request)
            except web.HTTPNotFound as error:
                return self._missing(error, status)
        return self._render("incident.html", status=status, incident=incident)

    async def _instance(self, request: web.Request) -> web.Response:
        async with self._reading.stable:
            status = self._reading.headline()
            try:
                explained = self._reading.explain(request)
            except web.HTTPNotFound as error:
                return self._missing(error, status)
            metrics = self._reading.metrics(request)
        return self._render("instance.html", status=status, explained=explained, metrics=metrics)

    async def _fleet(self, request: web.Request) -> web.Response:
        async with self._reading.stable:
            status = self._reading.headline()
            try:
                explained = self._reading.explain_fleet(request)
            except web.HTTPNotFound as error:
                return self._missing(error, status)
        return self._render("fleet.html", status=status, explained=explained)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=found, content_type=TYPES[Path(name).suffix], charset="utf-8", headers=headers)

    def _missing(self, error: web.HTTPNotFound, status: StatusDoc) -> web.Response:
        """Say it to a person, with a way back; the API says the same as JSON."""
        response = self._render("missing.html", status=status, sentence=json.loads(error.text or "{}").get("error", ""))
        response.set_status(404)
        return response

    def _render(self, template: str, **values: Any) -> web.Response:  # Any: what templates show
        text = self._templates.get_template(template).render(now=datetime.now(UTC), **values)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": POLICY})


def zones(fleet: FleetDoc) -> list[tuple[str, Sequence[InstanceDoc]]]:
    """Return the fleet's instances by zone; those that are kept aside stand in the quarantine instead."""
    shown = [i for i in fleet["instances"] if i["lifecycle"] not in ASIDE]
    shown.sort(key=lambda i: (i["zone"], i["slot"] or 0, i["id"]))
    return [(zone, list(found)) for zone, found in groupby(shown, key=lambda i: i["zone"])]


def unwell(fleet: FleetDoc) -> list[InstanceDoc]:
    """Return the instances that somebody may want to look at."""
    found = [i for i in fleet["instances"] if i["lifecycle"] not in ASIDE]
    return [i for i in found if i["health"] != "healthy" or i["lifecycle"] not in WELL or any(i[k] for k in TOLD)]


def left_out(fleet: FleetDoc) -> int:
    """Return how many of a large fleet's machines are not drawn."""
    return sum(fleet["lifecycles"].values()) - len(fleet["instances"])


def is_calm(status: StatusDoc) -> bool:
    """Return whether a person may go back to sleep: every fleet is OPTIMAL, and Sickbay sees, acts and tells."""
    troubled = status["blind"] or status["store"]["refuses"] or any(s["trouble"] for s in status["surfaces"])
    return not troubled and all(fleet["state"] == "optimal" for fleet in status["fleets"])


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


def spark(points: Sequence[PointDoc]) -> str:
    """Return a number over time as the points of an SVG polyline, in a box of WIDE by HIGH."""
    at = [datetime.fromisoformat(p["at"]).timestamp() for p in points if p["at"] is not None]
    values = [p["value"] for p in points]
    low, span, seconds = min(values), max(values) - min(values), max(at) - min(at)
    return " ".join(
        f"{(WIDE * (moment - at[0]) / seconds if seconds else WIDE):.1f},"
        f"{HIGH - 2 - (HIGH - 4) * ((value - low) / span if span else 0.5):.1f}"
        for moment, value in zip(at, values, strict=True)
    )


def measure(value: float, label: str) -> str:
    """Return a number as people read it, in the base unit that its label ends with."""
    if label.endswith("_ratio"):
        return f"{100 * value:.4g} %"
    if label.endswith("_seconds"):
        unit, size = next(
            (found for found in SECONDS if abs(value) >= found[1]), ("s", 1.0) if not value else SECONDS[-1]
        )
        return f"{value / size:.4g} {unit}"
    if label.endswith("_bytes"):
        unit, size = next((found for found in BYTES if abs(value) >= found[1]), ("B", 1.0))
        return f"{value / size:.4g} {unit}"
    return f"{value:.6g}"


def clock(moment: str | None) -> str:
    """Return a moment as people write it, in UTC."""
    return "" if moment is None else f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
