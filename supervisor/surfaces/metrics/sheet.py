"""One scrape on its way: samples gathered by metric, then turned into what prometheus_client writes out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from supervisor.core.terms import Seconds
from supervisor.surfaces.metrics.catalogue import CATALOGUE, Family, Kind

BUCKETS: tuple[Seconds, ...] = (1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""From a fast check's detection to a rescue that waits for a human."""

BOUNDS = tuple(str(float(bound)) for bound in BUCKETS)


class Histogram:
    """How often durations fell into each bucket, and their sum."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum: Seconds = 0.0

    def observe(self, seconds: Seconds) -> None:
        """Count one duration. A wall clock that was set back makes a negative one: it counts as none."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class Sheet:
    """Takes values metric by metric; the order of its metrics is the catalogue's."""

    def __init__(self) -> None:
        """Begin empty."""
        self._metrics = {family: Metric(_family_name(family), family.help, family.kind) for family in CATALOGUE}

    def put(self, family: Family, value: float, *labels: str) -> None:
        """Set one series. `labels` are the values of the family's labels, in their order."""
        self._metrics[family].add_sample(family.name, _labels(family, labels), value)

    def put_state(self, family: Family, states: dict[str, bool], *labels: str) -> None:
        """Set one series for each state."""
        for state, is_on in states.items():
            self._metrics[family].add_sample(family.name, {**_labels(family, labels), family.name: state}, float(is_on))

    def put_summary(self, family: Family, count: int, total: Seconds) -> None:
        """Set count and sum."""
        self._metrics[family].add_sample(f"{family.name}_count", {}, count)
        self._metrics[family].add_sample(f"{family.name}_sum", {}, total)

    def put_histogram(self, family: Family, histogram: Histogram, *labels: str) -> None:
        """Set buckets, count and sum."""
        metric, named, so_far = self._metrics[family], _labels(family, labels), 0
        for bound, count in zip((*BOUNDS, "+Inf"), histogram.counts, strict=True):
            so_far += count
            metric.add_sample(f"{family.name}_bucket", {**named, "le": bound}, so_far)
        metric.add_sample(f"{family.name}_count", named, so_far)
        metric.add_sample(f"{family.name}_sum", named, histogram.sum)

    def metrics(self) -> Iterator[Metric]:
        """Return what prometheus_client writes out."""
        yield from self._metrics.values()


def _family_name(family: Family) -> str:
    """Return the name as OpenMetrics has it: the suffix belongs to the sample."""
    suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(family.kind, "")
    return family.name.removesuffix(suffix)


def _labels(family: Family, values: tuple[str, ...]) -> dict[str, str]:
    return {name: _text(value) for name, value in zip(family.labels, values, strict=True)}


def _text(value: str) -> str:
    """Make any text UTF-8: a cloud's name for a zone or an image may hold bytes that are not. Escaping comes later."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
