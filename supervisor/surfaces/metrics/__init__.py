"""`/metrics`: what monitoring sees of Sickbay, in Prometheus' text format or in OpenMetrics.

`Metrics` is fed with the service's events and rendered by the API, between two turns of the engine. It knows nothing
of HTTP. Its registry is its own: what other libraries register globally is never published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from supervisor.core.engine import Engine
from supervisor.core.signals import Event
from supervisor.surfaces.metrics import catalogue as c
from supervisor.surfaces.metrics.reading import (
    HostFigures,
    LoopFigures,
    OutboxFigures,
    read_engine,
    read_fleet,
    read_hosts,
    read_outbox,
    read_supervisor,
)
from supervisor.surfaces.metrics.sheet import Sheet
from supervisor.surfaces.metrics.tally import Tally

__all__ = ["Metrics"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Busy(Protocol):
    """Something that knows how many calls of its own are under way."""

    @property
    def busy(self) -> int:
        """How many."""
        ...


class Watched(Protocol):
    """The service, as far as metrics read it."""

    @property
    def engine(self) -> Engine:
        """The engine: read between two of its turns only."""
        ...

    @property
    def loop(self) -> LoopFigures:
        """The loop around it."""
        ...

    @property
    def inbox(self) -> Sized:
        """Signals that wait."""
        ...

    @property
    def executor(self) -> Busy:
        """Steps under way."""
        ...

    @property
    def outbox(self) -> OutboxFigures:
        """Messages on their way."""
        ...


class Ears(Protocol):
    """What hears the machines' signs of life."""

    deaf: str

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages by what came of them; empty where nothing is listened to."""
        ...


class Metrics(Collector):
    """All of Sickbay's metrics."""

    def __init__(self, service: Watched, hosts: Mapping[str, HostFigures], ears: Ears | None = None) -> None:
        """Watch a service, its check hosts by name, and its ears. Add `listen` to the service's listeners."""
        self._service = service
        self._hosts = hosts
        self._ears = ears
        self._tally = Tally(service.engine.ctx)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def listen(self, events: Sequence[Event]) -> None:
        """Count events that were committed."""
        self._tally.take(events)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return one scrape and its content type, as the Accept header asks. Hold the engine's `stable` lock."""
        if wants_openmetrics(accept):
            return openmetrics.generate_latest(self._registry), OPENMETRICS  # type: ignore[no-untyped-call]  # its typing
        return generate_latest(self._registry), TEXT

    def collect(self) -> Iterator[Metric]:
        """Read everything, once for each scrape."""
        service, ctx, sheet = self._service, self._service.engine.ctx, Sheet()
        read_supervisor(ctx, sheet)
        for name in sorted(ctx.fleets):
            read_fleet(ctx, ctx.fleets[name], sheet)
        read_hosts(self._hosts, sheet)
        if self._ears is not None and self._ears.counts:
            sheet.put(c.DEAF, float(bool(self._ears.deaf)))
            for outcome, count in self._ears.counts.items():
                sheet.put(c.HEARTBEATS, count, outcome)
        read_engine(service.engine, service.loop, sheet)
        read_outbox(ctx, service.outbox, sheet)
        sheet.put(c.INBOX, len(service.inbox))
        sheet.put(c.FLYING, service.executor.busy)
        sheet.put(c.CONFIG_AT, self._tally.config_at.timestamp())
        sheet.put(c.CONFIG_OK, float(self._tally.config_ok))
        self._tally.fill(sheet)
        return sheet.metrics()


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept header prefers OpenMetrics to plain text. Anything unreadable prefers plain text."""
    wishes = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media in wishes:
            weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
            wishes[media] = max(wishes[media], _weight(weight))
    return 0.0 < wishes["application/openmetrics-text"] >= wishes["text/plain"]


def _weight(text: str) -> float:
    try:
        return min(1.0, float(text))
    except ValueError:
        return 0.0
