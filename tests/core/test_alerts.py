"""Alerts of others: they fire, end, are forgotten, and are never too many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from supervisor.core.alerts import MOST, MOST_EACH, Alert, Alerts

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def alert(key: str, instance: str = "i-1", after: float = 0.0) -> Alert:
    """Return an alert that began so many seconds after the first."""
    return Alert(instance, key, key, "", "", SINCE + timedelta(seconds=after))


def names(alerts: Alerts, now: float, instance: str = "i-1") -> list[str]:
    """Return what fires."""
    return [found.key for found in alerts.of(instance, now)]


def test_an_alert_fires_until_it_ends_or_is_not_repeated() -> None:
    """The oldest comes first; a repeat prolongs it."""
    alerts = Alerts()
    alerts.fire([alert("b", after=2), alert("a", after=1), alert("c", after=3)], now=0, until=100)
    alerts.fire([alert("a", after=1)], now=50, until=150)

    assert ["a", "b", "c"] == names(alerts, 99)
    assert alerts.end("i-1", "c")
    assert not alerts.end("i-1", "c")
    assert ["a", "b"] == names(alerts, 99)
    assert ["a"] == names(alerts, 100)
    assert [] == names(alerts, 99, "i-2")


def test_a_whole_list_ends_what_is_not_in_it() -> None:
    """But for what was heard of after the list was asked for: it may be younger than the list."""
    alerts = Alerts()
    alerts.fire([alert("old"), alert("both")], now=0, until=1000)
    alerts.fire([alert("young")], now=11, until=1000)
    alerts.replace([alert("both")], asked=10, now=12, until=1000)

    assert ["both", "young"] == names(alerts, 13)


def test_alerts_are_bounded_for_each_instance_and_in_all() -> None:
    """What has ended makes room."""
    alerts = Alerts()
    each = [alert(f"a{n}") for n in range(MOST_EACH + 3)]
    crowd = [alert("a", f"m-{n}") for n in range(MOST)]

    assert 3 == alerts.fire(each, now=0, until=10)
    assert 0 == alerts.fire(each[:5], now=1, until=10)  # a repeat needs no room
    assert MOST_EACH == alerts.fire(crowd, now=2, until=100)
    assert 0 == alerts.fire([alert("b", "m-0")], now=10, until=100)
    assert MOST - MOST_EACH + 1 == len(alerts)
