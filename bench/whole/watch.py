"""What is read of the daemon each second, and what a stretch of it comes to."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.whole.daemon import Daemon
from bench.whole.starts import Starts

LINE = re.compile(rb"^(sickbay_\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
PAGES_EVERY = 15


@dataclass(frozen=True, slots=True)
class Second:
    """One second. CPU in cores, memory in bytes, times in seconds."""

    at: float
    supervisor: float
    prober: float
    supervisor_bytes: int
    prober_bytes: int
    started: float
    missed: float
    taken: float  # results, by the engine
    in_flight: float
    lag_p99: float
    lag_max: float
    step: float  # spent deciding
    age: float  # mean age of a batch's newest result when the engine took it
    scrape: float  # how long /metrics took
    busiest: float  # starts a second, in the busiest tenth of it


def scraped(text: bytes) -> dict[str, float]:
    """Return the figures of a scrape by name, those of the prober and the sums over all else."""
    found: dict[str, float] = {}
    for name, labels, value in LINE.findall(text):
        if b'host="' not in labels or b'host="prober"' in labels:
            found[name.decode()] = found.get(name.decode(), 0.0) + float(value)
    return found


def watch(daemon: Daemon, starts: Starts, seconds: float, zero: float) -> list[Second]:
    """Watch for so long; also read the page now and then, as somebody would."""
    seen: list[Second] = []
    starts.take()
    last, before, last_at = scraped(daemon.get("/metrics")[0]), daemon.usage(), time.monotonic()
    ends, looks = last_at + seconds, 0
    while time.monotonic() < ends:
        time.sleep(max(0.0, last_at + 1.0 - time.monotonic()))
        text, took = daemon.get("/metrics")
        looks += 1
        if looks % PAGES_EVERY == 0:
            daemon.get("/")
        now, at, usage = scraped(text), time.monotonic(), daemon.usage()
        passed = at - last_at

        def rate(
            name: str, now: dict[str, float] = now, last: dict[str, float] = last, passed: float = passed
        ) -> float:
            return (now.get(name, 0.0) - last.get(name, 0.0)) / passed

        batches = now["sickbay_result_age_seconds_count"] - last["sickbay_result_age_seconds_count"]
        ages = now["sickbay_result_age_seconds_sum"] - last["sickbay_result_age_seconds_sum"]
        seen.append(
            Second(
                at=round(at - zero, 2),
                supervisor=(usage[0].cpu - before[0].cpu) / passed,
                prober=(usage[1].cpu - before[1].cpu) / passed,
                supervisor_bytes=usage[0].resident,
                prober_bytes=usage[1].resident,
                started=rate("sickbay_checks_started_total"),
                missed=rate("sickbay_checks_missed_total") * passed,
                taken=rate("sickbay_results_total"),
                in_flight=now.get("sickbay_checks_in_flight", 0.0),
                lag_p99=now.get("sickbay_check_lag_p99_seconds", 0.0),
                lag_max=now.get("sickbay_check_lag_max_seconds", 0.0),
                step=rate("sickbay_engine_step_seconds_sum"),
                age=ages / batches if batches else 0.0,
                scrape=took,
                busiest=starts.take(),
            )
        )
        last, before, last_at = now, usage, at
    return seen


def summary(seen: Sequence[Second]) -> dict[str, float]:
    """Return what a stretch comes to."""
    lags = sorted(second.lag_p99 for second in seen)
    cpu = [second.supervisor + second.prober for second in seen]
    started = sum(second.started for second in seen) / len(seen)
    return {
        "seconds": len(seen),
        "cores": sum(cpu) / len(cpu),
        "supervisor": sum(second.supervisor for second in seen) / len(seen),
        "prober": sum(second.prober for second in seen) / len(seen),
        "most_cores": max(cpu),
        "started": started,
        "busiest_second": max(second.started for second in seen) / max(1.0, started),
        "busiest_tenth": max(second.busiest for second in seen) / max(1.0, started),
        "missed": sum(second.missed for second in seen),
        "lag_p99_median": median(lags),
        "lag_p99_most": lags[-1],
        "lag_max": max(second.lag_max for second in seen),
        "in_flight_most": max(second.in_flight for second in seen),
        "age_most": max(second.age for second in seen),
        "scrape_most": max(second.scrape for second in seen),
        "megabytes": (seen[-1].supervisor_bytes + seen[-1].prober_bytes) / 1e6,
    }
