"""The page of metrics, the dashboard and the alerts say what a scrape really shows, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import app
from supervisor.core.signals import SentinelReported
from supervisor.core.terms import Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import World
from supervisor.surfaces.metrics import Metrics
from supervisor.surfaces.metrics.catalogue import CATALOGUE, Kind
from supervisor.surfaces.metrics.sheet import BUCKETS
from tests import stages
from tests.scrapes import families
from tools.metrics_reference import PAGE, with_table

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
ALERTS = ROOT / "deploy" / "alerts.yml"
OURS = re.compile(r"(?<![=~!\"])\b((?:sickbay|process)_[a-z0-9_]+)(\{[^}]*\})?")


class Hearing:
    """Ears that heard one machine."""

    deaf = ""
    counts: Mapping[str, int] = {"accepted": 1}  # read only


class Prober:
    """A check host with figures."""

    alive, restarts = True, 0
    last: dict[str, Any] = dict.fromkeys(
        ("started", "missed", "in_flight", "loop_lag", "lag_p99", "lag_max"), 0
    )  # never written


def queries() -> Iterator[tuple[str, str]]:
    """Return every query of dashboard and alerts, with where it stands."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for expr in re.findall(r"expr: (.*)", ALERTS.read_text()):
        yield "alerts", expr


@pytest.fixture(scope="module")
def scraped() -> dict[str, set[str]]:
    """Return series and labels of a scrape after a crash that was healed and one that a guard holds."""
    there = stages.stage()
    found: dict[str, set[str]] = {}

    async def healed(service: Service, world: World) -> None:
        metrics = Metrics(service, {"prober": Prober()}, Hearing())
        service.listeners.append(metrics.listen)
        await stages.calm(service, world)
        world.crash(stages.instances(service)[0].id)
        await until(lambda: bool(stages.incidents(service)), 120)
        await stages.calm(service, world)
        take(metrics)

    async def held(service: Service, world: World) -> None:
        metrics = Metrics(service, {"prober": Prober()}, Hearing())
        service.listeners.append(metrics.listen)
        await until(lambda: stages.is_calm(service), 120)
        service.report(SentinelReported("loopback", True))
        world.crash(stages.instances(service, Lifecycle.IN_SERVICE, Lifecycle.PROBATION)[0].id)
        await until(lambda: bool(stages.open_incidents(service)), 120)
        take(metrics)

    def take(metrics: Metrics) -> None:
        for sample in (s for family in families(metrics) for s in family.samples):
            found.setdefault(sample.name, set()).update(sample.labels)

    there.live(healed)
    there.settings = stages.settings(mode=Mode.OBSERVE)
    there.live(held)
    return found


def test_every_metric_of_dashboard_and_alerts_is_in_a_real_scrape(scraped: dict[str, set[str]]) -> None:
    """And so is each label that a query chooses by. A panel or an alert on a misspelt name would be silent for ever."""
    asked = [(where, *match) for where, query in queries() for match in OURS.findall(query)]

    assert len(asked) > 60
    assert [] == sorted({(where, name) for where, name, _ in asked if name not in scraped})
    labels = [
        (where, name, label)
        for where, name, braces in asked
        for label in re.findall(r"([a-z_]+)\s*[=!]", re.sub(r'"[^"]*"', "", braces))
    ]
    assert labels
    assert [] == [row for row in labels if row[2] not in scraped[row[1]] | {"job"}]


def test_the_catalogue_is_what_a_scrape_shows(scraped: dict[str, set[str]]) -> None:
    """Every metric of the catalogue appears, with exactly its labels; nothing of ours appears beside it."""
    extra = {Kind.HISTOGRAM: {"le"}, Kind.STATESET: {"sickbay_fleet_state"}}
    expected = {name: set(f.labels) for f in CATALOGUE for name in f.series}
    for family in CATALOGUE:
        for name in family.series:
            if family.kind is not Kind.HISTOGRAM or name.endswith("_bucket"):
                expected[name] |= extra.get(family.kind, set())

    assert expected == {name: labels for name, labels in scraped.items() if name.startswith("sickbay_")}


def test_names_keep_the_conventions() -> None:
    """The prefix, `_total` on counters and on nothing else, no name twice, a sentence of help that ends."""
    names = [f.name for f in CATALOGUE]

    assert sorted(set(names)) == sorted(names)
    assert [] == [name for name in names if not name.startswith("sickbay_")]
    assert [] == [f.name for f in CATALOGUE if (f.kind is Kind.COUNTER) != f.name.endswith("_total")]
    assert [] == [f.name for f in CATALOGUE if (f.kind is Kind.INFO) != f.name.endswith("_info")]
    assert [] == [f.name for f in CATALOGUE if not re.fullmatch(r"[A-Z].*\.", f.help)]
    assert [] == [f.name for f in CATALOGUE if {"instance", "id", "le", "quantile"} & set(f.labels)]


def test_the_page_lists_every_metric() -> None:
    """`python -m tools.metrics_reference` writes it anew. The buckets are those of the code."""
    page = PAGE.read_text(encoding="utf-8")

    assert with_table(page) == page
    words = re.search(r"Buckets are (.*?)\.\s", page, re.DOTALL)
    assert words
    units = {"s": 1, "min": 60, "h": 3600}
    assert list(BUCKETS) == [float(n) * units[u] for n, u in re.findall(r"([\d.]+)\s(s|min|h)\b", words[1])]


def test_every_command_that_an_alert_tells_to_type_exists() -> None:
    """Nobody wants to find out at 3 a.m."""
    known = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    known |= {g.name for g in app.registered_groups if g.name}
    named = set(re.findall(r"`sickbay ([a-z]+)", ALERTS.read_text()))

    assert named
    assert named <= known


def test_every_alert_can_be_understood_and_followed() -> None:
    """A summary, what it means, what to type first, and whether somebody must get up for it."""
    alerts = ALERTS.read_text().split("- alert: ")[1:]
    parts = ("expr:", "severity: ", 'summary: "', 'description: "', 'runbook: "')

    assert 18 == len(alerts)
    assert [] == [(a.split("\n")[0], part) for a in alerts for part in parts if a.count(part) != 1]
    assert {"page", "ticket"} == set(re.findall(r"severity: (\w+)", ALERTS.read_text()))


def test_the_dashboard_is_whole() -> None:
    """Each panel has a number of its own, a title, a description and a place that no other one covers."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]

    assert len({p["id"] for p in panels}) == len(panels)
    assert [] == [p["title"] for p in panels if p["type"] != "row" and not (p["description"] and p["targets"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
