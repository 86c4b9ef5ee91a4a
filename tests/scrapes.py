"""Reading a scrape as a monitoring system does: series by their text, with the values."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from supervisor.runtime.service import Service
from supervisor.surfaces.metrics import Metrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def watch(service: Service) -> Metrics:
    """Return the metrics of a service on virtual time, which has no check hosts of its own."""
    metrics = Metrics(service, {})
    service.listeners.append(metrics.listen)
    return metrics


def scrape(metrics: Metrics) -> dict[str, float]:
    """Return every series as it is written, such as `sickbay_fleet_serving{fleet="web"}`, with its value."""
    return series(metrics.render("")[0].decode())


def series(text: str) -> dict[str, float]:
    """Return the series of a scrape in the text format."""
    lines = [line.rpartition(" ") for line in text.split("\n") if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def families(metrics: Metrics, accept: str = "") -> list[Metric]:
    """Return a scrape as a strict reader of the format understands it. Raises `ValueError` for a malformed one."""
    text = metrics.render(accept)[0].decode()
    return list(parse_openmetrics(text) if accept == OPENMETRICS else parse_text(text))  # type: ignore[no-untyped-call]  # its typing
