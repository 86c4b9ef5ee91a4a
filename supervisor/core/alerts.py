"""Which alerts of others fire for our instances. Values only: `runtime/alertmanager.py` hears of them.

Bounded whatever is told: so many of one instance, and in all. Times are on the boot clock, but for when an alert began,
which is the teller's word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.terms import BootTime

MOST_EACH = 32
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of one instance. `key` tells it from all others; `since` is when it began, on the wall clock."""

    instance: str
    key: str
    name: str
    text: str
    severity: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """An alert, when it was heard of last, and when it ends unless it is heard of again."""

    alert: Alert
    heard: BootTime
    until: BootTime


class Alerts:
    """Every alert that fires."""

    def __init__(self) -> None:
        """Know of none."""
        self._kept: dict[str, dict[str, Kept]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return sum(map(len, self._kept.values()))

    def fire(self, alerts: Iterable[Alert], now: BootTime, until: BootTime) -> int:
        """Keep alerts that fire; return for how many there was no room."""
        self._expire(now)
        count, refused = len(self), 0
        for alert in alerts:
            found = self._kept.get(alert.instance, {})
            if alert.key not in found:
                if count >= MOST or len(found) >= MOST_EACH:
                    refused += 1
                    continue
                count += 1
            self._kept.setdefault(alert.instance, found)[alert.key] = Kept(alert, now, until)
        return refused

    def end(self, instance: str, key: str) -> bool:
        """End an alert; return whether it was there."""
        return self._kept.get(instance, {}).pop(key, None) is not None

    def replace(self, alerts: Iterable[Alert], asked: BootTime, now: BootTime, until: BootTime) -> int:
        """Take a whole list, which was asked for at `asked`: what is not in it and was heard of before that has ended."""
        kept: dict[str, dict[str, Kept]] = {}
        for instance, found in self._kept.items():
            if later := {key: one for key, one in found.items() if one.heard > asked}:
                kept[instance] = later
        self._kept = kept
        return self.fire(alerts, now, until)

    def of(self, instance: str, now: BootTime) -> list[Alert]:
        """Return those of an instance that fire now, the oldest first."""
        found = [kept.alert for kept in self._kept.get(instance, {}).values() if kept.until > now]
        return sorted(found, key=lambda alert: (alert.since, alert.key))

    def _expire(self, now: BootTime) -> None:
        for instance, found in list(self._kept.items()):
            for key in [key for key, kept in found.items() if kept.until <= now]:
                del found[key]
            if not found:
                del self._kept[instance]
